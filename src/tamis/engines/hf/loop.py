"""The decoding loop: admit, step, finish, until nothing is owed.

A prompt of P tokens is run once for all draws of its request, without its last token; one with images once for requests that
follow each other too, for rejection sampling asks for one candidate of a picture at a time. A draw gets a copy of those P - 1
cached positions in a free slot and feeds the last prompt token itself, in the same step as all rows: so every token of every
draw comes from the same shapes, and a slot is never idle between two draws.

Determinism. A row's result depends on the number of rows in a step, never on which they are. On a CPU in fp32, from 16 rows
on, it does not even depend on the number, as the probe of `_num_rows` makes sure for the model at hand; then a step runs only
as many rows as are needed. Elsewhere every step runs all slots.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.engines.device import is_out_of_memory
from tamis.engines.hf.batch import Batch, Job, Opening, Row
from tamis.engines.hf.cache import Prefix, SlotCache, prefill
from tamis.engines.hf.hidden import HiddenSums, finish
from tamis.engines.hf.intake import blank_sample, read_request
from tamis.engines.hf.load import Loaded
from tamis.engines.hf.probe import same_bits
from tamis.engines.hf.step import Stepper
from tamis.engines.hf.telling import Telling
from tamis.engines.hf.text import Detokenizer, cut_at_stop
from tamis.engines.token_stats import statistics
from tamis.records import Draw, Failure, FinishReason, Request, Sample, TokenStats

RECENT = 4  # prompts with images that may be asked again
FEWEST_ROWS = 16  # fewer take other matrix kernels, whose sums run in another order


class Source(Protocol):
    """Where requests come from and samples go; both ends may block (back pressure)."""

    @property
    def stopped(self) -> bool:
        """Whether nobody waits for samples any more."""
        ...

    def take(self, *, wait: bool) -> Request | None:
        """The next request; None when there is none now, or with `wait` when there will be none."""
        ...

    def seated(self, count: int) -> None:
        """So many of the draws taken wait no longer."""
        ...

    def emit(self, sample: Sample) -> None:
        """Hand over a finished sample."""
        ...


class Decoder:
    """One stream of requests over one model."""

    def __init__(self, loaded: Loaded, stepper: Stepper, batch_size: int, *, token_stats: bool) -> None:
        self._loaded = loaded
        self._stepper = stepper
        self._token_stats = token_stats
        self._text = Detokenizer(loaded.tokenizer)
        self._eos = np.array(sorted(loaded.eos_ids), dtype=np.int64)
        self._waiting: deque[Row] = deque()
        self._recent: deque[Opening] = deque(maxlen=RECENT)
        self._resize(batch_size)

    @property
    def batch_size(self) -> int:
        """The number of slots: smaller than at first once memory ran out."""
        return self._batch.num_rows

    def run(self, source: Source) -> None:
        """Draw until the source ends or stops."""
        with torch.inference_mode():
            while not source.stopped and self._admit(source):
                try:
                    logits, hidden = self._forward()
                    self._sample(source, logits, hidden)
                except (RuntimeError, MemoryError) as error:
                    self._recover(source, error)

    def _resize(self, batch_size: int) -> None:
        hidden = HiddenSums(batch_size, self._text) if self._stepper.hidden else None
        self._batch = Batch(batch_size, self._stepper.vocab_size, hidden)
        self._cache = SlotCache(batch_size, self._stepper.num_layers)
        self._sizes: list[int] = []  # numbers of rows a step may have instead of all, known to give the same bits
        self._probed = self._loaded.device.type != "cpu" or self._loaded.model.dtype != torch.float32

    # --- admission ------------------------------------------------------------------------------------------------

    def _admit(self, source: Source) -> bool:
        """Fill the free slots; whether there is anything to step."""
        while (slot := self._batch.free_slot()) is not None:
            if not self._waiting:
                request = source.take(wait=not self._batch.alive.any())
                if request is None:
                    break
                self._open(source, request)
                continue
            row = self._waiting.popleft()
            try:
                self._seat(slot, row)
            except (RuntimeError, MemoryError) as error:
                self._waiting.appendleft(row)
                self._recover(source, error)
                continue
            source.seated(1)
        return bool(self._batch.alive.any())

    def _open(self, source: Source, request: Request) -> None:
        """Put a request's draws into the queue, or emit them as failed when the prompt cannot be used."""
        job = read_request(self._loaded, request, self._recent)
        if isinstance(job, Job):
            if request.prompt.images and job.opening and job.opening not in self._recent:
                self._recent.append(job.opening)
            self._waiting.extend(Row(job, draw, telling=self._telling(request, draw)) for draw in request.draws)
            return
        source.seated(len(request.draws))
        for draw in request.draws:
            source.emit(replace(blank_sample(request, draw), finish_reason="error", error=Failure("input", job)))

    def _telling(self, request: Request, draw: Draw) -> Telling | None:
        return Telling(self._text, request.sampling.stop, draw, request.on_text) if request.on_text else None

    def _seat(self, slot: int, row: Row) -> None:
        """Fill a slot with a row's prefix and put the row into it."""
        job = row.job
        prefix = row.prefix or self._run_prompt(job)
        alive = self._batch.positions[self._batch.alive]
        self._cache.reserve(max([prefix.length + 1, *(alive + 1).tolist()]))
        self._cache.fill(slot, prefix)
        self._batch.admit(slot, row)
        if row.prefix is None:
            job.owed -= 1
            if not job.owed:
                job.opening = None
        row.prefix = None

    def _run_prompt(self, job: Job) -> Prefix:
        """The prefix of a job with owed draws, run now unless it is there."""
        opening = job.opening
        assert opening is not None
        if opening.prefix is None:
            opening.prefix = prefill(self._loaded.model, job.ids[:-1], self._loaded.device, beside=opening.beside)
        job.offset = opening.prefix.offset
        return opening.prefix

    # --- a step ---------------------------------------------------------------------------------------------------

    def _forward(self) -> tuple[Tensor, Tensor | None]:
        batch = self._batch
        num_rows = self._num_rows()
        self._cache.reserve(int(batch.positions.max()) + 1)
        rows = slice(num_rows)
        return self._stepper(self._cache, batch.tokens[rows], batch.positions[rows], batch.offsets[rows])

    def _num_rows(self) -> int:
        """How many rows to step: all, or fewer where that is known to change no bit; the living move to the front."""
        batch = self._batch
        count = int(batch.alive.sum())
        if not self._probed and not self._waiting and count <= batch.num_rows // 2:
            self._probed = True
            sizes = [FEWEST_ROWS << i for i in range(16) if FEWEST_ROWS << i < batch.num_rows]
            self._sizes = [size for size in sizes if same_bits(self._stepper, size, batch.num_rows)]
        num_rows = next((size for size in self._sizes if size >= count), batch.num_rows)
        for slot in np.flatnonzero(batch.alive[num_rows:]) + num_rows:
            target = int(batch.alive.argmin())
            self._cache.move(int(slot), target, int(batch.positions[slot]))
            row = batch.take(int(slot))
            batch.admit(target, row)
        return num_rows

    def _sample(self, source: Source, logits: Tensor, hidden: Tensor | None) -> None:
        batch = self._batch
        slots = np.flatnonzero(batch.alive)
        if len(slots) < len(logits):
            logits = logits[torch.from_numpy(slots).to(logits.device)]
        wanted = self._token_stats or bool(batch.watches.rows)
        drawn, totals, states = batch.sampler.draw(logits, slots, batch.next_numbers(slots), states=wanted)
        ids = drawn.cpu().numpy()
        whole = np.isfinite(totals.cpu().numpy())
        ended = np.isin(ids, self._eos)
        keep = whole & ~ended
        if keep.all():
            batch.advance(slots, ids, states)
        else:
            batch.advance(slots[keep], ids[keep], states[keep] if states is not None else None)
        for slot in slots[~whole]:
            self._fail(source, int(slot), "the model gave logits that are not numbers (NaN or infinite)")
        for slot in slots[whole & ended]:
            self._finish(source, int(slot), "stop")
        if batch.hidden is not None and hidden is not None:
            batch.hidden.add(slots[keep], hidden, batch.ids)
        for slot in self._losing_confidence(slots[keep]) if batch.watches.rows else ():
            self._finish(source, int(slot), "cut")
        for slot in slots[keep & np.isin(slots, list(batch.stopping))] if batch.stopping else ():
            self._finish_at_stop_string(source, int(slot))
        for slot in slots[keep & (batch.lengths[slots] >= batch.limits[slots])]:
            if batch.alive[slot]:
                self._finish(source, int(slot), "length")
        for slot in sorted(batch.listening):
            row = batch.rows[slot]
            if row and row.telling and not row.telling.goes_on(batch.ids[slot, : batch.lengths[slot]]):
                self._finish(source, slot, "cut")

    def _losing_confidence(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the slots that their watch gives up at the token they have just taken."""
        batch = self._batch
        watched = slots[np.isin(slots, list(batch.watches.rows))]
        lengths = batch.lengths[watched]
        return watched[batch.watches.add(watched, lengths, statistics(batch.states[watched, lengths - 1]))]

    def _finish_at_stop_string(self, source: Source, slot: int) -> None:
        row = self._batch.rows[slot]
        assert row is not None
        stops = row.job.request.sampling.stop
        length = int(self._batch.lengths[slot])
        recent = self._batch.ids[slot, max(0, length - 2 * row.job.stop_bytes - 32) : length].tolist()
        if cut_at_stop(self._text.tail(recent, row.job.stop_bytes), stops) is None:
            return
        if cut_at_stop(self._text.text(self._batch.ids[slot, :length].tolist()), stops) is not None:
            self._finish(source, slot, "stop")

    # --- the end of a row -----------------------------------------------------------------------------------------

    def _finish(self, source: Source, slot: int, reason: FinishReason) -> None:
        row = self._batch.take(slot)
        ids = row.ids.tolist()
        stop = row.job.request.sampling.stop
        if self._token_stats or stop or row.hidden:
            text, starts = self._text.text_and_starts(ids)
        else:
            text, starts = self._text.text(ids), np.zeros(len(ids), dtype=np.int32)
        count = len(ids)
        if reason != "cut" and (cut := cut_at_stop(text, stop)) is not None:
            text, count = text[:cut], int(np.count_nonzero(starts < cut))
        source.emit(
            replace(
                self._blank(row),
                parts=(text,) if text else (),
                finish_reason=reason,
                completion_tokens=count,
                stats=self._stats(row, starts, count) if self._token_stats else None,
                chain=finish(row.hidden, row.ids, text, starts[:count], self._text) if row.hidden else None,
            )
        )

    def _fail(self, source: Source, slot: int, message: str) -> None:
        row = self._batch.take(slot)
        source.emit(replace(self._blank(row), finish_reason="error", error=Failure("engine", message)))

    def _blank(self, row: Row) -> Sample:
        seconds = time.perf_counter() - row.started if row.started else 0.0
        return replace(blank_sample(row.job.request, row.draw), prompt_tokens=len(row.job.ids), seconds=seconds)

    def _stats(self, row: Row, starts: NDArray[np.int32], count: int) -> TokenStats:
        return TokenStats(statistics(row.states[:count]), row.ids[:count], starts[:count], self._stepper.vocab_size)

    # --- out of memory --------------------------------------------------------------------------------------------

    def _recover(self, source: Source, error: BaseException) -> None:
        """After running out of memory: put all rows aside with their cache, in host memory, and go on with half the slots.

        With one slot left there is nothing to halve: the row that does not fit fails, and the next has its turn.
        """
        if not is_out_of_memory(error):
            raise error
        batch, cache = self._batch, self._cache
        parked: list[Row] = []
        for slot in np.flatnonzero(batch.alive):
            prefix: Prefix = cache.extract(int(slot), int(batch.positions[slot]))
            row = batch.take(int(slot))
            row.prefix = prefix
            parked.append(row)
        for row in self._waiting:
            if row.job.opening:
                row.job.opening.prefix = None
        self._recent.clear()
        self._waiting.extendleft(reversed(parked))
        source.seated(-len(parked))
        if batch.num_rows == 1:
            row = self._waiting.popleft()
            source.seated(1)
            source.emit(
                replace(
                    self._blank(row),
                    finish_reason="error",
                    error=Failure("engine", "out of memory with this sample alone in the batch"),
                )
            )
        del cache
        self._resize(max(1, batch.num_rows // 2))
        if self._loaded.device.type == "cuda":
            torch.cuda.empty_cache()
