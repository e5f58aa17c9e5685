"""`--adaptive` on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli.commands import DRAWING, rows

from tamis.config import AdaptiveRule
from tamis.select import METHODS
from tamis.select.stopping import RULES


def drawn(run: str = "runs/math500-script.json") -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows(Path(run) / "samples.jsonl"):
        counts[row["id"]] = counts.get(row["id"], 0) + 1
    return counts


def test_the_rules_have_one_name_everywhere():
    assert set(AdaptiveRule.__args__) == RULES.keys() <= METHODS.keys()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # p1 says 2 3 2 - for ever, p2 7 8 8 7, p3 1/2 1/2 1/2 2
        ("adaptive-consistency", {"p1": 20, "p2": 20, "p3": 7}),
        ("esc", {"p1": 20, "p2": 20, "p3": 20}),
    ],
)
def test_infer_draws_what_the_rule_needs_votes_by_it_and_says_what_it_spared(tamis, place, rule, expected):
    options = (*DRAWING, "--adaptive", rule, "--max-samples", 20)
    ran = tamis("infer", *options)
    assert ran.code == 0
    assert drawn() == expected
    line = next(line for line in ran.out.splitlines() if line.startswith(rule))
    assert re.search(rf"{sum(expected.values())} samples of 60 \(.* tokens of about \d+ \(", line)
    best = rows(next(Path("results").glob("*_best_*")))
    assert [row["final_answer"] for row in best] == ["2", "7", r"\frac12"]
    choices = rows(Path("runs/math500-script.json/choices.jsonl"))
    assert {row["selector"] for row in choices} == {rule}
    assert {row["id"]: row["num_paid"] for row in choices} == expected
    before = Path("runs/math500-script.json/samples.jsonl").read_bytes()
    again = tamis("infer", *options)
    assert again.out == ran.out
    assert Path("runs/math500-script.json/samples.jsonl").read_bytes() == before


def test_the_fixed_budget_goes_on_from_an_adaptive_run_and_the_other_way_round(tamis, place):
    tamis("generate", *DRAWING, "--adaptive", "adaptive-consistency", "--max-samples", 20)
    tamis("generate", *DRAWING, "-n", 20)
    assert drawn() == {"p1": 20, "p2": 20, "p3": 20}
    ran = tamis("compare", *DRAWING, "--adaptive", "adaptive-consistency", "--max-samples", 20, "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["health"]["num_samples"] == 47  # what the rule does not need is no part of the pools
    assert "47 samples of 60" in ran.err


def test_deepconf_online_has_a_run_of_its_own(tamis, place):
    options = ("--adaptive", "deepconf-online", "--max-samples", 20)
    tamis("generate", *DRAWING, "-n", 2)
    refused = tamis("infer", *DRAWING, *options, "--resume")
    assert refused.code == 1
    assert "adaptive: (not set) -> deepconf-online" in refused.err
    ran = tamis("infer", *DRAWING, *options, "--window", 4)
    assert ran.code == 0
    samples = rows(Path("runs/math500-script.json-2/samples.jsonl"))
    assert any(row["finish_reason"] == "cut" for row in samples)
    assert all(row["index"] >= 16 for row in samples if row["finish_reason"] == "cut")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-samples", 3), "--max-samples needs --adaptive"),
        (("--adaptive-threshold", 0.9), "--adaptive-threshold needs --adaptive"),
        (("--adaptive", "esc", "-n", 4), "-n and --adaptive exclude each other"),
        (("--adaptive", "esc", "--adaptive-threshold", 0.9), "esc takes none"),
        (("--adaptive", "adaptive-consistency", "--adaptive-threshold", 1), "between 0.5 and 1"),
        (("--adaptive", "deepconf-online", "--token-stats", "none"), "needs token statistics"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tamis, place, options, message):
    ran = tamis("infer", *DRAWING, *options)
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert message in ran.err
    assert not Path("runs").exists()
