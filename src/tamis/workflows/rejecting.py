"""Rejection sampling: images x grid -> candidates -> judge -> the best of each image, kept from a threshold on.

One coroutine an image sees to it that all that the image needs is in the journals: of its candidates and of the judge's
replies. What comes of it is then read from the journals, be it drawn now or long ago: so a resume gives what one run gives.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any

from tamis.config import Rejecting
from tamis.engines.base import Engine
from tamis.errors import RunFolderError, UsageError
from tamis.records import Problem
from tamis.sample import LazyEngine, Progress
from tamis.sample.bandit import Belief
from tamis.sample.desk import Desk
from tamis.sample.strategies import Planner
from tamis.score.grading import Rejected, judges_all, score_of
from tamis.sources import BadRow
from tamis.store import RunFolder, is_unused, read_run_file
from tamis.workflows.candidates import Candidates, file_marks, run_identity
from tamis.workflows.drawing import check_numerics
from tamis.workflows.judging import Judge
from tamis.workflows.models import model_path, open_model, versions
from tamis.workflows.pursuing import ImageWanted, Pursuit

_log = logging.getLogger(__name__)
_MOST_IN_FLIGHT = 8192  # candidates
_MANY = 50  # candidates of which a judge that works has given one a score


class Rejection:
    """One run of rejection sampling: its images, its run folder, the model and the judge.

    Attributes:
        num_images: How many there are; they are read once when the run begins.
        bad_rows: The draws that failed and the candidates without a score, each reason once an image.
        progress: Counts of candidates, which change while `results` runs.
        judging: Counts of the judge's replies.
        folder: The run folder.
        beliefs: What the adaptive strategy has learnt of each arm, the best first; there once all images are through.
    """

    def __init__(
        self, config: Rejecting, problems: Callable[[], Iterator[Problem]], facts: Mapping[str, Any] | None = None
    ) -> None:
        """Count the images and open the run folder; models are loaded when they are needed, or before a new folder is made.

        Args:
            config: See there.
            problems: Reads the images anew at each call.
            facts: What a reader of the run must know of their source.

        Raises:
            TamisError: Of the configuration, the images, the folder or the models.
        """
        _check(config)
        record = read_run_file(config.output_dir)
        if record is None and (config.resume or config.rejudge or config.extend_truncated):
            flag = "--resume" if config.resume else "--rejudge" if config.rejudge else "--extend-truncated"
            raise RunFolderError(f"nothing to resume: {config.output_dir} holds no run", f"Leave {flag} out to start one there")
        self.config, self._problems = config, problems
        self.bad_rows: list[BadRow] = []
        self.beliefs: list[Belief] = []
        self.progress, self.judging = Progress(), Progress()
        self.num_images = sum(1 for _ in problems())
        self._num_said = self._num_graded = 0
        self._resumed: RunFolder | None = None
        self._generator = LazyEngine(self._open_generator)
        is_itself = config.judge == config.generator
        self._judge_engine = self._generator if is_itself else LazyEngine(partial(open_model, config.judge, token_stats=False))
        with ExitStack() as stack:
            stack.callback(self._generator.close)
            stack.callback(self._judge_engine.close)
            engine: Mapping[str, Any] = {}
            if record is None:  # models that do not load leave no folder behind
                engine = self._generator.describe()
                self._judge_engine.open()
            self.folder = stack.enter_context(
                RunFolder.open(
                    config.output_dir,
                    run_identity(config, record["config"] if record and not is_unused(config.output_dir) else {}),
                    facts={**_facts(config), **(facts or {}), "engine": dict(engine)},
                    fork=config.fork,
                    token_stats="none",
                )
            )
            self._resumed = self.folder if record else None
            self._judge = Judge(config, self.folder.path / "scores" / "judge", self._judge_engine, self.judging)
            stack.callback(self._judge.close)
            self._candidates = Candidates(config, self.folder, self.progress, self.bad_rows)
            self._pursuit = Pursuit(config, self._candidates, self._judge)
            self._stack = stack.pop_all()

    def _open_generator(self) -> Engine:
        engine = open_model(self.config.generator, token_stats=False)
        if self._resumed is not None:
            try:
                check_numerics(self._resumed, engine.describe())
            except RunFolderError:
                engine.close()
                raise
        return engine

    @property
    def warnings(self) -> list[str]:
        """What is damaged in the journals, and owed again."""
        return [*self.folder.warnings, *self._judge.warnings]

    def close(self) -> None:
        """Free the models and release the folder. Idempotent."""
        self._stack.close()

    # --- images ------------------------------------------------------------------------------------------------------

    async def results(self) -> AsyncGenerator[Rejected, None]:
        """Every image with its candidates, in order: drawn and judged now where owed. Wrap it in `contextlib.aclosing`.

        Raises:
            EngineError: The model or the judge broke as a whole. What was finished is in the journals.
        """
        planner = self._planner()
        under_way: deque[asyncio.Task[Rejected]] = deque()

        async def first() -> Rejected:
            result = await under_way[0]
            under_way.popleft()
            self._see(result, planner)
            self._note(result)
            return result

        num_at_once = 1 if self.config.stop_early else self.config.num_candidates
        most = max(2, min(self.config.max_in_flight, _MOST_IN_FLIGHT // num_at_once))

        def is_full() -> bool:
            ahead = None if self.config.rejudge else planner.max_ahead
            return len(under_way) >= most or (ahead is not None and len(under_way) > ahead)

        async with AsyncExitStack() as stack:
            drawing = await stack.enter_async_context(Desk(self._generator))
            is_itself = self._judge_engine is self._generator
            judging = drawing if is_itself else await stack.enter_async_context(Desk(self._judge_engine))
            try:
                for problem in self._problems():
                    while is_full():
                        yield await first()
                    image = self._image(problem, planner)
                    under_way.append(asyncio.create_task(self._pursuit.pursue(image, drawing, judging)))
                while under_way:
                    yield await first()
            finally:
                for task in under_way:
                    task.cancel()
                await asyncio.gather(*under_way, return_exceptions=True)
        if self._num_said and not self._num_graded:
            reason = (
                f"none of {self._num_said} candidates has a score; what the judge writes is in {self._judge.path / 'replies'}"
            )
            self.bad_rows.append(BadRow("the judge", "", reason))
        self._conclude(planner)

    def finished(self) -> Iterator[Rejected]:
        """Every image with those of its candidates that are in the folder, in order."""
        planner = self._planner()
        for problem in self._problems():
            result = self._pursuit.recall(self._image(problem, planner))
            self._see(result, planner)
            yield result
        self._conclude(planner)

    def _planner(self) -> Planner:
        config = self.config
        return Planner(config.strategy, config.arms, config.num_candidates, config.seed)

    def _image(self, problem: Problem, planner: Planner) -> ImageWanted:
        marks = file_marks(problem.images)
        if self.config.rejudge:
            return ImageWanted(problem, marks, self._candidates.found(problem, marks))
        return ImageWanted(problem, marks, self._candidates.wanted(problem, marks, planner.plan(problem.id)))

    def _see(self, result: Rejected, planner: Planner) -> None:
        planner.see([(c.arm, score) for c in result.candidates if (score := score_of(c)) is not None])
        if self.config.rejudge:  # there is no plan that waits for it
            planner.learn_all()

    def _note(self, result: Rejected) -> None:
        """Say what failed."""
        reasons = [] if result.candidates else ["no candidate is there to be judged"]
        for candidate in result.candidates:
            says_something = not candidate.sample.error and bool(candidate.sample.text)
            self._num_said += says_something
            self._num_graded += score_of(candidate) is not None
            if says_something and self._num_said == _MANY and not self._num_graded:
                _log.warning("none of %d candidates has a score: look at %s", _MANY, self._judge.path / "replies")
            if error := candidate.sample.error:
                reasons.append(f"{error.boundary}: {error.message}")
            elif candidate.judgement and candidate.judgement.reason:
                reasons.append(f"ungraded: {candidate.judgement.explanation}")
        where = result.problem.where or result.problem.id
        self.bad_rows += [BadRow(where, "", reason) for reason in dict.fromkeys(reasons)]

    def _conclude(self, planner: Planner) -> None:
        planner.learn_all()
        self.beliefs = planner.bandit.beliefs() if planner.bandit else []


def _check(config: Rejecting) -> None:
    """Raise UsageError where a configuration cannot be."""
    judges_all(config.grading_template)
    if not config.arms or config.num_candidates < 1:
        raise UsageError("there is nothing to draw", "Give at least one prompt, one temperature and one candidate")
    if not 0 <= config.threshold <= 100:
        raise UsageError(f"the threshold is {config.threshold:g}", "Give a score from 0 to 100")
    if config.rejudge and config.extend_truncated:
        raise UsageError("--rejudge draws nothing, --extend-truncated draws again", "Give one of them, then the other")


def _facts(config: Rejecting) -> dict[str, Any]:
    """What a reader of the run must know beside its identity."""
    return {
        "created": time.strftime("%Y%m%d_%H%M%S"),
        "model_path": str(model_path(config.generator.model)),
        "versions": versions(),
    }
