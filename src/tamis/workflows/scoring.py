"""Score what exists: read samples again where statistics are missing, and ask models for their verdicts.

Everything that is learnt goes into the scores folder as it comes (`store.ScoreFolder`): a second run asks for the rest only.
Each asker is a walk over the pools; what a walk needs is counted first, so that no model is loaded for nothing.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, aclosing, nullcontext
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from tamis.config import Asking, ModelSettings
from tamis.identity import text_key
from tamis.prompts import PromptTemplate
from tamis.records import Pool, Problem, Question, Reading, Sample, Sampling, Verdict
from tamis.sample import LazyEngine, Progress, sample
from tamis.score import HIDDEN_STATES, STATISTICS
from tamis.score.judge import JUDGE_TEMPLATE, judge_problems
from tamis.score.reward import reward_questions
from tamis.score.self_eval import WORDING, p_true_questions, self_eval_questions
from tamis.score.usc import USC_TEMPLATE
from tamis.sources import BadRow
from tamis.store import READINGS, RunFolder, ScoreFolder, VerdictFolder, find_asked, verdict_keys
from tamis.workflows.drawing import Session, Watcher, prompt_identity
from tamis.workflows.earlier import Earlier
from tamis.workflows.examining import paced
from tamis.workflows.listening import Listener, plainly
from tamis.workflows.models import model_identity, model_path, open_model

_QUESTIONS = {"self-eval": self_eval_questions, "p-true": p_true_questions, "reward": reward_questions}
_OF_ITSELF = ("self-eval", "p-true")


class Scoring:
    """Asks about the pools of `walk` whatever `needs` names and nobody has asked yet.

    Attributes:
        bad_rows: What could not be read or judged.
    """

    def __init__(
        self,
        walk: Callable[[], Iterator[Pool]],
        home: Path,
        asking: Asking,
        prompt: PromptTemplate,
        *,
        engine: LazyEngine | None = None,
        watch: Watcher = lambda *_: nullcontext(),
    ) -> None:
        """Prepare; no model is loaded.

        Args:
            walk: The pools, as they are known now; called anew for every stage.
            home: The scores folder.
            asking: Who is asked.
            prompt: What the samples answer: their statistics are taken under exactly this prompt.
            engine: The model `asking.itself`, where it is loaded already.
            watch: Shows progress.
        """
        self._walk, self._home, self._asking, self._prompt, self._watch = walk, home, asking, prompt, watch
        self._engine = engine
        self.bad_rows: list[BadRow] = []

    async def run(self, needs: Iterable[str]) -> None:
        """Ask for all that is needed; see `Method.needs`. What nobody is there to be asked for stays as it is."""
        needs, asking = set(needs), self._asking
        owns = self._engine is None
        if owns and asking.itself:
            self._engine = LazyEngine(partial(open_model, asking.itself, hidden_states=HIDDEN_STATES in needs))
        try:
            if asking.itself:
                if needs & {STATISTICS, HIDDEN_STATES}:
                    await self._read(hidden_states=HIDDEN_STATES in needs)
                for asked in filter(needs.__contains__, _OF_ITSELF):
                    await self._ask(asked)
                if "usc" in needs:
                    await self._hear("usc", asking.itself, self._engine)
            if "judge" in needs and asking.judge:
                await self._hear("judge", asking.judge, None)
            if "reward" in needs and asking.reward:
                await self._reward(asking.reward)
        finally:
            if owns and self._engine is not None:
                self._engine.close()

    def filled(self) -> Iterator[Pool]:
        """The pools with everything that is known of them."""
        with ScoreFolder(self._home) as scores:
            yield from map(scores.fill, self._walk())

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _read(self, *, hidden_states: bool) -> None:
        """Statistics of samples that lack them, by a forward pass under their prompt."""
        assert self._asking.itself
        config = {**model_identity(self._asking.itself), **prompt_identity(self._prompt)}

        def lacks(s: Sample) -> bool:
            return not s.error and bool(s.text) and (s.stats is None or (hidden_states and s.chain is None))

        def owed() -> Iterator[tuple[Pool, list[Sample]]]:
            for pool in self.filled():
                if samples := [s for s in pool.samples if lacks(s)]:
                    yield pool, samples

        if not any(lacks(s) for pool in self._walk() for s in pool.samples):
            return
        known = find_asked(self._home / READINGS, config, fork=self._asking.fork)
        if known is None:
            self._model().open()  # a model that does not load leaves no folder behind
        with RunFolder.open(known or self._home / READINGS, config, fork=self._asking.fork) as folder:
            total = sum(len(samples) for _, samples in owed())
            if not total:
                return
            readings = (
                Reading(self._prompt(pool.problem), tuple(replace(s, key=text_key(s)) for s in samples))
                for pool, samples in owed()
            )
            progress = Progress()
            with self._watch("read again", progress, total):
                async with aclosing(self._model().read(paced(readings))) as read:
                    async for new in read:
                        progress.count(new)
                        if new.error:
                            self._note(new.problem_id, f"not read: {new.error.message}")
                        else:
                            folder.append(new)

    # --- questions ---------------------------------------------------------------------------------------------------

    async def _ask(self, asked: str) -> None:
        """The model's own opinion of its answers, by the probability of one word."""
        assert self._asking.itself
        config = {**model_identity(self._asking.itself), "wording": WORDING[asked]}
        await self._collect(asked, config, self._model().open, self._model().ask)

    def _owed(self, asked: str, folder: VerdictFolder) -> Iterator[list[Question]]:
        """The questions to each problem's samples that have no verdict yet, keyed as their verdicts are."""
        for pool in self._walk():
            keys = dict(zip((s.key for s in pool.samples), verdict_keys(asked, pool), strict=True))
            questions = [replace(q, key=keys[q.key]) for q in _QUESTIONS[asked](pool)]
            if owed := [q for q in questions if q.key not in folder]:
                yield owed

    async def _reward(self, model: ModelSettings) -> None:
        """The rewards of a reward model."""
        from tamis.engines.hf.reward import RewardModel

        with ExitStack() as stack:

            @cache
            def load() -> RewardModel:
                loaded = RewardModel(
                    str(model_path(model.model)),
                    device=model.device,
                    dtype=model.dtype,
                    batch_size=model.batch_size,
                    trust_remote_code=model.trust_remote_code,
                    allow_pickle=model.allow_pickle,
                )
                stack.callback(loaded.close)
                return loaded

            await self._collect("reward", model_identity(model), load, lambda groups: load().score(groups))

    async def _collect(
        self,
        asked: str,
        config: dict[str, Any],
        load: Callable[[], object],
        answer: Callable[[AsyncGenerator[Sequence[Question], None]], AsyncGenerator[Verdict, None]],
    ) -> None:
        """Put every verdict that is owed into its folder as it comes."""
        known = find_asked(self._home / asked, config, fork=self._asking.fork)
        if known is None:
            if not any(_QUESTIONS[asked](pool) for pool in self._walk()):
                return
            load()  # a model that does not load leaves no folder behind
        with VerdictFolder.open(known or self._home / asked, config, fork=self._asking.fork) as folder:
            total = sum(map(len, self._owed(asked, folder)))
            if not total:
                return
            progress = Progress()
            with self._watch(asked, progress, total):
                async with aclosing(answer(paced(self._owed(asked, folder)))) as verdicts:
                    async for verdict in verdicts:
                        folder.append(verdict)
                        is_silent = all(map(math.isnan, verdict.values))
                        progress.samples_done += not is_silent
                        progress.samples_failed += is_silent
                        if verdict.error:
                            self._note(f"a sample, {asked}", verdict.error.message)

    # --- replies -----------------------------------------------------------------------------------------------------

    async def _hear(self, asked: str, model: ModelSettings, engine: LazyEngine | None) -> None:
        """What a model writes of samples; a reply that holds no verdict is asked for once more."""
        sampling = self._asking.judge_sampling
        if asked == "usc":
            sampling = replace(sampling, n=1, temperature=0.0)
        template = USC_TEMPLATE if asked == "usc" else self._asking.judge_template or JUDGE_TEMPLATE
        config = {**model_identity(model), "template": template, **sampling.to_json()}
        with ExitStack() as stack:
            if engine is None:
                engine = LazyEngine(partial(open_model, model, token_stats=False))
                stack.callback(engine.close)
            known = find_asked(self._home / asked, config, fork=self._asking.fork)
            if known is None:
                if asked == "judge":
                    any(judge_problems(pool, template) for pool in self._walk())  # a template that does not fit is found here
                engine.open()  # a model that does not load leaves no folder behind
            folder = stack.enter_context(VerdictFolder.open(known or self._home / asked, config, fork=self._asking.fork))
            replies = stack.enter_context(RunFolder.open(folder.path / "replies", config, token_stats="none"))
            listener = Listener(asked, template, sampling, folder, replies)
            for num in range(sampling.n, 2 * sampling.n + 1):  # at most one more for each that cannot be read
                await self._draw(listener, replace(sampling, n=num), engine)
                for pool in self._walk():
                    listener.settle(pool)

    async def _draw(self, listener: Listener, sampling: Sampling, engine: LazyEngine) -> None:
        """Draw the replies that are owed."""

        def problems() -> Iterator[Problem]:
            for pool in self._walk():
                yield from listener.owed(pool)

        if not (total := sampling.n * sum(1 for _ in problems())):
            return
        progress = Progress()
        drawn = sample(problems(), engine, sampling, listener.replies, prompt=plainly, progress=progress)
        with self._watch(listener.asked, progress, total):
            async with aclosing(drawn):
                async for pool in drawn:
                    reasons = dict.fromkeys(reply.error.message for reply in pool.samples if reply.error)
                    for reason in reasons:
                        self._note(f"a sample, {listener.asked}", reason)

    # --- parts -------------------------------------------------------------------------------------------------------

    def _model(self) -> LazyEngine:
        assert self._engine is not None
        return self._engine

    def _note(self, where: str, reason: str) -> None:
        row = BadRow(where, "", reason)
        if row not in self.bad_rows:  # a reason that many share is told once
            self.bad_rows.append(row)


