from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import make_pool
from score.logit_vectors import FOLDER, close

from tamis.records import Pool, Problem, Sample, Sampling, TokenStats
from tamis.score import SCORERS, score_pool, steps
from tamis.score.registry import ScoreSettings
from tamis.score.self_eval import p_true_questions, self_eval_questions
from tamis.steps import split_steps

CASES = json.loads((FOLDER / "steps.json").read_text(encoding="utf-8"))["self_eval"]
HOSTILE = st.sampled_from(["{problem}", "{answer} {0}", "\\boxed{1}", "(A) True", "%s", "Step 1: x\nStep 2: y", "一\n\n第二步"])


def pool_of(problem: str, *texts: str) -> Pool:
    samples = tuple(Sample(f"k{i}", "p", i, i, Sampling(), (text,) if text else ()) for i, text in enumerate(texts))
    return Pool(Problem("p", problem), samples)


@given(st.text() | HOSTILE, st.lists(st.text() | HOSTILE, max_size=4))
def test_whatever_is_said_stands_in_its_question_unchanged(problem, texts):
    pool = pool_of(problem, *texts)
    said = [sample for sample in pool.samples if sample.text]
    for builder in (self_eval_questions, p_true_questions):
        plain = builder(pool_of("", *texts))
        questions = builder(pool)
        assert [q.key for q in questions] == [sample.key for sample in said]
        for question, other, sample in zip(questions, plain, said, strict=True):
            assert "".join(question.parts) == sample.text
            assert (question.tail, question.options) == (other.tail, other.options)
            assert question.lead == questions[0].lead  # one prefill a problem
            assert sorted(question.lead) == sorted(other.lead + problem)
            assert problem in question.lead


def test_a_step_is_a_part_and_an_answer_is_one():
    text = "Step 1: 2 + 3 = 5.\nStep 2: so \\boxed{5}"
    pool = pool_of("2 + 3?", text)
    (question,) = self_eval_questions(pool)
    assert question.parts == tuple(text[start:end] for start, end in split_steps(text))
    assert p_true_questions(pool)[0].parts == (text,)


def test_failed_and_empty_samples_are_not_asked_about():
    pool = make_pool([0, 1, 0], failed=(1,))
    pool = replace(pool, samples=(*pool.samples[:2], replace(pool.samples[2], parts=())))
    for builder in (self_eval_questions, p_true_questions):
        assert [q.key for q in builder(pool)] == ["p-0"]


@pytest.mark.parametrize("case", CASES)
def test_vectors(case):
    p_true, logp = np.array(case["p_true"]), np.array(case["step_mean_logp"])
    step_id = np.arange(len(logp))  # a token a step: its log-probability is the step's mean
    for weight, value in case["lam"].items():
        close(steps.lambda_blend(p_true, logp, step_id, float(weight)), value, 1e-9)
    for name, value in case["agg"].items():
        close(steps.AGGREGATIONS[name](p_true), value, 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_the_scorers_blend_verdicts_as_the_vectors_do(case):
    """From a sample and its verdicts to the scores: "first\\n\\nsecond..." has as many steps as there are verdicts."""
    p_true, logp = case["p_true"], case["step_mean_logp"]
    text = "\n\n".join(f"step {i} of them" for i in range(len(p_true)))
    spans = split_steps(text)
    assert len(spans) == len(p_true)
    values = np.zeros((len(spans), 9), np.float32)
    values[:, 0] = logp
    starts = np.array([start for start, _ in spans], np.int32)
    stats = TokenStats(values, np.zeros(len(spans), np.int32), starts, 10)
    sample = Sample("k", "p", 0, 0, Sampling(), (text,), stats=stats, verdicts={"self-eval": tuple(p_true), "p-true": (0.25,)})
    names = ("self-eval", "self-eval-min", "p-true")
    assert set(names) <= set(SCORERS)
    for weight, value in case["lam"].items():
        table, _ = score_pool(Pool(Problem("p"), (sample,)), names, ScoreSettings(lambda_weight=float(weight)))
        close(table["self-eval"][0], value, 2e-5)
    assert table["self-eval-min"][0] == case["agg"]["min"]
    assert table["p-true"][0] == 0.25
    partly = replace(sample, verdicts={"self-eval": (math.nan, *p_true[1:]), "p-true": (math.nan,)})
    table, records = score_pool(Pool(Problem("p"), (partly,)), names)
    assert {name: row[0] for name, row in table.items()}["p-true"] is None
    assert [record.reason for record in records if record.scorer == "p-true"] == ["judge_failed"]
