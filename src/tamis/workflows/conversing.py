"""A conversation with a model that stays open: each question is asked together with the turns before it.

The engine's stream runs in an event loop of its own thread, so that whoever talks can wait, be interrupted and go on.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tamis.grade import Grader
from tamis.identity import sample_keys, sample_seed
from tamis.prompts import PromptTemplate
from tamis.records import Choice, Draw, FinishReason, Message, Pool, Problem, Prompt, Request, Sample, Sampling
from tamis.sample.desk import Desk
from tamis.select import choose
from tamis.workflows.examining import examine

if TYPE_CHECKING:
    from tamis.engines.base import Engine

METHOD = "self-consistency"
"""How one of several answers is kept."""

_WAKES_S = 0.2  # a Ctrl-C just before the wait is noticed behind it only


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and the answer that was kept."""

    question: str
    asked: Message  # the question as the template put it
    answer: str
    finish_reason: FinishReason  # cut: it was stopped
    sampling: Sampling
    votes: Mapping[str, float] = field(default_factory=dict)  # of one among several

    def to_json(self) -> list[dict[str, Any]]:
        """The two messages."""
        question = {"role": "user", "content": self.asked.content}
        if self.question != self.asked.content:
            question["question"] = self.question
        answer: dict[str, Any] = {"role": "assistant", "content": self.answer, "finish_reason": self.finish_reason}
        answer["sampling"] = self.sampling.to_json()
        if self.sampling.n > 1:
            answer |= {"n": self.sampling.n, "votes": dict(self.votes)}
        return [question, answer]


class Reply:
    """What is being said to one question: one answer, or several."""

    def __init__(self, problem: Problem, asked: Message, sampling: Sampling, before: tuple[Turn, ...]) -> None:
        self.problem, self.asked, self.sampling, self.before = problem, asked, sampling, before
        self.samples: list[Sample] = []
        self.text = ""  # of a single answer, as far as `pieces` gave it
        self._events: queue.SimpleQueue[str | Sample | Exception | None] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def pieces(self) -> Iterator[str]:
        """What is new of a single answer's text, as it comes; of several, an empty piece as each is finished.

        Raises:
            EngineError: The engine broke as a whole.
        """
        while (event := self._next_event()) is not None:
            if isinstance(event, Exception):
                raise event
            if isinstance(event, Sample):
                self.samples.append(event)
            if self.sampling.n > 1:
                yield ""
                continue
            text = event.text if isinstance(event, Sample) else event
            piece, self.text = text[len(self.text) :], max(self.text, text, key=len)
            yield piece

    def _next_event(self) -> str | Sample | Exception | None:
        while True:
            with suppress(queue.Empty):
                return self._events.get(timeout=_WAKES_S)

    def stop(self) -> None:
        """Give up what is not finished; nothing has to be waited for."""
        self._stopped.set()

    def turn(self) -> Turn:
        """A single answer, as far as it came, as a turn."""
        finish_reason = self.samples[0].finish_reason if self.samples else "cut"
        return Turn(self.problem.prompt, self.asked, self.text, finish_reason, self.sampling)

    def hear(self, event: str | Sample | Exception | None) -> None:
        """Take what the engine has to say, from any thread; None is the end."""
        self._events.put(event)

    def hear_text(self, _: Draw, text: str) -> bool:
        """See `records.OnText`."""
        if self.sampling.n == 1:
            self.hear(text)
        return not self._stopped.is_set()


class Conversation:
    """The turns so far; enter it to open the stream of the engine, which its caller closes.

    What is said depends on the questions, the settings and the seed: to the same question a second time, something else.
    """

    def __init__(self, engine: Engine, sampling: Sampling, template: PromptTemplate) -> None:
        self.sampling = sampling
        self.turns: tuple[Turn, ...] = ()
        self._engine, self._template = engine, template
        self._num_asked = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._keep_open()), name="tamis-conversation", daemon=True)
        self._opened = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._opened.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    async def _keep_open(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        async with Grader() as self._grader, Desk(self._engine) as self._desk:
            self._opened.set()
            await self._closing.wait()

    def ask(self, question: str, n: int, before: tuple[Turn, ...]) -> Reply:
        """Ask for `n` answers to a question that follows the turns `before`."""
        self._num_asked += 1
        problem, sampling = Problem(f"turn-{self._num_asked}", prompt=question), replace(self.sampling, n=n)
        *system, asked = self._template(problem).messages
        earlier = [message for turn in before for message in (turn.asked, Message("assistant", turn.answer))]
        prompt = Prompt((*system, *earlier, asked), raw=self._template.raw)
        reply = Reply(problem, asked, sampling, before)
        keys = sample_keys(problem.id, prompt, sampling, range(n))
        draws = tuple(Draw(key, i, sample_seed(sampling.seed, problem.id, i)) for i, key in enumerate(keys))
        request = Request(problem.id, prompt, sampling, draws, on_text=reply.hear_text)
        asyncio.run_coroutine_threadsafe(self._draw(request, reply), self._loop)
        return reply

    async def _draw(self, request: Request, reply: Reply) -> None:
        try:
            async for sample in self._desk.draw_each(request):
                reply.hear(sample)
            reply.hear(None)
        except Exception as error:  # noqa: BLE001 raised again by whoever reads
            reply.hear(error)

    def vote(self, reply: Reply) -> tuple[Pool, Choice]:
        """The finished answers in classes of equals, and the one that most agree on; the first where none can be read off."""
        samples = tuple(sorted((s for s in reply.samples if not s.error), key=lambda sample: sample.index))
        judged: Future[Pool] = asyncio.run_coroutine_threadsafe(examine(Pool(reply.problem, samples), self._grader), self._loop)
        pool = judged.result()
        choice = choose(pool, METHOD)
        return pool, choice if choice.index is not None else replace(choice, index=samples[0].index)

    def keep(self, turn: Turn, before: tuple[Turn, ...]) -> None:
        """Go on from a turn that followed the turns `before`."""
        self.turns = (*before, turn)

    def to_json(self) -> list[dict[str, Any]]:
        """The messages as rows."""
        system = [{"role": "system", "content": self._template.system}] if self._template.system else []
        return [*system, *(row for turn in self.turns for row in turn.to_json())]
