"""`tamis reject`: rejection sampling of a vision-language model with a judge (source document s4)."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import sys
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.cli import reject_options, reject_settings
from tamis.cli.progress import ProgressLine
from tamis.cli.reject_tables import print_rejection
from tamis.cli.run_log import run_log
from tamis.cli.tables import print_bad_rows
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from tamis.cli.reject_settings import Settings
    from tamis.config import Rejecting
    from tamis.engines.server_process import ServerProcess
    from tamis.score.grading import Rejected
    from tamis.sources import BadRow
    from tamis.workflows.reject_results import Outcome, Results
    from tamis.workflows.rejecting import Rejection

EXAMPLE = """tamis reject --image-dir images --output-dir results/try --vllm-api http://localhost:36000/v1 --vllm-model seer \\
    --grading-api http://localhost:36001/v1 --grading-model judge --temperature-range 0.3,0.7,1.0 --score-threshold 80"""

_POLL_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `reject_options`."""
    reject_options.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Draw, judge, keep; write all files, print the table."""
    from tamis.sources.prices import read_prices
    from tamis.workflows.reject_results import Results
    from tamis.workflows.rejecting import Rejection

    settings = reject_settings.settings(options)
    prices = read_prices(options.price_table) if options.price_table else None
    if options.output_dir.exists() and not options.output_dir.is_dir():
        raise UsageError(f"--output-dir is a file: {options.output_dir}", "Name a folder")
    bad_rows: list[BadRow] = []
    if options.dry_run:
        return _dry_run(settings, bad_rows)
    server = _server(options, settings.config)
    config = settings.config
    if server:
        config = _served(config, server.base_url)
    first_walk = [bad_rows]  # what is bad is noted once, however often the images are walked
    with ExitStack() as stack:
        rejection = Rejection(config, lambda: settings.problems(first_walk.pop() if first_walk else []), settings.facts)
        stack.callback(rejection.close)
        path = rejection.folder.path
        print(f"run folder: {path}", file=sys.stderr)
        log = stack.enter_context(run_log(path / "logs", "reject", options.log_level, _secrets(settings)))
        log.info("begin: %d images, %d unreadable, %s", rejection.num_images, len(bad_rows), settings.facts)
        results = Results(rejection, config, settings.facts, bad_rows, interval=options.checkpoint_interval, prices=prices)
        if server and (options.retry_failed or options.extend_truncated or _is_owed(rejection, config)):
            print("waiting for the server", file=sys.stderr)
            stack.enter_context(server)
        outcome = _run(rejection, results, log, server)
    return _finish(rejection, outcome, bad_rows, config.threshold)


def _run(rejection: Rejection, results: Results, log: logging.Logger, server: ServerProcess | None) -> Outcome:
    def notice(rejected: Rejected, path: Path | None) -> None:
        _log_image(log, rejected, path)

    total = 0 if results.config.stop_early else rejection.num_images * results.config.num_candidates
    try:
        with _Line(rejection, total):
            outcome = asyncio.run(_watched(results.run(notice), server))
    except KeyboardInterrupt:
        log.warning("interrupted")
        done = rejection.folder.num_finished
        print(
            f"interrupted: {done} candidates are kept in {rejection.folder.path}; the same command goes on from there",
            file=sys.stderr,
        )
        raise SystemExit(EXIT_INTERRUPTED) from None
    except Exception as error:
        log.error("%s", error)
        raise
    finally:
        for warning in rejection.warnings:
            log.warning("%s", warning)
            print(f"warning: {warning}", file=sys.stderr)
    log.info("end: %s", outcome.written["stats"])
    return outcome


def _finish(rejection: Rejection, outcome: Outcome, bad_rows: list[BadRow], threshold: float) -> int:
    print_bad_rows(bad_rows)
    print_bad_rows(rejection.bad_rows, "incomplete")
    print_rejection(outcome.summary, threshold, outcome.written["stats"]["cost"], rejection.beliefs)
    if outcome.num_others > 0:
        print(f"{outcome.num_others} files in the folders are of images that take no part in this run")
    print(f"results: {rejection.folder.path}")
    summary = outcome.summary
    if summary.num_candidates_failed:
        print("the same command draws again what failed", file=sys.stderr)
    if summary.num_candidates_ungraded:
        print("with --retry-failed the judge is asked again about what is ungraded", file=sys.stderr)
    incomplete = summary.num_candidates_failed or summary.num_candidates_ungraded
    return EXIT_INCOMPLETE if bad_rows or rejection.bad_rows or incomplete else EXIT_DONE


