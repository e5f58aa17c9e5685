"""The loop around vLLM's engine: admit, step, finish, until nothing is owed.

Each draw is a request of its own under its own seed; vLLM's prefix cache runs the prompt that they share once. There is never
more in vLLM's hands than fills the batch twice, so that requests are pulled only as fast as they can be placed.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.engines.hf.intake import blank_sample
from tamis.engines.hf.loop import Source
from tamis.engines.hf.telling import Telling
from tamis.engines.hf.text import Detokenizer, cut_at_stop
from tamis.engines.vllm.chains import ChainSums
from tamis.engines.vllm.intake import Job, read_request
from tamis.engines.vllm.load import RUNNING, Loaded
from tamis.engines.vllm.store import KEY, STORE, merge, unpack
from tamis.engines.vllm.top import NUM_TOP, stats_of_top
from tamis.engines.watch import Watches, tokens_until_cut
from tamis.records import Draw, Failure, FinishReason, Request, Sample, TokenStats

_NOT_NUMBERS = "the model gave logits that are not numbers (NaN or infinite)"
_names = count()


@dataclass(slots=True, eq=False)
class _Flight:
    """A draw in vLLM's hands."""

    job: Job
    draw: Draw
    started: float
    watches: Watches | None
    telling: Telling | None
    num_seen: int = 0  # tokens that the watch has seen


