"""`generate`, `evaluate` and `infer` as source document s3 has them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from cli.commands import DRAWING, PROBLEMS, rows


def test_infer_writes_the_documented_lines_and_files(tamis, place):
    ran = tamis("infer", *DRAWING, "--num_return_sequences", 4, "--temperature", 0.7, "--max_tokens", 256, "--alpha", 0.4)
    assert ran.code == 0, ran.err
    candidates = re.search(
        r"^\[1/2\] Generating candidates -> (results/math500_candidates_script.json_\d{8}_\d{6}\.jsonl)$", ran.out, re.M
    )
    best = re.search(r"^\[2/2\] Evaluating and selecting best answers -> (results/math500_best_\S+\.jsonl)$", ran.out, re.M)
    assert f"✅ Done! Final results saved to: {best[1]}" in ran.out
    found = rows(place / best[1])
    assert [row["question"] for row in found] == [problem["problem"] for problem in PROBLEMS]
    for row in found:
        assert {"question", "answer", "final_answer", "score", "score_norm", "index", "correct"} <= row.keys()
        assert 0 <= row["score_norm"] <= 1
    drawn = rows(place / candidates[1])
    assert [len(row["candidates"]) for row in drawn] == [4, 4, 4]
    assert "小明" in (place / candidates[1]).read_text(encoding="utf-8")


def test_generate_then_evaluate_gives_what_infer_gives(tamis, place):
    tamis("infer", *DRAWING, "--run", "runs/one", "--output-dir", "one", "--alpha", 0.3)
    tamis("generate", *DRAWING, "--run", "runs/two", "--output-dir", "two")
    candidates = next(Path("two").glob("*_candidates_*"))
    ran = tamis("evaluate", "--candidates", candidates, "--alpha", 0.3)
    assert ran.code == 0, ran.err
    one, two = next(Path("one").glob("*_best_*")), next(Path("two").glob("*_best_*"))
    assert one.read_bytes() == two.read_bytes()


def test_alpha_changes_the_scores(tamis, place):
    for alpha in (0.0, 1.0):
        tamis("infer", *DRAWING, "--output-dir", f"a{alpha}", "--alpha", alpha)
    scores = [[row["score"] for row in rows(next(Path(f"a{alpha}").glob("*_best_*")))] for alpha in (0.0, 1.0)]
    assert scores[0] != scores[1]
    assert all(score <= 0 for score in scores[0])  # negative entropies
    assert all(score >= 0 for score in scores[1])  # divergences


def test_a_second_run_draws_nothing_and_gives_the_same_files(tamis, place):
    tamis("infer", *DRAWING)
    files = {path: path.read_bytes() for path in Path("results").iterdir()}
    journal = (place / "runs/math500-script.json/samples.jsonl").read_bytes()
    ran = tamis("infer", *DRAWING, "--resume")
    assert ran.code == 0
    assert {path: path.read_bytes() for path in Path("results").iterdir()} == files
    assert (place / "runs/math500-script.json/samples.jsonl").read_bytes() == journal


def test_another_temperature_is_refused_in_a_named_folder_with_the_difference_and_fork_goes_on(tamis, place):
    named = (*DRAWING, "--run", "mine")
    tamis("infer", *named, "--temperature", 0.7)
    ran = tamis("infer", *named, "--temperature", 0.1)
    assert ran.code == 1
    assert "temperature: 0.7 -> 0.1" in ran.err
    assert "--fork" in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert tamis("infer", *named, "--temperature", 0.1, "--fork").code == 0
    assert Path("mine-2/run.json").is_file()


def test_without_a_name_other_settings_have_a_folder_of_their_own(tamis, place):
    tamis("infer", *DRAWING, "--temperature", 0.7)
    refused = tamis("infer", *DRAWING, "--temperature", 0.1, "--resume")
    assert refused.code == 1
    assert "temperature: 0.7 -> 0.1" in refused.err
    journals = []
    for temperature, name in ((0.1, "-2"), (0.7, ""), (0.1, "-2")):
        ran = tamis("infer", *DRAWING, "--temperature", temperature)
        assert ran.code == 0
        assert f"run folder: runs/math500-script.json{name}\n" in ran.err
        journals.append(Path(f"runs/math500-script.json{name}/samples.jsonl").read_bytes())
    assert journals[0] == journals[2] != journals[1]
    assert len(list(Path("runs").iterdir())) == 2


def test_resume_without_a_run_is_an_error(tamis, place):
    ran = tamis("infer", *DRAWING, "--resume")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert "nothing to resume" in ran.err


def test_more_samples_extend_the_run(tamis, place):
    tamis("generate", *DRAWING, "-n", 2)
    ran = tamis("generate", *DRAWING, "-n", 4)
    assert ran.code == 0
    journal = rows(place / "runs/math500-script.json/samples.jsonl")
    assert sorted((row["id"], row["index"]) for row in journal) == [(p, i) for p in ("p1", "p2", "p3") for i in range(4)]


def test_bad_rows_and_failed_samples_are_listed_and_the_rest_goes_on(tamis, place):
    with Path("math500.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"problem": 5}\n{"problem": "torn\n' + json.dumps({"problem": "nobody knows", "answer": "1"}) + "\n")
    ran = tamis("infer", *DRAWING)
    assert ran.code == 3
    assert "math500.jsonl:4" in ran.err
    assert "math500.jsonl:5" in ran.err
    best = rows(next(Path("results").glob("*_best_*")))
    assert len(best) == 4
    assert best[3]["answer"] is None
    assert "% failed" in ran.out


def test_dry_run_draws_nothing(tamis, place):
    ran = tamis("infer", *DRAWING, "--dry-run")
    assert ran.code == 0
    assert "What is 1 + 1?" in ran.out
    assert r"\boxed{}" in ran.out
    assert not Path("runs").exists()
    assert not Path("results").exists()


@pytest.mark.parametrize("method", ["self-consistency", "self-certainty", "borda-self-certainty", "baseline"])
def test_other_methods_choose_too(tamis, place, method):
    ran = tamis("infer", *DRAWING, "--method", method)
    assert ran.code == 0, ran.err
    best = rows(next(Path("results").glob("*_best_*")))
    if method == "self-consistency":
        assert [row["correct"] for row in best] == [True, True, True]
    if method == "baseline":
        assert [row["index"] for row in best] == [0, 0, 0]


def test_without_statistics_a_score_is_refused_and_a_vote_is_not(tamis, place):
    tamis("generate", *DRAWING, "--token-stats", "none")
    candidates = next(Path("results").glob("*_candidates_*"))
    ran = tamis("evaluate", "--candidates", candidates)
    assert ran.code == 2
    assert "token statistics" in ran.err
    assert tamis("evaluate", "--candidates", candidates, "--method", "self-consistency").code == 0


def test_a_score_without_statistics_is_refused_before_anything_is_drawn(tamis, place):
    ran = tamis("infer", *DRAWING, "--token-stats", "none")
    assert ran.code == 2
    assert "needs token statistics" in ran.err
    assert not (place / "runs").exists()


def test_damaged_statistics_are_told_and_drawn_anew(tamis, place):
    tamis("infer", *DRAWING, "--output-dir", "first")
    tokens = place / "runs/math500-script.json/tokens.bin"
    content = bytearray(tokens.read_bytes())
    content[100] ^= 0xFF
    tokens.write_bytes(content)
    ran = tamis("infer", *DRAWING, "--output-dir", "second")
    assert ran.code == 3
    assert "1 samples could not be read again" in ran.err
    ran = tamis("infer", *DRAWING, "--output-dir", "third")
    assert ran.code == 0, ran.err
    files = [next(Path(name).glob("*_best_*")).read_bytes() for name in ("first", "third")]
    assert files[0] == files[1]


def test_a_bare_run_column_of_another_tool_is_no_run_folder(tamis, place):
    tamis("generate", *DRAWING)
    candidates = next(Path("results").glob("*_candidates_*"))
    assert rows(candidates)[0]["tamis_run"] == "../runs/math500-script.json"
    foreign = [{"question": "1+1?", "answer": "2", "responses": ["\\boxed{2}"], "run": "exp-17"}]
    Path("foreign.jsonl").write_text(json.dumps(foreign[0]))
    assert tamis("compare", "--samples", "foreign.jsonl").code == 0


def test_a_grown_run_is_compared_whole(tamis, place, monkeypatch):
    tamis("generate", *DRAWING, "--limit", 1)
    tamis("generate", *DRAWING)
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    ran = tamis("compare", "--samples", place / "runs/math500-script.json", "--json")
    assert json.loads(ran.out)["health"]["num_samples"] == 12
    (place / "math500.jsonl").write_text(
        (place / "math500.jsonl").read_text(encoding="utf-8").splitlines()[0], encoding="utf-8"
    )
    ran = tamis("compare", "--samples", place / "runs/math500-script.json")
    assert ran.code == 3
    assert "8 samples of problems that are not in" in ran.err


def test_two_datasets_of_one_name_keep_apart(tamis, place):
    for name in ("d1", "d2"):
        (place / name).mkdir()
        (place / name / "p.jsonl").write_text((place / "math500.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
        assert tamis("generate", *DRAWING[:4], "--dataset", f"{name}/p.jsonl").code == 0
    assert sorted(path.name for path in (place / "runs").iterdir()) == ["p-script.json", "p-script.json-2"]
    assert tamis("generate", *DRAWING[:4], "--dataset", "d2/p.jsonl", "--resume").code == 0
    assert len(list((place / "runs").iterdir())) == 2


def test_a_smaller_run_overwrites_no_larger_one(tamis, place):
    whole = tamis("generate", *DRAWING).out.split()[-1]
    content = (place / whole).read_bytes()
    time.sleep(1.1)  # the name of a file has whole seconds
    part = tamis("generate", *DRAWING, "--limit", 1, "-n", 2).out.split()[-1]
    assert part != whole
    assert (place / whole).read_bytes() == content
    assert tamis("generate", *DRAWING).out.split()[-1] == whole


def test_candidates_without_their_run_folder_can_still_vote(tamis, place):
    candidates = place / tamis("generate", *DRAWING).out.split()[-1]
    moved = place / "moved.jsonl"
    moved.write_bytes(candidates.read_bytes())
    (place / "runs").rename(place / "gone")
    ran = tamis("evaluate", "--candidates", moved, "--method", "self-consistency")
    assert ran.code == 3
    assert "no token statistics: the run folder that it names is not there" in ran.err
    assert tamis("evaluate", "--candidates", moved, "--method", "infer").code == 2


def test_the_reason_of_a_failure_is_shown(tamis, place):
    with (place / "math500.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"problem": "nobody knows", "answer": "1", "unique_id": "p9"}) + "\n")
    ran = tamis("generate", *DRAWING)
    assert ran.code == 3
    assert "math500.jsonl:4: engine: the script has no answer to problem p9" in ran.err
