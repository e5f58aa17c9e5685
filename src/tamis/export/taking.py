"""Which samples of a problem become training data: the best ones, or the best against the worst."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile

from tamis.errors import UsageError
from tamis.records import Grade, Pool, Sample
from tamis.score import why_unscored


@dataclass(frozen=True, slots=True)
class Taking:
    """How samples are taken.

    Without a `scorer` right counts 1 and wrong 0, and `only_correct` holds. Equal texts of a problem are one, the best scored.
    """

    scorer: str | None = None
    margin: float = 0.0  # of pairs: the least difference of the two scores, which is above 0 in any case
    only_correct: bool = False  # a sample that is to be learnt from is right, and one to be unlearnt wrong
    per_prompt: int = 1  # rows a problem at most; of pairs, a prompt
    least: float | None = None  # the least score of a sample that is to be learnt from

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf:
            raise UsageError(f"the margin is {self.margin:g}", "Give a number of 0 or more")
        if self.least is not None and not math.isfinite(self.least):
            raise UsageError(f"the least score is {self.least:g}", "Give a number")


@dataclass(frozen=True, slots=True)
class Taken:
    """A sample, how it was graded, and the score that it was taken by."""

    sample: Sample
    grade: Grade
    score: float


def best(pool: Pool, taking: Taking) -> tuple[list[Taken], Counter[str]]:
    """The best scored samples of a graded and scored pool, the first index first among equals.

    Returns:
        The samples; and why the others are left out, each reason with the number of samples: a reason of `records.Unscored`,
        `cut_off` (it did not end by itself), `pictures` (it is not text alone), `wrong`, `repeated`, `below_the_least` or
        `beyond_the_best`.
    """
    usable, left_out = _usable(pool, taking)
    wanted = [taken for taken in usable if taken.grade.correct] if _by_grade(taking) else usable
    left_out["wrong"] += len(usable) - len(wanted)
    reached = [taken for taken in wanted if _reaches(taken, taking)]
    left_out["below_the_least"] += len(wanted) - len(reached)
    left_out["beyond_the_best"] += len(reached[taking.per_prompt :])
    return reached[: taking.per_prompt], +left_out


def pairs(pool: Pool, taking: Taking) -> tuple[list[tuple[Taken, Taken]], Counter[str]]:
    """(chosen, rejected): the best sample with the worst, the second best with the second worst, while they differ enough.

    Returns:
        The pairs, without a sample in common; and why samples are left out, as of `best`, or `unpaired`.
    """
    usable, left_out = _usable(pool, taking)
    by_grade = _by_grade(taking)
    chosen = [taken for taken in usable if (taken.grade.correct or not by_grade) and _reaches(taken, taking)]
    rejected = [taken for taken in reversed(usable) if not taken.grade.correct or not by_grade]
    matched = zip(chosen, rejected, strict=False)  # the scores of the first fall, of the second rise: no two meet
    found = list(takewhile(lambda pair: _differ(*pair, taking.margin), matched))[: taking.per_prompt]
    left_out["unpaired"] += len(usable) - 2 * len(found)
    return found, +left_out


def _differ(chosen: Taken, rejected: Taken, margin: float) -> bool:
    return chosen.score > rejected.score and chosen.score - rejected.score >= margin


def _reaches(taken: Taken, taking: Taking) -> bool:
    return taking.least is None or taken.score >= taking.least


def _by_grade(taking: Taking) -> bool:
    return taking.only_correct or taking.scorer is None


def _usable(pool: Pool, taking: Taking) -> tuple[list[Taken], Counter[str]]:
    """All that could be taken, each text once, best first; and why the others cannot."""
    left_out: Counter[str] = Counter()
    found = []
    for i, (sample, grade) in enumerate(zip(pool.samples, pool.grades, strict=True)):
        score, reason = _score(pool, i, taking)
        reason = _misfit(sample) or reason
        if reason is None and grade.correct is None and _by_grade(taking):
            reason = grade.reason or "undefined"
        if reason is None and score is not None:
            found.append(Taken(sample, grade, score))
        else:
            left_out[str(reason)] += 1
    found.sort(key=lambda taken: (-taken.score, taken.sample.index))
    usable = list({taken.sample.text.strip(): taken for taken in reversed(found)}.values())
    left_out["repeated"] += len(found) - len(usable)
    usable.sort(key=lambda taken: (-taken.score, taken.sample.index))
    return usable, left_out


def _misfit(sample: Sample) -> str | None:
    """Why nothing is to be learnt from a sample, whatever its score."""
    if sample.error:
        return "engine_error"
    if not all(isinstance(part, str) for part in sample.parts):
        return "pictures"
    if not sample.text.strip():
        return "empty"
    return None if sample.finish_reason == "stop" else "cut_off"


def _score(pool: Pool, position: int, taking: Taking) -> tuple[float | None, str | None]:
    """A sample's score, or why it has none."""
    grade = pool.grades[position]
    if taking.scorer is None:
        return (None, grade.reason or "undefined") if grade.correct is None else (float(grade.correct), None)
    score = pool.scores[taking.scorer][position]
    if score is None or not math.isfinite(score):
        return None, why_unscored(pool.samples[position], taking.scorer)
    return score, None
