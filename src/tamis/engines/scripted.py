"""A model that says what it is told to: for tests, examples and trying out a pipeline without weights.

Every draw is answered from a script, one token a character, as a slow or a faulty model would: with delays, with failures,
with token statistics and chains that obey the laws of real ones. What a draw gives depends on its request and its seed alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tamis.engines.chains import chain_row
from tamis.engines.watch import tokens_until_cut
from tamis.errors import EngineError
from tamis.records import (
    STATISTICS,
    Draw,
    EmbeddingChain,
    Failure,
    FinishReason,
    Question,
    Reading,
    Request,
    Sample,
    TokenStats,
    Verdict,
)
from tamis.steps import split_steps

if TYPE_CHECKING:
    from numpy.typing import NDArray

Answer = str | Failure | Sample
"""What a script says to one draw: a text, a failure, or the whole sample as it shall be yielded."""

Script = Callable[[Request, Draw], Answer] | Mapping[str, Sequence[Answer]] | Sequence[Answer]
"""A function of request and draw; or the answers to each problem, by its id; or the same answers to all. Answers are taken
by sample index, from the first again when they run out; a problem that has none fails."""

Opinion = Callable[[Question], Sequence[float] | Failure]
"""What is thought of a question: a number for each part, or a failure."""

VOCAB_SIZE = 32
NUM_LAYERS, HIDDEN_SIZE = 3, 8
_PIECE = 8  # characters that are told at a time


class ScriptedEngine:
    """Answers from a script; see `Script`. It is a `Reader` too.

    Counts what it was asked: `num_requests`, `num_draws`, `num_read` (samples), `num_questions`.
    """

    def __init__(
        self,
        script: Script,
        *,
        token_stats: bool = False,
        hidden_states: bool = False,
        delay: float | Callable[[Draw], float] = 0.0,
        max_draws_in_flight: int = 16,
        break_after: int | None = None,
        opinion: Opinion | None = None,
    ) -> None:
        """Prepare the script.

        Args:
            script: What to say.
            token_stats: Give each text token statistics, drawn from the seed (`random_stats`).
            hidden_states: Give each text a chain of embedding, drawn from the seed (`random_chain`).
            delay: Seconds that each draw takes, or a function of the draw; a number is spread by up to half, by the seed.
            max_draws_in_flight: Draws admitted and not yet handed over.
            break_after: Raise `EngineError` once so many samples are handed over.
            opinion: What to say when asked; by default numbers drawn from the question's key and the text so far.
        """
        self._script = script
        self._token_stats = token_stats
        self._hidden_states = hidden_states
        self._delay = delay
        self._max_draws_in_flight = max_draws_in_flight
        self._break_after = break_after
        self._opinion = opinion or _random_opinion
        self.num_requests = 0
        self.num_draws = 0
        self.num_read = 0
        self.num_questions = 0

    @classmethod
    def from_file(cls, path: str | Path, *, token_stats: bool = False, hidden_states: bool = False) -> Self:
        """Read a script: JSON with `answers` (a list, or lists by problem id) and, if it shall take time, `delay_s`.

        Raises:
            EngineError: There is no such file, or it is no script.
        """
        try:
            script = json.loads(Path(path).read_text(encoding="utf-8"))
            options: dict[str, Any] = {"token_stats": token_stats, "hidden_states": hidden_states}
            return cls(script["answers"], **options, delay=script.get("delay_s", 0.0))
        except OSError as error:
            raise EngineError(f"cannot read the script {path}: {error.strerror}", "Name a JSON file") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(
                f"{path} is not a script", 'Write {"answers": ["...", ...]} or {"answers": {"id": ["..."]}}'
            ) from error

    def describe(self) -> Mapping[str, Any]:
        """Its name; the script has none."""
        return {"engine": "scripted"}

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Sample, None]:
        """Answer every draw, each in its own time.

        Raises:
            EngineError: `break_after` samples are handed over.
        """
        finished: asyncio.Queue[Sample | Exception | None] = asyncio.Queue()
        slots = asyncio.Semaphore(self._max_draws_in_flight)
        feeder = asyncio.create_task(self._answer_all(requests, finished, slots))
        num_given = 0
        try:
            while (item := await finished.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
                slots.release()
                num_given += 1
                if num_given == self._break_after:
                    raise EngineError(f"the scripted engine broke after {num_given} samples", "It was told to")
        finally:
            feeder.cancel()
            await asyncio.wait([feeder])

    async def _answer_all(
        self, requests: AsyncIterator[Request], finished: asyncio.Queue[Sample | Exception | None], slots: asyncio.Semaphore
    ) -> None:
        async def answer(request: Request, draw: Draw) -> None:
            try:
                finished.put_nowait(await self._say(request, draw))
            except Exception as error:  # noqa: BLE001 raised again in `stream`
                finished.put_nowait(error)

        try:
            async with asyncio.TaskGroup() as draws:
                async for request in requests:
                    self.num_requests += 1
                    for draw in request.draws:
                        await slots.acquire()
                        self.num_draws += 1
                        draws.create_task(answer(request, draw))
            finished.put_nowait(None)
        except ExceptionGroup as errors:  # of `requests`: the draws raise nothing
            finished.put_nowait(errors.exceptions[0])

    async def read(self, readings: AsyncIterator[Reading]) -> AsyncGenerator[Sample, None]:
        """Give each sample what drawing it with `token_stats` would have given; see `Reader`."""
        async for reading in readings:
            for sample in reading.samples:
                self.num_read += 1
                if not sample.error:
                    stats, chain = random_stats(sample.text, sample.seed), self._chain(sample.text, sample.seed)
                    sample = replace(sample, stats=stats, chain=chain)
                yield sample

    async def ask(self, groups: AsyncIterator[Sequence[Question]]) -> AsyncGenerator[Verdict, None]:
        """Say what `opinion` says; see `Reader`."""
        async for questions in groups:
            for question in questions:
                self.num_questions += 1
                said = self._opinion(question)
                yield Verdict(question.key, (), said) if isinstance(said, Failure) else Verdict(question.key, tuple(said))

    def close(self) -> None:
        """Nothing to free."""

    async def _say(self, request: Request, draw: Draw) -> Sample:
        """The sample of a draw, when its time is over; whoever listens hears it a piece at a time."""
        if request.on_text is None:
            await asyncio.sleep(self._seconds(draw))
            return self._sample(request, draw)
        sample = self._sample(request, draw)
        ends = [*range(_PIECE, len(sample.text), _PIECE), len(sample.text)]
        for end in ends:
            await asyncio.sleep(self._seconds(draw) / len(ends))
            if end and not request.on_text(draw, sample.text[:end]):
                return self._cut(sample, end)
        return sample

    def _cut(self, sample: Sample, end: int) -> Sample:
        """A sample that was given up after so many characters, its tokens."""
        text, stats = sample.text[:end], sample.stats
        if stats is not None:
            stats = TokenStats(stats.values[:end], stats.ids[:end], stats.starts[:end], stats.vocab_size)
        chain = self._chain(text, sample.seed) if sample.chain is not None else None
        return replace(sample, parts=(text,), finish_reason="cut", completion_tokens=end, stats=stats, chain=chain)

    def _seconds(self, draw: Draw) -> float:
        if callable(self._delay):
            return self._delay(draw)
        return self._delay * Random(draw.seed).uniform(0.5, 1.5)

    def _answer(self, request: Request, draw: Draw) -> Answer:
        if callable(self._script):
            return self._script(request, draw)
        answers = self._script.get(request.problem_id, ()) if isinstance(self._script, Mapping) else self._script
        if not answers:
            return Failure("engine", f"the script has no answer to problem {request.problem_id}")
        return answers[draw.index % len(answers)]

    def _sample(self, request: Request, draw: Draw) -> Sample:
        answer = self._answer(request, draw)
        if isinstance(answer, Sample):
            return answer
        sampling = request.sampling
        identity = (draw.key, request.problem_id, draw.index, draw.seed, sampling)
        prompt_tokens = len(request.prompt.text)
        if isinstance(answer, Failure):
            return Sample(*identity, finish_reason="error", prompt_tokens=prompt_tokens, error=answer)
        text, finish_reason = cut(answer, sampling.stop, sampling.max_tokens)
        stats = random_stats(text, draw.seed) if self._token_stats else None
        if stats and request.watch and (length := tokens_until_cut(stats, request.watch)):
            text, finish_reason, stats = text[:length], "cut", random_stats(text[:length], draw.seed)
        return Sample(
            *identity,
            parts=(text,) if text else (),
            finish_reason=finish_reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=len(text),
            stats=stats,
            chain=self._chain(text, draw.seed),
        )

    def _chain(self, text: str, seed: int) -> EmbeddingChain | None:
        return random_chain(text, seed) if self._hidden_states and text else None


def cut(text: str, stop: Sequence[str], max_tokens: int) -> tuple[str, FinishReason]:
    """What is generated of a text, and why it ends there; the end token needs room within `max_tokens` too."""
    generated = text[:max_tokens]
    ends = [place for word in stop if word and (place := generated.find(word)) >= 0]
    if ends:
        return generated[: min(ends)], "stop"
    return generated, "length" if len(text) >= max_tokens else "stop"


def _random_opinion(question: Question) -> list[float]:
    """A number for each part, drawn from the key and the text so far."""
    texts = accumulate(question.parts)
    return [Random(f"{question.key} {text}").random() for text in texts]


def random_logp(text: str, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Log-probabilities (T, V) at each character of a text, drawn from a seed, and the characters' token ids (T,)."""
    logits = np.random.default_rng(seed).normal(scale=3.0, size=(len(text), VOCAB_SIZE))
    ids = np.array([ord(character) % VOCAB_SIZE for character in text], np.int32)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True)), ids


