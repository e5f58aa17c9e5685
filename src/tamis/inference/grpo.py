"""`GRPOInference`: a model that stays open, for scripts and notebooks (source document s2)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tamis.config import ModelSettings
from tamis.engines.base import Engine
from tamis.errors import EngineError, InputError, UsageError
from tamis.grade import Grader
from tamis.identity import content_id
from tamis.inference.background import Background
from tamis.inference.config import InferenceConfig
from tamis.prompts import PromptTemplate
from tamis.records import Problem
from tamis.sources.rows import kind_of
from tamis.workflows.drawing import Session
from tamis.workflows.evaluating import evaluate
from tamis.workflows.examining import examine
from tamis.workflows.models import open_model
from tamis.workflows.own_metric import MetricFunction, as_metric
from tamis.workflows.solving import draw, solution, write_log

_CACHED_PROMPTS = 1000
_AS_IT_STANDS = "{problem}"


class GRPOInference:
    """A trained model, loaded once: ask it, ask it many things, evaluate it.

    Use it as a context manager or call `close`. It may be used from any thread, one call at a time, and from within a running
    event loop, as in a notebook. What a prompt is answered depends on the prompt and the settings, `seed` among them: the same
    prompt gets the same answer, alone or in a batch.

    Raises:
        TamisError: A setting cannot be, or the model does not load.
    """

    def __init__(self, config: InferenceConfig | None = None) -> None:
        """Load the model.

        Args:
            config: What and how; by default the model that ships with Tamis.
        """
        self.config = config or InferenceConfig()
        self._lock = threading.Lock()
        self._prompts = lru_cache(maxsize=_CACHED_PROMPTS)(partial(_fill, self.config.prompt))
        self._settings: ModelSettings = self.config.model_settings()
        self._engine: Engine | None = open_model(self._settings, token_stats=False)
        self._background, self._grader = Background(), Grader()

    def preprocess_prompt(self, problem: str) -> str:
        """The prompt that a problem is asked with; the last 1,000 are remembered.

        Raises:
            InputError: The problem is empty.
        """
        return self._prompts(problem)

    def generate_response(self, prompt: str) -> dict[str, Any]:
        """The answer to a prompt.

        Args:
            prompt: The whole of what is asked, as `preprocess_prompt` makes it; it goes through the model's chat template where
                there is one.

        Returns:
            `prompt`, `response`, `answer` (None where none can be extracted), `full_output` (prompt and response),
            `finish_reason`, `truncated`; with `num_return_sequences` above 1 also `responses`, `answers`, `vote`, `votes`.

        Raises:
            InputError: The prompt is empty or too long.
            EngineError: The model failed.
        """
        _check_text(prompt)
        (row,) = self._solve([prompt], None)
        if row["response"] is None:
            boundary, _, message = row["error"].partition(": ")
            if boundary == "input":
                raise InputError(
                    f"there is no answer: {message}",
                    "Shorten it, raise max_length (--max-length), or set truncate (--truncate)",
                )
            raise EngineError(f"there is no answer: {message}")
        del row["problem"]
        result = {**row, "prompt": prompt, "full_output": f"{prompt}{row['response']}"}
        self._log([result])
        return result

    def batch_inference(self, problems: Sequence[str], batch_size: int | None = None) -> list[dict[str, Any]]:
        """The answers to many problems, in their order.

        Args:
            problems: The problems, as text.
            batch_size: How many are drawn at once; None: as configured.

        Returns:
            For each `problem`, `prompt`, `response`, `answer`, `index`, and the rest as `generate_response` has it. A problem
            that failed has no response, and `error` says why.

        Raises:
            EngineError: The engine broke as a whole.
        """
        if isinstance(problems, str):
            raise UsageError("batch_inference takes a list of problems, not one text", "Put it into a list")
        asked: dict[int, str] = {}
        failed: dict[int, dict[str, Any]] = {}
        for index, problem in enumerate(problems):
            try:
                asked[index] = self.preprocess_prompt(problem) if isinstance(problem, str) else _check_text(problem)
            except InputError as error:
                empty = dict.fromkeys(("problem", "prompt", "response", "answer"))
                failed[index] = {**empty, "error": f"input: {error.message}"}
        found = dict(zip(asked, self._solve(list(asked.values()), batch_size), strict=True)) | failed
        rows = [{**found[i], "problem": problem, "index": i} for i, problem in enumerate(problems)]
        self._log(rows)
        return rows

    def evaluate_on_dataset(
        self,
        dataset_name: str | None = None,
        split: str | None = None,
        max_samples: int | Literal["configured"] | None = "configured",
        batch_size: int | None = None,
        metric: str | MetricFunction | None = None,
    ) -> dict[str, Any]:
        """The accuracy on a dataset with reference answers; what is left out is as configured.

        What is drawn is kept in a run folder, `runs/<dataset>-<model>`: called again, it goes on from there.

        Args:
            dataset_name: A file, a name on the hub, a folder laid out like a dataset of the hub, or a built-in set.
            split: Of a hub dataset.
            max_samples: The first so many problems; None: all.
            batch_size: How many answers are drawn at once.
            metric: A function(problem, response, reference) that gives a number, true/false or None, or its name as
                `module:function`.

        Returns:
            `accuracy`, `correct`, `total`, `eval_time`, `interval`, ..., `results`: see docs/solve.md.

        Raises:
            TamisError: The dataset cannot be read, the metric cannot be loaded, or the engine broke.
        """
        config = self.config if split is None else replace(self.config, split=split)
        config = config if max_samples == "configured" else replace(config, max_samples=max_samples)
        dataset, measure = dataset_name or config.dataset_name, as_metric(metric) if metric else None
        with self._in_use(batch_size) as engine:
            session = Session(config.drawing(dataset, self._settings, limit=config.max_samples), engine)
            try:
                found = self._background.run(evaluate(session, measure))
            finally:
                session.close()
            if config.save_detailed_log:
                write_log(Path(config.log_path), found.rows())
            return {**found.facts, "results": list(found.rows())}

    def close(self) -> None:
        """Free the model. Idempotent."""
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
                self._background.close()
                self._grader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _solve(self, prompts: Sequence[str], batch_size: int | None) -> list[dict[str, Any]]:
        """The rows of some prompts, which are asked as they stand."""
        template = replace(self.config.prompt, template=_AS_IT_STANDS)
        problems = [Problem(content_id(prompt), prompt) for prompt in prompts]
        sampling = self.config.sampling()

        async def work(engine: Engine) -> list[dict[str, Any]]:
            judged = [await examine(pool, self._grader) for pool in await draw(engine, problems, sampling, template)]
            return [{**solution(pool, template, sampling.n), "prompt": pool.problem.prompt} for pool in judged]

        with self._in_use(batch_size) as engine:
            return self._background.run(work(engine))

    @contextmanager
    def _in_use(self, batch_size: int | None) -> Iterator[Engine]:
        """The engine, for one call alone, told for as long how many rows it may draw at once where it can be told."""
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}", "Give 1 or more")
        with self._lock:
            engine: Any = self._engine
            if engine is None:
                raise UsageError("this GRPOInference is closed", "Make another")
            before = getattr(engine, "batch_size", None)
            if batch_size is None or before is None:
                yield engine
                return
            engine.batch_size = batch_size
            try:
                yield engine
            finally:
                engine.batch_size = before

    def _log(self, rows: Sequence[dict[str, Any]]) -> None:
        if self.config.save_detailed_log:
            write_log(Path(self.config.log_path), rows, append=True)


def _fill(template: PromptTemplate, problem: str) -> str:
    _check_text(problem)
    return template(Problem("", problem)).messages[-1].content


def _check_text(problem: object) -> str:
    if not isinstance(problem, str):
        raise InputError(f"the question is {kind_of(problem)}, not text")
    if not problem.strip():
        raise InputError("the question is empty", "Ask something")
    return problem