async def scored_pools(
    session: Session, needs: set[str], asking: Asking, drawn: AsyncGenerator[Pool, None] | None = None
) -> AsyncGenerator[Pool, None]:
    """A session's pools with all that methods need: each once it is drawn, or, where drawing does not give all, at the end.

    Args:
        session: Draws, with hidden states if they are needed.
        needs: See `Method.needs`.
        asking: Who is asked for the rest.
        drawn: The session's pools, where something else is done with them on the way.
    """
    drawn = drawn or session.pools()
    given = {STATISTICS, HIDDEN_STATES} if session.config.token_stats == "full" else set()
    if session.folder.num_finished:  # drawn earlier, perhaps without hidden states
        given -= {HIDDEN_STATES}
    async with aclosing(drawn):
        async for pool in drawn:
            if needs <= given:
                yield pool
    if needs <= given:
        return
    scoring = Scoring(
        session.finished,
        session.folder.path / "scores",
        asking,
        session.config.prompt,
        engine=session.engine,
        watch=session.watch,
    )
    await scoring.run(needs)
    session.bad_rows += scoring.bad_rows
    async for pool in paced(scoring.filled()):
        yield pool


async def score_earlier(earlier: Earlier, needs: set[str], asking: Asking, prompt: PromptTemplate, watch: Watcher) -> None:
    """Ask what methods need about samples made earlier; what a run drew is read under the run's own prompt."""
    prompt = earlier.drawing.prompt if earlier.drawing else prompt
    scoring = Scoring(earlier.drawn, earlier.home, asking, prompt, watch=watch)
    await scoring.run(needs)
    earlier.bad_rows += scoring.bad_rows
