"""Interleaved reasoning over a file of problems (source document s0): rows -> model -> journal -> results and pictures.

The output folder holds a run folder, `candidates`: what the model wrote and drew is in its journal before anything else is
made of it, with the statistics of its tokens; `results.jsonl` is derived row by row, so a resume gives what one run gives.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from tamis.bagel.replicas import Solver, open_solver
from tamis.bagel.settings import Puzzle, Solution
from tamis.errors import RunFolderError
from tamis.identity import content_id, sample_keys, sample_seed
from tamis.records import Image, Message, Prompt
from tamis.records.traced import CANDIDATES_FOLDER, RESULTS_FILE
from tamis.sample import Progress
from tamis.sources import BadRow
from tamis.sources.interleaved import IDS, QUESTION, InterleavedProblem, bad_problem
from tamis.sources.traces import TraceFile
from tamis.store import RunFolder
from tamis.store.traces import folder_name
from tamis.workflows.candidates import file_marks
from tamis.workflows.drawing import check_numerics
from tamis.workflows.reasoning import Reasoning, check_same, check_settings, facts, identity, openings, problems, sampling
from tamis.workflows.trace_files import Statistics
from tamis.workflows.tracing import Traces, is_whole


class _Row:
    """A problem, and which of its candidates are still owed."""

    def __init__(self, problem: InterleavedProblem, config: Reasoning) -> None:
        self.problem = problem
        marks = file_marks(image.path for image in problem.images)
        question = problem.values[QUESTION]
        prompt = Prompt((Message("user", question),), marks)
        *self.keys, self.one_more = sample_keys(str(problem.sample_id), prompt, sampling(config), range(config.n + 1))
        """`one_more` would be that of a candidate that is not asked for."""
        self.owed: list[str] = []
        self.has_name = any(problem.values.get(field) is not None for field in IDS)
        name = str(problem.sample_id) if self.has_name else content_id(question, images=marks)
        self.seeds = [sample_seed(config.seed, name, index) for index in range(config.n)]
        """They hang on the problem's own id, else on its content, and never on its place."""

    def look(self, candidates: RunFolder) -> list[str]:
        """Find out what is owed: also what has lost a picture."""
        self.owed = [key for key in self.keys if key not in candidates or not is_whole(candidates, key)]
        return self.owed

    def puzzle(self, key: str) -> Puzzle:
        """A candidate to be drawn."""
        items = tuple(Path(item.path) if isinstance(item, Image) else item for item in self.problem.items)
        return Puzzle(key, items, self.seeds[self.keys.index(key)])


