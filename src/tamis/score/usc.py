"""Universal self-consistency (Chen et al. 2023, arXiv 2311.17311): a model reads all samples of a problem and names one.

All samples go into one prompt. The paper's figures are for about 8; a prompt that exceeds the model's context fails as such,
nothing is left out of it.
"""

from __future__ import annotations

import re

from tamis.prompts import fill, problem_text
from tamis.records import Pool, Problem, Sample, Verdict

USC_TEMPLATE = """\
Below are {count} responses to the same question. The responses are numbered from 0 to {last}.

[Question]
{problem}
[End of the question]

{responses}

Compare what the responses conclude, and decide which one agrees best with the majority of them. Say briefly which of them
agree, then end with one line of exactly this form, where <k> is the number of the most consistent response:
The most consistent response is Response <k>"""
"""What is asked, our own wording."""

_NAMED = re.compile(r"response[\s*_#:<\[(]{0,8}(\d+)", re.IGNORECASE)


def usc_problem(pool: Pool, template: str = USC_TEMPLATE) -> Problem | None:
    """What the model is asked about a pool, under the problem's id; None where at most one sample says something."""
    said = _said(pool)
    if len(said) < 2:
        return None
    responses = "\n\n".join(f"[Response {i}]\n{sample.text}\n[End of response {i}]" for i, sample in enumerate(said))
    values = {
        "count": str(len(said)),
        "last": str(len(said) - 1),
        "problem": problem_text(pool.problem),
        "responses": responses,
    }
    return Problem(pool.problem.id, fill(template, values))


def usc_pick(reply: str, count: int) -> int:
    """Which of `count` responses a reply names: its last `Response <k>`; 0 where there is none, or no such response."""
    named = _NAMED.findall(reply)
    return int(named[-1]) if named and len(named[-1]) < 10 and int(named[-1]) < count else 0


def usc_verdicts(pool: Pool, reply: str = "") -> list[Verdict]:
    """A verdict for each sample that says something: 1 for the one that the reply names, 0 for the others.

    One sample alone needs no reply.
    """
    said = _said(pool)
    pick = usc_pick(reply, len(said))
    return [Verdict(sample.key, (float(i == pick),)) for i, sample in enumerate(said)]


def _said(pool: Pool) -> list[Sample]:
    """The samples that are numbered in the question."""
    return [sample for sample in pool.samples if not sample.error and sample.text]