def _dry_run(settings: Settings, bad_rows: list[BadRow]) -> int:
    """Read all inputs and show the first prompt; nothing is drawn and nothing is written."""
    from tamis.engines.http.settings import find_base_urls

    config = settings.config
    for model in (config.generator, config.judge):
        if model.engine == "http" and model.api_key != "":
            find_base_urls(model.base_urls)
    num_images = sum(1 for _ in settings.problems(bad_rows))
    most = num_images * config.num_candidates
    at_most = "at most " if config.stop_early else ""
    print(f"{num_images} images x {at_most}{config.num_candidates} candidates of a grid of {len(config.arms)}")
    print(f"at most {most * config.max_tokens} tokens of {config.generator.model}, judged by {config.judge.model}")
    print(f"output folder: {config.output_dir}")
    key, text = next(iter(config.prompts.items()))
    print(f"prompts: {', '.join(config.prompts)}; the first, {key}:")
    print(text)
    print("the judge is asked:")
    print(config.grading_template)
    print_bad_rows(bad_rows)
    return EXIT_INCOMPLETE if bad_rows else EXIT_DONE


def _server(options: argparse.Namespace, config: Rejecting) -> ServerProcess | None:
    if not options.serve or (config.rejudge and not _is_judged_there(config)):
        return None
    from tamis.engines.server_process import ServerProcess
    from tamis.engines.vllm.serving import serve_command

    extra = [*shlex.split(options.serve_args), "--served-model-name", options.model_path or options.serve]
    log = options.output_dir / "logs" / "server.log"
    return ServerProcess(lambda port: serve_command(options.serve, port, extra), log)


def _served(config: Rejecting, base_url: str) -> Rejecting:
    """With the server of ours for the model, and for a judge that has no server of its own."""
    generator, judge = replace(config.generator, base_urls=(base_url,)), config.judge
    if _is_judged_there(config):
        judge = replace(judge, base_urls=(base_url,))
    return replace(config, generator=generator, judge=judge)


def _is_judged_there(config: Rejecting) -> bool:
    return config.judge.engine == "http" and not config.judge.base_urls


def _is_owed(rejection: Rejection, config: Rejecting) -> bool:
    """Whether any image lacks a candidate, or a candidate what the judge says of it."""
    for rejected in rejection.finished():
        judgements = [candidate.judgement for candidate in rejected.candidates]
        if any(one is None or one.reason in ("engine_error", "not_asked") for one in judgements):
            return True
        is_enough = config.rejudge or (config.stop_early and rejected.is_accepted)
        if len(judgements) < config.num_candidates and not is_enough:
            return True
    return False


async def _watched(work: Coroutine[Any, Any, Outcome], server: ServerProcess | None) -> Outcome:
    """The result of the work, unless the server of ours ends before."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_POLL_S)
            if server and not task.done():
                server.check()
    finally:
        task.cancel()
        await asyncio.wait({task})
    return task.result()


def _log_image(log: logging.Logger, rejected: Rejected, path: Path | None) -> None:
    for place, candidate in enumerate(rejected.candidates):
        judgement = candidate.judgement
        if candidate.sample.error:
            log.warning("%s: candidate %d failed: %s", rejected.problem.id, place, candidate.sample.error.message)
        elif judgement is None or judgement.score is None:
            why = judgement.explanation if judgement else "not asked"
            log.warning("%s: candidate %d is ungraded: %s", rejected.problem.id, place, why)
        else:
            log.debug("%s: candidate %d, %s: score %g", rejected.problem.id, place, candidate.arm, judgement.score)
    if path is None or rejected.best is None or rejected.best.judgement is None:
        log.warning("%s: no candidate has a score", rejected.problem.id)
    else:
        score = rejected.best.judgement.score
        log.info("%s: %g, the best of %d -> %s", rejected.problem.id, score, len(rejected.candidates), path.parent.name)


def _secrets(settings: Settings) -> list[str]:
    from tamis.engines.http.settings import setting

    given = [settings.config.generator.api_key, settings.config.judge.api_key]
    return [*filter(None, given), *filter(None, map(setting, ("OPENAI_API_KEY", "OPENAI_API_KEY_JUDGE")))]


class _Line(ProgressLine):
    """The progress line with the judge's replies after the candidates."""

    def __init__(self, rejection: Rejection, total: int) -> None:
        super().__init__(rejection.progress, total)
        self._judging = rejection.judging

    def line(self) -> str:
        """`12/40 samples  3.1/s  ...  10 judged`."""
        return f"{super().line()}  {self._judging.samples_done} judged"
