"""One question -> several answers, drawn through a desk, and the one that a method takes; nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tamis.config import AdaptiveSampling
from tamis.errors import UsageError
from tamis.grade import Grader
from tamis.identity import sample_seed
from tamis.records import Choice, Draw, OnText, Pool, Problem, Prompt, Request, Sample, Sampling
from tamis.sample import Round
from tamis.sample.desk import Desk
from tamis.select import Method, choose
from tamis.workflows.adapting import Adapting
from tamis.workflows.examining import examine, why_not


@dataclass(frozen=True, slots=True)
class Order:
    """A question, and how it shall be answered."""

    problem: Problem
    prompt: Prompt
    sampling: Sampling  # of `n` answers, at most
    method: Method | None = None  # that takes one of them; None: they are wanted as they come
    adaptive: AdaptiveSampling | None = None  # when they are enough; None: all are drawn


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an order."""

    pool: Pool  # as drawn; with a method graded, clustered and scored
    choice: Choice | None  # None without a method


async def answer(order: Order, desk: Desk, grader: Grader, name: str, on_text: OnText | None = None) -> Answer:
    """Draw, and choose where a method is named.

    Args:
        order: What is wanted.
        desk: Where the engine is.
        grader: Compares answers.
        name: Tells the order from all others at the desk, the very same question too.
        on_text: Told of the texts while they are drawn.

    Raises:
        EngineError: The engine broke as a whole.
        UsageError: The method goes by what the engine does not give.
    """
    adapting = Adapting(order.adaptive, order.sampling.n, grader) if order.adaptive else None
    pool = Pool(order.problem, ())
    while left := order.sampling.n - len(pool.samples):
        more = await adapting(pool) if adapting else Round(left)
        if more.num_samples < 1:
            break
        request = _request(order, name, range(len(pool.samples), len(pool.samples) + more.num_samples))
        drawn = [sample async for sample in desk.draw_each(replace(request, watch=more.watch, on_text=on_text))]
        pool = replace(pool, samples=(*pool.samples, *sorted(drawn, key=lambda sample: sample.index)))
    if order.method is None:
        return Answer(pool, None)
    pool = await examine(pool, grader, [order.method.scorer] if order.method.scorer else [])
    if reason := why_not(pool, order.method):
        advice = "Take self-consistency, which needs answers only"
        raise UsageError(f"{order.method.name} goes by a score that no answer has here ({reason})", advice)
    return Answer(pool, choose(pool, order.method))


def _request(order: Order, name: str, indices: range) -> Request:
    problem_id, seed = order.problem.id, order.sampling.seed
    draws = tuple(Draw(f"{name}-{index}", index, sample_seed(seed, problem_id, index)) for index in indices)
    return Request(problem_id, order.prompt, order.sampling, draws)


def ranked(answered: Answer, count: int) -> list[Sample]:
    """The best samples first: each is what the method would take were those before it not there.

    Where it abstains, and without a method, those that did not fail follow in their order.
    """
    pool, choice = answered.pool, answered.choice
    taken: list[Sample] = []
    while choice is not None and choice.index is not None and len(taken) < count:
        index = choice.index
        taken += [sample for sample in pool.samples if sample.index == index]
        pool = _without(pool, index)
        choice = choose(pool, choice.selector)
    others = [sample for sample in pool.samples if not sample.error]
    return [*taken, *others][:count]


def _without(pool: Pool, index: int) -> Pool:
    kept = [place for place, sample in enumerate(pool.samples) if sample.index != index]
    return replace(
        pool,
        samples=tuple(pool.samples[place] for place in kept),
        grades=tuple(pool.grades[place] for place in kept),
        clusters=tuple(pool.clusters[place] for place in kept),
        scores={name: tuple(values[place] for place in kept) for name, values in pool.scores.items()},
    )
