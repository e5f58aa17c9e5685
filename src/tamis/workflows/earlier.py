"""Samples made earlier: of a run folder, of a run of rejection sampling, of a candidates file, or of a file made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

from tamis.config import Drawing
from tamis.errors import InputError
from tamis.prompts import PromptTemplate
from tamis.records import Pool, Prompt, Sampling
from tamis.sample import pools as pools_of
from tamis.sources import BadRow, read_samples
from tamis.store import RunFolder, ScoreFolder
from tamis.workflows.drawing import read
from tamis.workflows.rejected_pools import is_rejection, prompts_of, rejected_pools

_AS_IT_STANDS = PromptTemplate("{problem}")  # samples made elsewhere do not say what their model was asked


class Earlier:
    """Pools that can be walked as often as needed; each walk reads them anew.

    Attributes:
        path: What was named.
        bad_rows: What cannot be used; complete after the first walk.
        drawing: The configuration of the run that the samples come from; None where they come from elsewhere.
        is_rejection: Whether they are the candidates of a run of rejection sampling.
        home: The folder of what models were asked of them (`store.ScoreFolder`).
    """

    def __init__(self, path: Path, fields: Mapping[str, str] | None = None, limit: int | None = None) -> None:
        """Find out what is there.

        Raises:
            InputError: Nothing that holds samples.
        """
        self.path, self._fields, self._limit = path, dict(fields or {}), limit
        self.bad_rows: list[BadRow] = []
        self._is_walked = False
        self._is_run = (path / "run.json").is_file()
        run = path if self._is_run else self._named_run()
        self.is_rejection = self._is_run and is_rejection(path)
        self.drawing = drawing_of(run) if run and not self.is_rejection else None
        self.home = run / "scores" if run else path.with_name(f"{path.name}.scores")

    def _named_run(self) -> Path | None:
        """The run folder that the first row of a candidates file names."""
        first = next(read_samples(self.path, fields=self._fields, bad_rows=[]), None)
        name = first.problem.metadata.get("tamis_run") if first else None
        run = self.path.parent / name if isinstance(name, str) else None
        return run if run and (run / "run.json").is_file() else None

    def drawn(self) -> Iterator[Pool]:
        """Each problem with its samples and the statistics that were taken while they were drawn."""
        bad_rows = [] if self._is_walked else self.bad_rows
        self._is_walked = True
        if self.is_rejection:
            pools = rejected_pools(self.path, bad_rows)
        else:
            pools = self._run_pools(bad_rows) if self._is_run else self._file_pools(bad_rows)
        yield from islice(pools, self._limit)

    def prompts(self, pool: Pool) -> list[Prompt]:
        """What each sample of a pool answers; of samples made elsewhere, the question as it stands."""
        if self.is_rejection:
            return prompts_of(pool)
        prompt = self.drawing.prompt if self.drawing else _AS_IT_STANDS
        return [prompt(pool.problem)] * len(pool.samples)

    def pools(self) -> Iterator[Pool]:
        """The same with what was learnt later."""
        with ScoreFolder(self.home) as scores:
            yield from map(scores.fill, self.drawn())
            self.bad_rows += [row for line in scores.warnings if (row := BadRow(str(self.home), "", line)) not in self.bad_rows]

    def _run_pools(self, bad_rows: list[BadRow]) -> Iterator[Pool]:
        """A run folder keeps no problems: they are read again from the source that run.json names, all of them."""
        assert self.drawing is not None
        with RunFolder.read(self.path) as folder:
            num_claimed = 0
            problems = read(self.drawing, bad_rows)
            for pool in pools_of(problems, folder, self.drawing.sampling, prompt=self.drawing.prompt):
                num_claimed += sum(sample.error is None for sample in pool.samples)
                if pool.samples:
                    yield pool
            if (num_lost := folder.num_finished - num_claimed) > 0:
                reason = f"{num_lost} samples of problems that are not in {self.drawing.dataset} any more"
                bad_rows.append(BadRow(str(self.path), "", reason))
            bad_rows += [BadRow(str(self.path), "", line) for line in folder.warnings]

    def _file_pools(self, bad_rows: list[BadRow]) -> Iterator[Pool]:
        """Samples of Tamis's own making take their token statistics from the run folder that their row names."""
        folders: dict[str, RunFolder | None] = {}
        with ExitStack() as stack:
            for pool in read_samples(self.path, fields=self._fields, bad_rows=bad_rows):
                name = pool.problem.metadata.get("tamis_run")
                if not isinstance(name, str):
                    yield pool
                    continue
                if name not in folders:
                    path = self.path.parent / name
                    is_there = (path / "run.json").is_file()
                    folders[name] = stack.enter_context(RunFolder.read(path)) if is_there else None
                    if not is_there:
                        reason = f"no token statistics: the run folder that it names is not there: {path}"
                        bad_rows.append(BadRow(str(self.path), "tamis_run", reason))
                folder = folders[name]
                loaded = [folder.load(sample.key) if folder else None for sample in pool.samples]
                samples = [
                    replace(sample, stats=found.stats, chain=found.chain) if found and found.text == sample.text else sample
                    for sample, found in zip(pool.samples, loaded, strict=True)
                ]
                yield replace(pool, samples=tuple(samples))
            bad_rows += [
                BadRow(str(folder.path), "", line) for folder in folders.values() if folder for line in folder.warnings
            ]


def drawing_of(run: Path) -> Drawing:
    """The configuration that a run folder was made under, without its limit, with as many samples a problem as it holds.

    Raises:
        InputError: The folder was not made by a command of Tamis, or is empty.
    """
    with RunFolder.read(run, token_stats="none") as folder:
        config, facts = folder.config, folder.facts
        n = max((sample.index for sample in folder.samples()), default=-1) + 1
    if not n:
        raise InputError(f"{run} holds no samples", "Draw some: tamis generate")
    try:
        return Drawing(
            model=facts["model_path"],
            engine=config["engine"],
            base_model=facts.get("base_model"),
            max_prompt_tokens=config.get("max_prompt_tokens"),
            truncate=config.get("truncate", False),
            dataset=facts["dataset"],
            split=facts["split"],
            fields=facts["fields"],
            sampling=replace(Sampling.from_json({name: config[name] for name in Sampling().to_json()}), n=n),
            prompt=PromptTemplate(config["template"], config["system"], not config["chat_template"]),
            run=run,
        )
    except KeyError as missing:
        raise InputError(f"{run / 'run.json'} has no {missing}", "Name a folder that a command made") from None
