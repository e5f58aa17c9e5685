"""`tamis demo --vision`: the embedded vision model on a few diagrams, to files and a table."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("PIL", reason="Pillow is not installed")
pytest.importorskip("torch", reason="torch is not installed")

from tamis.cli import main
from tamis.config import Arm
from tamis.records import Problem, Sample, Sampling
from tamis.score.grading import Candidate, Judgement, rejected
from tamis.summarise.acceptance import acceptance


def test_the_demo_reads_diagrams_and_goes_on_where_it_was(tmp_path, capsys):
    run = tmp_path / "demo"
    arguments = ["demo", "--vision", "--problems", "3", "--n", "4", "--run", str(run)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "best of 4" in shown
    journal = (run / "results" / "samples.jsonl").read_bytes()
    assert journal.count(b"\n") == 3 * 4 * 3
    summary = json.loads((run / "results" / "summary.json").read_text())
    assert summary["stats"]["total"] == 3
    assert summary["by_params"]["temperature"].keys() == {"0.3", "1", "1.5"}
    results = [json.loads(path.read_text()) for path in (run / "results").glob("*_quality/*.json")]
    assert len(results) == 3
    assert any(result["best_result"]["score"] >= 80 for result in results)  # it does read
    assert main(arguments) == 0
    assert capsys.readouterr().out == shown
    assert (run / "results" / "samples.jsonl").read_bytes() == journal


def test_the_share_accepted_by_hand():
    def candidate(temperature, score):
        sample = Sample("k", "p", 0, 0, Sampling())
        judgement = Judgement(score, None if score is not None else "judge_failed")
        return Candidate(Arm("a", temperature, 1.0, 0), "", sample, judgement)

    first = [candidate(1.0, score) for score in (90.0, 10.0, 80.0, None, 79.9)]  # two of four
    second = [candidate(1.0, score) for score in (0.0, 0.0, None, None, None)] + [candidate(0.5, 100.0)]
    results = [rejected(Problem("a"), first, 80.0), rejected(Problem("b"), second, 80.0)]
    found = {(row.temperature, row.num_candidates): row for row in acceptance(results, 80.0, (1, 3))}
    assert found[0.5, 1].share.value == 1.0
    assert found[1.0, 1].share.value == pytest.approx((0.5 + 0.0) / 2)
    assert found[1.0, 3].num_images == 1  # of the other there are two
    assert found[1.0, 3].share.value == pytest.approx(1.0)
    assert found[0.5, 3].num_images == 0
