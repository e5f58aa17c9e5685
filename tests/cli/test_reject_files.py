"""The files of rejection sampling: where each image goes, and under what name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tamis.config import Arm
from tamis.records import Failure, Problem, Sample, Sampling
from tamis.score.grading import Candidate, Judgement, Rejected
from tamis.workflows.reject_files import ResultFolders, file_name

ARM = Arm("prompt1", 0.3, 0.9, 20)


def candidate(text: str, score: float | None, *, error: str = "") -> Candidate:
    failure = Failure("engine", error) if error else None
    reason = "error" if error else "stop"
    sample = Sample(f"{len(text):016x}", "x", 0, 7, Sampling(), (text,), reason, 10, 5, 1.23456, failure)
    reason = None if score is not None else "judge_failed"
    return Candidate(ARM, "这是什么？", sample, None if error else Judgement(score, reason, "因为 so"), 0.5, (9, 1))


def image(name: str, *candidates: Candidate, threshold: float = 80) -> Rejected:
    graded = [c for c in candidates if c.judgement and c.judgement.score is not None]
    best = max(graded, key=lambda c: c.judgement.score, default=None)
    accepted = best is not None and best.judgement.score >= threshold
    return Rejected(Problem(name, images=(f"/images/{name}",)), candidates, best, accepted)


def files(folder: Path) -> dict[str, dict]:
    return {str(path.relative_to(folder)): json.loads(path.read_bytes()) for path in folder.rglob("*.json")}


def test_a_file_holds_the_best_and_all_candidates(tmp_path):
    failed = candidate("", None, error="gone")
    ResultFolders(tmp_path).write(image("一/Two.png", candidate("A -> B", 55), candidate("A -> C, 连接", 90.5), failed))
    ((name, row),) = files(tmp_path).items()
    assert name.startswith("high_quality/一_Two.png~")
    assert row["image_info"] == {"path": "/images/一/Two.png", "filename": "Two.png"}
    best = row["best_result"]
    assert list(best) == [
        "image_path", "prompt_key", "prompt_text", "params", "content", "score", "score_explanation", "generation_time",
        "grading_time", "timestamp",
    ]  # fmt: skip
    assert best["params"] == {"temperature": 0.3, "top_p": 0.9, "top_k": 20}
    assert (best["content"], best["score"], best["score_explanation"]) == ("A -> C, 连接", 90.5, "因为 so")
    assert (best["prompt_key"], best["prompt_text"], best["generation_time"]) == ("prompt1", "这是什么？", 1.2346)
    assert [(one["index"], one["score"]) for one in row["all_candidates"]] == [(0, 55), (1, 90.5), (2, None)]
    assert row["all_candidates"][2]["error"] == {"boundary": "engine", "message": "gone"}
    assert "连接" in (tmp_path / name).read_text(encoding="utf-8")  # to be read by people


def test_an_image_is_in_one_folder_or_none(tmp_path):
    folders = ResultFolders(tmp_path)
    assert folders.write(image("a.png", candidate("x", 70))) == tmp_path / "low_quality" / "a.png.json"
    assert list(files(tmp_path)) == ["low_quality/a.png.json"]
    folders.write(image("a.png", candidate("x", 70), threshold=60))
    assert list(files(tmp_path)) == ["high_quality/a.png.json"]
    assert folders.count_others(1) == 0
    assert folders.count_others(0) == 1
    assert folders.write(image("a.png", candidate("x", None))) is None
    assert files(tmp_path) == {}


def test_a_file_that_is_there_keeps_its_time_and_is_left_alone(tmp_path):
    folders = ResultFolders(tmp_path)
    path = folders.write(image("a.png", candidate("x", 70)))
    row = json.loads(path.read_bytes())
    row["best_result"]["timestamp"] = "2001-01-01T00:00:00+00:00"
    path.write_text(json.dumps(row))
    before = path.stat()
    assert folders.write(image("a.png", candidate("x", 70))) == path
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    moved = folders.write(image("a.png", candidate("x", 70), threshold=60))
    assert json.loads(moved.read_bytes())["best_result"]["timestamp"].startswith("2001")
    better = replace(candidate("y", 99), sample=replace(candidate("y", 99).sample, seed=1))
    changed = folders.write(image("a.png", candidate("x", 70), better))
    assert not json.loads(changed.read_bytes())["best_result"]["timestamp"].startswith("2001")
    changed.write_bytes(b"{torn")
    assert json.loads(folders.write(image("a.png", candidate("x", 70))).read_bytes())["best_result"]["score"] == 70


IDS = [
    "a.png", "A.png", "a.PNG", "a/b.png", "a_b.png", "a/b/.png", "a//b.png", "图.png", "圖.png", "é.png", "e\u0301.png",
    "x" * 300 + ".png", "x" * 299 + "y.png", "图" * 90 + ".png", " a.png", "a.png ", "..", "a\nb.png", "\udcff.png", "a~b.png",
    file_name("A.png").removesuffix(".json"),
]  # fmt: skip


def test_no_two_names_are_alike_not_even_without_case(tmp_path):
    names = [file_name(name) for name in IDS]
    assert len({name.casefold() for name in names}) == len(IDS)
    for name in names:
        assert len(name.encode()) < 200
        assert "/" not in name
        (tmp_path / name).write_bytes(b"")
    assert len(list(tmp_path.iterdir())) == len(IDS)


@pytest.mark.parametrize("name", ["a.png", "img_001.jpg", "0.webp"])
def test_plain_names_stay_as_they_are(name):
    assert file_name(name) == f"{name}.json"
