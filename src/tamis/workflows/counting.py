"""Ranges of files -> one partial result, by worker processes that each take the next range when they are free."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.context import BaseContext

from tamis.counting import TokenCounter, shared
from tamis.errors import TamisError
from tamis.sources.generations import FileRange, Generation, GenerationFields, read_generations
from tamis.summarise.partial import NOT_READ, Partial
from tamis.summarise.tally import Tally

_AHEAD = 2  # ranges that wait for each process, so that none is idle


class RangeCounter:
    """Reads and counts one range after another; what it gives depends on the range alone.

    Args:
        counter: Counts tokens.
        fields: The names of the columns.
        max_tokens: From how many tokens on a text of which nothing else is known counts as truncated; None: unknown then.
        majority: Whether to look for the answer in each text.
    """

    def __init__(
        self, counter: TokenCounter, fields: GenerationFields, max_tokens: int | None = None, *, majority: bool = False
    ) -> None:
        self.counter = counter
        self._fields, self._max_tokens, self._majority = fields, max_tokens, majority

    def __call__(self, part: FileRange) -> Partial:
        """All that is known of the rows of a range.

        Raises:
            InputError: The file cannot be read.
        """
        tally, num_lines = Tally((part.number, part.start)), 0
        for row in read_generations(part, self._fields, tally.refuse):
            num_lines += 1
            if row is not None:
                self._add(tally, row)
        return tally.partial(num_lines)

    def _add(self, tally: Tally, row: Generation) -> None:
        counts = [self.counter.count(text) for text in row.texts]
        truncated = row.truncated
        if truncated is None and self._max_tokens is not None:
            truncated = max(counts, default=0) >= self._max_tokens
        answer = _answer(row.texts, complete=not truncated) if self._majority else NOT_READ
        tally.add(row.prompt, row.answer, row.accuracy, sum(counts), row.texts, truncated=truncated, answer=answer)


def _answer(texts: Sequence[str], *, complete: bool) -> str | None:
    """What the last text answers, in the form in which equal answers are mostly the same."""
    from tamis.grade.extract import extract_answer
    from tamis.grade.normalise import canonical

    found = extract_answer(texts[-1], complete=complete) if texts else None
    return None if found is None else canonical(found)


_count: Callable[[FileRange], Partial]  # of a worker process


def _start(count: RangeCounter) -> None:
    global _count
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends its workers itself
    _count = count


def _work(part: FileRange) -> Partial:
    return _count(part)


def _context(counter: TokenCounter) -> BaseContext:
    """How workers begin: forked from a process that holds the tokenizer, where that can be."""
    if not counter.is_fast or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([shared.__name__])
    os.environ[shared.VARIABLE] = str(counter.path)
    try:
        forkserver.ensure_running()
    finally:
        del os.environ[shared.VARIABLE]
    return context


def count_ranges(parts: Iterable[FileRange], count: RangeCounter, num_proc: int) -> Iterator[Partial]:
    """The partial result of each range, as they come.

    Raises:
        InputError: A file cannot be read.
        TamisError: A worker process was killed.
    """
    if num_proc == 1:
        yield from map(count, parts)
        return
    rest = iter(parts)
    pool = ProcessPoolExecutor(num_proc, _context(count.counter), _start, (count,))
    try:
        running: set[Future[Partial]] = {pool.submit(_work, part) for part in islice(rest, _AHEAD * num_proc)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(_work, part) for part in islice(rest, len(done))}
            for future in done:
                yield future.result()
    except BrokenProcessPool:
        advice = 'Use fewer processes; a script needs `if __name__ == "__main__":` around what starts them'
        raise TamisError("a worker process did not start or was killed, perhaps for want of memory", advice) from None
    finally:
        pool.shutdown(cancel_futures=True)