class Session:
    """One run: its problems, its folder, its model.

    Attributes:
        num_rows: Problems that can be used.
        bad_rows: Rows that cannot be used, and candidates that failed.
        progress: Counts of candidates, which change while `run` goes on.
        num_pictures: Drawn now, also for rows that are not done.
        num_truncated: Problems in the results that were cut off, once they are concluded.
        path: The output folder.
    """

    def __init__(self, config: Reasoning) -> None:
        """Read all problems once, and open the folder and the model; neither is made where the other cannot be.

        Raises:
            TamisError: Of the settings, the problems, the folder or the model.
        """
        check_settings(config)
        if config.resume:
            check_same(config.resume, config)
        self.config = config
        self.bad_rows: list[BadRow] = []
        self.progress = Progress()
        self.num_rows = self.num_pictures = self.num_truncated = 0
        self._solver: Solver | None = None
        self._pending: dict[str, _Row] = {}
        with ExitStack() as stack:
            candidates = stack.enter_context(self._open_folder(config.resume, {})) if config.resume else None
            num_owed = self._look_through(candidates)
            if num_owed:
                self._solver = open_solver(openings(config), config.settings)
                stack.callback(self._solver.close)
            described = self._solver.describe() if self._solver else {}
            if candidates:
                check_numerics(candidates, described, "Give --dtype and --device as they were, or leave --resume out")
            self.path = config.resume or _free(config.output_dir)
            self._candidates = candidates or stack.enter_context(self._open_folder(self.path, described))
            self._traces = Traces(self.path, self._candidates, config.method)
            stack.callback(self._traces.folder.close)
            self._stack = stack.pop_all()

    def _open_folder(self, path: Path, described: Mapping[str, Any]) -> RunFolder:
        about = {**facts(self.config), "engine": dict(described)}
        return RunFolder.open(path / CANDIDATES_FOLDER, identity(self.config), facts=about)

    def _look_through(self, candidates: RunFolder | None) -> int:
        """Count the problems; how many candidates they still lack."""
        num_owed = 0
        bad_rows: list[BadRow] = []
        resume = self.config.resume
        earlier = TraceFile(resume) if resume and (resume / RESULTS_FILE).is_file() else None
        for problem in problems(self.config, bad_rows):
            self.num_rows += 1
            if not candidates:
                num_owed += self.config.n
                continue
            row = _Row(problem, self.config)
            num_owed += len(row.look(candidates))
            if earlier and not row.has_name:
                _check_problem(problem, earlier)
            if row.one_more in candidates:
                message = f"{self.config.resume} has more than {self.config.n} candidates of sample {problem.sample_id}"
                raise RunFolderError(message, "Give -n as it was, or more")
        self.bad_rows = [BadRow(bad.where, bad.field, bad.reason) for bad in bad_rows]  # without what stood there
        self._num_bad = len(bad_rows)
        return num_owed

    def run(self) -> None:
        """Solve what is owed; each row's result is there as soon as its candidates are.

        Raises:
            EngineError: The model broke as a whole. What was finished is kept.
        """
        if self._solver is None:
            for _ in self._puzzles():
                raise AssertionError("nothing was owed")
        else:
            for solution in self._solver.solve(self._puzzles(), self._count_pictures):
                self._take(solution)

    def _count_pictures(self, num_drawn: int) -> None:
        self.num_pictures += num_drawn

    def _puzzles(self) -> Iterator[Puzzle]:
        """What is owed, row by row; rows that lack nothing, or cannot be used, are seen to on the way."""
        bad_rows: list[BadRow] = []  # they are noted already
        for problem in problems(self.config, bad_rows):
            self._put_bad(bad_rows)
            row = _Row(problem, self.config)
            row.look(self._candidates)
            self.progress.samples_reused += len(row.keys) - len(row.owed)
            if not row.owed:
                self._finish(row)
            for key in list(row.owed):
                self._pending[key] = row
                yield row.puzzle(key)
        self._put_bad(bad_rows)

    def _put_bad(self, bad_rows: list[BadRow]) -> None:
        for bad in bad_rows:
            self._traces.put_bad(bad_problem(bad))
        bad_rows.clear()

    def _take(self, solution: Solution) -> None:
        """Keep a candidate."""
        row = self._pending.pop(solution.id)
        problem, index = row.problem, row.keys.index(solution.id)
        sample = self._traces.keep(solution, problem.sample_id, index, row.seeds[index], sampling(self.config))
        self.progress.count(sample)
        if sample.error:
            self.bad_rows.append(BadRow(problem.where, "", f"{sample.error.boundary}: {sample.error.message}"))
        row.owed.remove(solution.id)
        if not row.owed:
            self._finish(row)

    def _finish(self, row: _Row) -> None:
        samples = [sample for key in row.keys if (sample := self._candidates.load(key))]
        if len(samples) == len(row.keys):
            self._traces.put(row.problem, samples)
        else:
            self.progress.samples_damaged += len(row.keys) - len(samples)

    @property
    def warnings(self) -> list[str]:
        """What is damaged in the journal, and owed again."""
        return self._candidates.warnings

    @property
    def num_finished(self) -> int:
        """Candidates that are there."""
        return self._candidates.num_finished

    def conclude(self, *, is_complete: bool) -> Statistics:
        """Bring the results into the order of the input and write their summary; what there is in all."""
        self._traces.folder.arrange()
        statistics, endings = Statistics(), Counter[str]()
        for trace in TraceFile(self.path).traces():
            statistics.add(trace)
            endings[str(trace.values.get("ending", "error"))] += 1
            self.num_truncated += trace.truncated
        now = self.progress
        self._traces.folder.write_summary(
            {
                **statistics.to_json(),
                "input_jsonl": str(self.config.input.resolve()),
                "endings": dict(sorted(endings.items())),
                "failed_samples": [{"sample_id": name, "error": why} for name, why in statistics.failed.items()],
                "bad_rows": [str(row) for row in self.bad_rows],
                "is_complete": is_complete,
                "rows": None if self.config.start or self.config.end else self.num_rows + self._num_bad,
                "this_run": {
                    "candidates_drawn": now.samples_done,
                    "candidates_failed": now.samples_failed,
                    "candidates_reused": now.samples_reused,
                    "pictures_drawn": self.num_pictures,
                    "tokens": now.tokens,
                    "seconds": round(time.monotonic() - now.started, 3),
                },
                "lines": {"start_idx": self.config.start, "end_idx": self.config.end},
                "n": self.config.n,
                "score_method": self.config.method,
                "settings": dict(self._candidates.config),
                "facts": dict(self._candidates.facts),
            }
        )
        return statistics

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _check_problem(problem: InterleavedProblem, earlier: TraceFile) -> None:
    """Refuse to take another problem for the one that stood on the same line when the run was begun."""
    trace = earlier.find(problem.sample_id)
    if trace and not trace.error.startswith("input: ") and trace.values.get(QUESTION) != problem.values[QUESTION]:
        message = f"{problem.where} was another problem when the run was begun, and rows without an id go by their line"
        raise RunFolderError(message, "Bring the lines back, or start a new run; rows with a sample_id may come and go")


def _free(output_dir: Path) -> Path:
    """A folder for a new run, named by the time."""
    stamp = folder_name(datetime.now())
    names = (stamp if number == 1 else f"{stamp}-{number}" for number in count(1))
    return next(path for name in names if not (path := output_dir / name).exists())
