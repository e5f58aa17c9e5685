"""The grader: verdicts on pairs, grades of samples, clusters of equal answers.

Paths, cheapest first; the first that is certain decides and is named in `Verdict.decided_by`:

    exact      the two are the same string, once typography is taken off
    choice     the reference is a letter of a multiple choice
    numeric    both can be read as values (numbers, expressions, tuples, sets, matrices, times, words) and compared exactly
    symbolic   math-verify, in a worker process
    timeout    the worker took too long: normalised strings decide (they differ, or `exact` had decided)
    string     the worker could not tell (not parsed, out of memory, too long): the same
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType

from tamis.grade.compare import same
from tamis.grade.extract import answer_of
from tamis.grade.normalise import LONGEST, canonical, tidy
from tamis.grade.prose import choice, chosen, reduced
from tamis.grade.reading import locale_decimal, read
from tamis.grade.values import Scalar, describe
from tamis.grade.workers import Reply, WorkerPool
from tamis.records import Grade, Sample

_CACHED = 65_536


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether two answers are equal, and which path said so."""

    equal: bool
    decided_by: str
    detail: str = ""


def decide(gold: str, pred: str) -> Verdict | None:
    """The verdict of the paths that need no worker; None when only symbolic algebra can tell. Never raises."""
    if gold == pred:
        return Verdict(True, "exact")
    if max(len(gold), len(pred)) > 4 * LONGEST:
        return Verdict(False, "string", f"longer than {4 * LONGEST} characters")
    if canonical(gold) == canonical(pred):
        return Verdict(True, "exact", "same string once tidied")
    if not tidy(gold) or not tidy(pred):
        return Verdict(False, "string", "one of the two is empty")
    if (verdict := _by_choice(gold, pred)) is not None:
        return verdict
    gold, pred = reduced(gold), reduced(pred)
    if (verdict := _by_value(gold, pred)) is not None:
        return verdict
    if max(len(gold), len(pred)) > LONGEST:
        return Verdict(False, "string", f"longer than {LONGEST} characters")
    return None


def _by_choice(gold: str, pred: str) -> Verdict | None:
    if len(gold) > 200 or (lettered := choice(gold)) is None:
        return None
    letter, words = lettered
    if words and canonical(words) == canonical(pred):
        return Verdict(True, "choice", f"the words of ({letter})")
    named = chosen(pred)
    return Verdict(named == letter, "choice", f"names {named}") if named else None


def _by_value(gold: str, pred: str) -> Verdict | None:
    first, second = read(gold), read(pred)
    if first is None or second is None:
        return None
    for value, text in ((first, pred), (second, gold)):
        if isinstance(value, Scalar) and value.decimal and locale_decimal(text) == value.value:
            return Verdict(True, "numeric", "decimal comma")
    equal = same(first, second)
    if equal is False and type(first) is not type(second):  # 100,200: a number or a list
        apart = [read(text.replace(",", ", ")) or value for value, text in ((first, gold), (second, pred))]
        equal = same(*apart)
    return None if equal is None else Verdict(equal, "numeric")


