"""What a model is asked about its own samples: whether each step is right, and whether the answer is true.

Texts are joined, never filled in: nothing that a problem or a sample says can stand for a part of the question.
"""

from __future__ import annotations

from tamis.prompts import problem_text
from tamis.records import Pool, Question
from tamis.steps import split_steps

OPTIONS = ("A", "B")  # the first is the good one: its share is the verdict

# A tail is read after every step, a lead once: what is long stands in the lead.
_STEP = (
    "You check a solution step by step. You see the problem and the solution up to one of its steps, and say of that last step "
    "whether it is correct, given what stands before it. Answer with one letter.\n\nProblem:\n\n",
    "\n\nSolution:\n\n",
    "\n\nIs the last step correct?\n(A) True\n(B) False\nThe last step is:",
)
_ANSWER = (
    "You check the answer to a question. Answer with one letter.\n\nQuestion:\n\n",
    "\n\nProposed answer:\n\n",
    "\n\nIs the proposed answer:\n(A) True\n(B) False\nThe proposed answer is:",
)
WORDING = {"self-eval": "".join(_STEP), "p-true": "".join(_ANSWER)}
"""What is asked, without what it is asked about: a verdict holds for its wording."""


def self_eval_questions(pool: Pool) -> list[Question]:
    """After each step of each sample that says something: is this step correct (Xie et al. 2023, arXiv 2305.00633)?

    The steps are those of `split_steps`, so that verdict k is of step k. Our own wording, and no examples.
    """
    return _questions(pool, _STEP, whole=False)


def p_true_questions(pool: Pool) -> list[Question]:
    """After the whole of each sample that says something: is it true (P(True), Kadavath et al. 2022, arXiv 2207.05221)?"""
    return _questions(pool, _ANSWER, whole=True)


def _questions(pool: Pool, wording: tuple[str, str, str], *, whole: bool) -> list[Question]:
    before, after, tail = wording
    lead = before + problem_text(pool.problem) + after
    said = (sample for sample in pool.samples if not sample.error and sample.text)
    return [
        Question(
            sample.key,
            lead,
            (sample.text,) if whole else tuple(sample.text[start:end] for start, end in split_steps(sample.text)),
            tail,
            OPTIONS,
        )
        for sample in said
    ]