def random_stats(text: str, seed: int) -> TokenStats:
    """Statistics of a text whose tokens are its characters, of distributions over 32 tokens drawn from a seed."""
    num_tokens = len(text)
    logp, ids = random_logp(text, seed)
    p, largest = np.exp(logp), -np.sort(-logp, axis=1)
    chosen = logp[np.arange(num_tokens), ids]
    values = {
        "logp": chosen,
        "rank": 1 + (logp > chosen[:, None]).sum(1),
        "entropy": -(p * logp).sum(1),
        "mean_logp": logp.mean(1),
        "sum_p2": (p * p).sum(1),
        "lp1": largest[:, 0],
        "lp2": largest[:, 1],
        "sum_top5": largest[:, :5].sum(1),
        "sum_top20": largest[:, :20].sum(1),
    }
    columns = np.stack([values[name] for name in STATISTICS], axis=1).astype(np.float32)  # (T, 9)
    return TokenStats(columns, ids, np.arange(num_tokens, dtype=np.int32), VOCAB_SIZE)


def random_chain(text: str, seed: int) -> EmbeddingChain:
    """The chain of a text, not empty, whose tokens are its characters; the mean states of its steps are drawn from a seed."""
    steps = split_steps(text)
    means = np.random.default_rng([seed, 1]).normal(size=(len(steps), NUM_LAYERS + 1, HIDDEN_SIZE))
    whole = np.average(means, axis=0, weights=[end - start for start, end in steps])  # (L + 1, d)
    return EmbeddingChain(chain_row(np.concatenate((whole[None], means))).astype(np.float32))