class Grader:
    """Compares answers. Cheap paths run in the calling thread; worker processes start when a pair first needs them.

    Use it as a context manager, synchronous or asynchronous, or call `close`. One grader may be shared by threads.

    Args:
        num_workers: Worker processes at most; default: the processors, at most 8.
        limit_s: Processor seconds math-verify may spend on a pair.
    """

    def __init__(self, num_workers: int | None = None, limit_s: float = 5.0) -> None:
        self._pool = WorkerPool(num_workers, limit_s)
        self._known: OrderedDict[tuple[str, str], Verdict] = OrderedDict()
        self._asked: dict[tuple[str, str], Future[Verdict]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Grader:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    async def verify(self, gold: str, pred: str) -> Verdict:
        """Whether `pred` is the answer `gold`. Not symmetric (math-verify is not): the reference comes first.

        Raises:
            TamisError: A worker process cannot be started at all.
        """
        known = self._lookup(gold, pred)
        if isinstance(known, Verdict):
            return known
        return await asyncio.shield(asyncio.wrap_future(known))

    def verify_many(self, pairs: Iterable[tuple[str, str]]) -> list[Verdict]:
        """The verdicts of many (gold, pred) pairs, for callers without an event loop; all are under way together."""
        known = [self._lookup(gold, pred) for gold, pred in pairs]
        return [verdict if isinstance(verdict, Verdict) else verdict.result() for verdict in known]

    async def grade(self, sample: Sample, gold: str | None) -> Grade:
        """The grade of one sample.

        Without an answer in the text, or given up half-way (`cut`): `correct` False, reason `no_answer`. Not graded (`correct`
        None): a failed sample (`engine_error`), a problem without reference (`no_reference`), a comparison that takes too long
        (`timeout`).
        """
        if sample.error is not None:
            return Grade(sample.key, None, None, "engine_error")
        answer = answer_of(sample)
        if gold is None:
            return Grade(sample.key, answer, None, "no_reference")
        if answer is None:
            return Grade(sample.key, None, False, "no_answer")
        verdict = await self.verify(gold, answer)
        if verdict.decided_by == "timeout":
            return Grade(sample.key, answer, None, "timeout", decided_by="timeout")
        return Grade(sample.key, answer, verdict.equal, decided_by=verdict.decided_by)

    async def cluster(self, answers: Sequence[str | None]) -> tuple[int, ...]:
        """Equivalence classes of answers, numbered from 0 in order of their first member; -1 for None.

        Greedy leaders in index order: an answer joins the first cluster whose LEADER equals it (`verify(leader, answer)`),
        never through another member.
        """
        leaders: list[str] = []
        assigned: dict[str, int] = {}
        for answer in answers:
            if answer is None or answer in assigned:
                continue
            place = await self._place(leaders, answer)
            if place == len(leaders):
                leaders.append(answer)
            assigned[answer] = place
        return tuple(-1 if answer is None else assigned[answer] for answer in answers)

    async def _place(self, leaders: list[str], answer: str) -> int:
        """The first leader that equals the answer, else their number. Undecided ones are asked together, not in turn."""
        asked: list[tuple[int, Future[Verdict]]] = []
        place = len(leaders)
        for i, leader in enumerate(leaders):
            known = self._lookup(leader, answer)
            if isinstance(known, Future):
                asked.append((i, known))
            elif known.equal:
                place = i
                break
        verdicts = await asyncio.gather(*(asyncio.shield(asyncio.wrap_future(future)) for _, future in asked))
        return next((i for (i, _), verdict in zip(asked, verdicts, strict=True) if verdict.equal), place)

    def explain(self, gold: str, pred: str) -> list[str]:
        """How one pair is decided, a line a step; for `tamis grade --explain`. Blocks."""
        steps = []
        for name, answer in (("gold", gold), ("pred", pred)):
            steps.append(f"{name}: {answer[:200]}")
            steps.append(f"  tidied: {tidy(answer)[:200]}")
            if (meant := reduced(answer)) != answer:
                steps.append(f"  a sentence; it says: {meant[:200]}")
            value = read(meant)
            steps.append(f"  read as: {describe(value)[:300] if value is not None else 'nothing the fast path knows'}")
        fast = decide(gold, pred)
        if fast is None:
            steps.append("the fast paths cannot decide; math-verify is asked")
        (verdict,) = self.verify_many([(gold, pred)])
        said = f" ({verdict.detail})" if verdict.detail else ""
        steps.append(f"{'equal' if verdict.equal else 'different'}, decided by: {verdict.decided_by}{said}")
        return steps

    def _lookup(self, gold: str, pred: str) -> Verdict | Future[Verdict]:
        """A verdict at once where it is known or cheap, else the future of one."""
        pair = (gold, pred)
        with self._lock:
            if (known := self._known.get(pair)) is not None:
                self._known.move_to_end(pair)
                return known
            if (asked := self._asked.get(pair)) is not None:
                return asked
        if (verdict := decide(gold, pred)) is not None:
            self._remember(pair, verdict)
            return verdict
        promise: Future[Verdict] = Future()
        with self._lock:
            if (asked := self._asked.setdefault(pair, promise)) is not promise:
                return asked
        try:
            reply = self._pool.submit(tidy(reduced(gold)), tidy(reduced(pred)))
        except BaseException:
            with self._lock:
                del self._asked[pair]
            raise
        reply.add_done_callback(lambda done: self._settle(pair, promise, done))
        return promise

    def _settle(self, pair: tuple[str, str], promise: Future[Verdict], done: Future[Reply]) -> None:
        if done.cancelled():
            promise.cancel()
        elif (error := done.exception()) is not None:
            promise.set_exception(error)
        else:
            verdict = _from_reply(done.result())
            self._remember(pair, verdict)
            promise.set_result(verdict)
        with self._lock:
            self._asked.pop(pair, None)

    def _remember(self, pair: tuple[str, str], verdict: Verdict) -> None:
        with self._lock:
            self._known[pair] = verdict
            if len(self._known) > _CACHED:
                self._known.popitem(last=False)


def _from_reply(reply: Reply) -> Verdict:
    if reply.equal is not None:
        return Verdict(reply.equal, "symbolic", reply.detail)
    # equal strings were decided before any worker was asked
    return Verdict(False, "timeout" if reply.timed_out else "string", reply.detail)