class Drawer:
    """One stream of requests over one model."""

    def __init__(self, loaded: Loaded, *, token_stats: bool, exact: bool, chains: ChainSums | None) -> None:
        """`exact`: the statistics come from the worker; else from the likeliest tokens, as far as these tell them."""
        self._loaded = loaded
        self._engine = loaded.engine
        self._token_stats = token_stats
        self._exact = exact
        self._chains = chains
        self._text = Detokenizer(loaded.tokenizer)
        self._vocab_size: int = loaded.engine.vllm_config.model_config.get_vocab_size()
        self._waiting: deque[tuple[Job, Draw]] = deque()
        self._flying: dict[str, _Flight] = {}

    def run(self, source: Source) -> None:
        """Draw until the source ends or stops."""
        try:
            while not source.stopped and self._admit(source):
                with RUNNING:
                    outputs = self._engine.step()
                finished = [output for output in outputs if output.finished]
                found = self._take([output.request_id for output in finished])
                for output in finished:
                    self._land(source, output.request_id, output.outputs[0], len(output.prompt_token_ids), found)
                self._cut_short(source)
                self._tell(source, {output.request_id: output.outputs[0] for output in outputs})
        finally:
            self._abort(list(self._flying))
            self._flying.clear()

    # --- admission ------------------------------------------------------------------------------------------------

    def _admit(self, source: Source) -> bool:
        """Hand over draws while there is room; whether there is anything to step."""
        while len(self._flying) < 2 * self._loaded.num_rows:
            if self._waiting:
                self._send(source, *self._waiting.popleft())
                source.seated(1)
                continue
            request = source.take(wait=not self._flying)
            if request is None:
                break
            self._open(source, request)
        return bool(self._flying)

    def _open(self, source: Source, request: Request) -> None:
        """Put a request's draws into the queue, or emit them as failed when the prompt cannot be used."""
        job = read_request(self._loaded, request)
        if isinstance(job, Job):
            self._waiting.extend((job, draw) for draw in request.draws)
            return
        source.seated(len(request.draws))
        for draw in request.draws:
            source.emit(_failed(blank_sample(request, draw), "input", job))

    def _send(self, source: Source, job: Job, draw: Draw) -> None:
        name = f"{KEY}-{next(_names)}"
        watch = job.request.watch if self._exact else None
        try:
            self._engine.add_request(name, job.prompt, self._params(job, draw, name), lora_request=self._loaded.adapter)
        except ValueError as error:  # what vLLM finds wrong with a prompt: too long with its pictures, too many of them
            source.emit(_failed(blank_sample(job.request, draw), "input", f"vLLM does not take the prompt: {error}"))
            return
        watches = Watches(1, self._vocab_size) if watch and self._loaded.in_process else None
        if watches and watch:
            watches.begin(0, watch, np.empty((0, 9), np.float32))
        telling = None
        if job.request.on_text and (watches or not job.request.watch):  # what is given up at the end only is not told before
            telling = Telling(self._text, job.request.sampling.stop, draw, job.request.on_text)
        self._flying[name] = _Flight(job, draw, time.perf_counter(), watches, telling)
        if self._chains:
            self._chains.begin(name, job.request.sampling.stop)

    def _params(self, job: Job, draw: Draw, name: str) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = job.request.sampling
        wanted = self._wants_stats(job.request)
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            max_tokens=job.limit,
            seed=draw.seed,
            stop=list(sampling.stop),
            stop_token_ids=sorted(self._loaded.end_ids),
            ignore_eos=True,  # which tokens end an answer is said above
            logprobs=NUM_TOP if wanted and not self._exact else None,
            extra_args={KEY: name} if self._chains or (wanted and self._exact) else None,
            detokenize=bool(sampling.stop),
            output_kind=RequestOutputKind.CUMULATIVE if job.request.on_text else RequestOutputKind.FINAL_ONLY,
        )

    def _wants_stats(self, request: Request) -> bool:
        return self._token_stats or request.watch is not None

    # --- the end of a draw ----------------------------------------------------------------------------------------

    def _take(self, names: list[str]) -> dict[str, bytes]:
        if not names or not (self._exact or self._chains):
            return {}
        return merge(self._engine.collective_rpc("tamis_take", args=(names,)))

    def _land(self, source: Source, name: str, output: Any, num_prompt_tokens: int, found: dict[str, bytes]) -> None:
        """Emit the sample of a finished draw."""
        flight = self._flying.pop(name)
        reason: FinishReason = "length" if output.finish_reason == "length" else "stop"
        if output.finish_reason not in ("stop", "length"):
            sample = _failed(self._blank(flight, num_prompt_tokens), "engine", f"vLLM ended it: {output.finish_reason}")
        else:
            top = output.logprobs if self._wants_stats(flight.job.request) and not self._exact else None
            sample = self._sample(name, flight, list(output.token_ids), reason, num_prompt_tokens, found.get(name), top)
        if self._chains:
            self._chains.forget(name)
        source.emit(sample)

    def _sample(
        self,
        name: str,
        flight: _Flight,
        ids: list[int],
        reason: FinishReason,
        num_prompt_tokens: int,
        packed: bytes | None,
        top: Any = None,
    ) -> Sample:
        """The sample of tokens ids (T,), with its end token if it has one."""
        blank = self._blank(flight, num_prompt_tokens)
        request = flight.job.request
        if ids and ids[-1] in self._loaded.end_ids:
            ids = ids[:-1]
        tokens = np.array(ids, dtype=np.int32)
        text, starts = self._text.text_and_starts(ids)
        stats: TokenStats | None = None
        if self._wants_stats(request):
            values = stats_of_top(ids, top) if packed is None and top is not None else _values_of(packed, tokens)
            if values is None:
                return _failed(blank, "engine", "vLLM's statistics do not belong to its tokens")
            if self._exact and not np.isfinite(values[:, 0]).all():
                return _failed(blank, "engine", _NOT_NUMBERS)
            stats = TokenStats(values, tokens, starts, self._vocab_size)
            if request.watch and (length := tokens_until_cut(stats, request.watch)):
                reason, ids = "cut", ids[:length]
                text, starts = self._text.text_and_starts(ids)
        num_kept = len(ids)
        if reason != "cut" and (cut := cut_at_stop(text, request.sampling.stop)) is not None:
            text, num_kept = text[:cut], int(np.count_nonzero(starts < cut))
        kept = slice(0, num_kept)
        return replace(
            blank,
            parts=(text,) if text else (),
            finish_reason=reason,
            completion_tokens=num_kept,
            stats=replace(stats, values=stats.values[kept], ids=stats.ids[kept], starts=starts[kept])
            if stats and self._token_stats
            else None,
            chain=self._chains.finish(name, tokens, text, starts[kept]) if self._chains else None,
        )

    def _blank(self, flight: _Flight, num_prompt_tokens: int) -> Sample:
        seconds = time.perf_counter() - flight.started
        return replace(
            blank_sample(flight.job.request, flight.draw),
            prompt_tokens=num_prompt_tokens or flight.job.num_tokens,
            seconds=seconds,
        )

    # --- the end of a draw before its time ------------------------------------------------------------------------

    def _cut_short(self, source: Source) -> None:
        """End the draws that their watch gives up."""
        losing = [name for name, flight in self._flying.items() if flight.watches and self._is_losing(name, flight)]
        if not losing:
            return
        self._engine.abort_request(losing)
        found = self._take(losing)
        for name in losing:
            flight = self._flying.pop(name)
            ids = unpack(found[name])[1].tolist()
            sample = self._sample(name, flight, ids, "cut", flight.job.num_tokens, found[name])
            if self._chains:
                self._chains.forget(name)
            source.emit(sample)

    def _tell(self, source: Source, outputs: dict[str, Any]) -> None:
        """Tell who listens what has come with a step, and end the draws that are given up."""
        given_up = []
        for name, output in outputs.items():
            flight = self._flying.get(name)
            if flight and flight.telling and not flight.telling.goes_on(np.array(output.token_ids, dtype=np.int32)):
                given_up.append(name)
        if not given_up:
            return
        self._engine.abort_request(given_up)
        found = self._take(given_up)
        for name in given_up:
            flight, output = self._flying.pop(name), outputs[name]
            ids, packed = list(output.token_ids), found.get(name)
            source.emit(self._sample(name, flight, ids, "cut", flight.job.num_tokens, packed, output.logprobs))
            if self._chains:
                self._chains.forget(name)

    def _is_losing(self, name: str, flight: _Flight) -> bool:
        assert flight.watches is not None
        for values in STORE.look(name, flight.num_seen):
            flight.num_seen += 1
            if flight.watches.add(np.array([0]), np.array([flight.num_seen]), values[None])[0]:
                return True
        return False

    def _abort(self, names: list[str]) -> None:
        if names:
            self._engine.abort_request(names)
            self._engine.collective_rpc("tamis_drop", args=(names,))


def _failed(sample: Sample, boundary: str, message: str) -> Sample:
    return replace(sample, finish_reason="error", error=Failure(boundary, message))


def _values_of(packed: bytes | None, ids: NDArray[np.int32]) -> NDArray[np.float32] | None:
    """The statistics (T, 9) of tokens ids (T,); None: they are of others."""
    if packed is None:
        return None
    values, stored, _ = unpack(packed)
    return values[: len(ids)] if np.array_equal(stored[: len(ids)], ids) else None
