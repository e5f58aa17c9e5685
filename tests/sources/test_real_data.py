"""Real datasets and real generations."""

from __future__ import annotations

import json

import pytest

from tamis.sources import dataset_digest, read_problems, read_samples


def test_math500(shared_data):
    path = shared_data / "math500" / "math500.jsonl"
    bad_rows = []
    problems = list(read_problems(str(path), bad_rows=bad_rows))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert bad_rows == []
    assert [(p.id, p.prompt, p.answer) for p in problems] == [(r["unique_id"], r["problem"], r["answer"]) for r in rows]
    assert len(problems) == 500
    assert {p.metadata["level"] for p in problems} == {1, 2, 3, 4, 5}
    assert dataset_digest(str(path)).startswith("sha256:35dc41080a36")


def test_math500_references_from_its_solutions(shared_data, tmp_path):
    rows = [json.loads(line) for line in (shared_data / "math500" / "math500.jsonl").read_text(encoding="utf-8").splitlines()]
    references = {row["unique_id"]: row.pop("answer") for row in rows}
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems = list(read_problems(str(tmp_path / "rows.jsonl"), bad_rows=[]))
    assert all(p.answer for p in problems)
    same = sum("".join(p.answer.split()) == "".join(references[p.id].split()) for p in problems)
    assert same >= 490  # a few answers were rewritten by hand


def test_gsm8k(shared_data):
    bad_rows = []
    problems = list(read_problems(str(shared_data / "gsm8k" / "test.jsonl"), bad_rows=bad_rows))
    assert bad_rows == []
    assert len(problems) == len({p.id for p in problems}) == 1319
    assert all(p.answer.lstrip("-").replace(",", "").replace(".", "").isdigit() for p in problems)
    assert problems[0].answer == "18"


@pytest.mark.parametrize(
    ("name", "num_samples"),
    [
        ("math500_llama-3.2-1b-instruct_n8.jsonl", 8),
        ("math500_qwen2.5-math-1.5b_n8.jsonl", 8),
        ("math500_rho_4models_n1.jsonl", 4),
    ],
)
def test_generations(shared_data, tmp_path, name, num_samples):
    path = shared_data / "generations" / name
    bad_rows = []
    pools = list(read_samples(path, bad_rows=bad_rows))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert bad_rows == []
    assert [(p.problem.id, p.problem.prompt, p.problem.answer) for p in pools] == [
        (r["id"], r["problem"], r["gold"]) for r in rows
    ]
    assert len(pools) == 500
    assert [[s.text for s in p.samples] for p in pools] == [[s["text"] for s in r["samples"]] for r in rows]
    assert all(len(p.samples) == num_samples for p in pools)
    assert len({s.key for p in pools for s in p.samples}) == 500 * num_samples
    # One text a row, all first samples, then all second ones: the same pools.
    strewn = [
        {"problem": r["problem"], "gold": r["gold"], "id": r["id"], "gen": r["samples"][k]["text"]}
        for k in range(2)
        for r in rows
    ]
    (tmp_path / "strewn.jsonl").write_text("".join(json.dumps(row) + "\n" for row in strewn))
    again = list(read_samples(tmp_path / "strewn.jsonl", bad_rows=bad_rows))
    assert bad_rows == []
    assert [p.problem.id for p in again] == [p.problem.id for p in pools]
    assert [[s.text for s in p.samples] for p in again] == [[s.text for s in p.samples[:2]] for p in pools]
    assert [s.key for p in again for s in p.samples] == [s.key for p in pools for s in p.samples[:2]]
