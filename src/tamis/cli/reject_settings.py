"""From the options of `tamis reject` to the settings of a run: files read, everything checked that needs no server."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.cli.options import adapter_fields, model_fields
from tamis.cli.reject_options import DEFAULTS
from tamis.config import Arm, ModelSettings, Rejecting
from tamis.errors import UsageError

if TYPE_CHECKING:
    from tamis.records import Problem
    from tamis.sources import BadRow

_LARGEST_GRID = 10_000
_MOST_CANDIDATES = 10_000  # an image


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options come to."""

    config: Rejecting
    image_dir: Path
    recursive: bool
    limit: int | None

    @property
    def facts(self) -> dict[str, Any]:
        """What a later resume must know of the source."""
        return {"image_dir": str(self.image_dir.resolve()), "recursive": self.recursive, "samples": self.limit or -1}

    def problems(self, bad_rows: list[BadRow]) -> Iterator[Problem]:
        """The images."""
        from tamis.sources.images import read_images

        return read_images(self.image_dir, recursive=self.recursive, limit=self.limit, bad_rows=bad_rows)


def settings(options: argparse.Namespace) -> Settings:
    """Everything read and checked, as far as that is possible without a server.

    Raises:
        TamisError: Something cannot be.
    """
    from tamis.score.grading import judges_all

    goes_on = options.resume or options.retry_failed or options.rejudge or options.extend_truncated
    before = _before(options.output_dir) if goes_on else {}

    def chosen(name: str) -> Any:
        given = getattr(options, name)
        return before.get(name, DEFAULTS[name]) if given is None else given

    prompts, template = _prompts(options, before)
    judges_all(template)  # a template without a place for candidates is found here
    if not 0 <= chosen("seed") < 2**63:
        raise UsageError(f"--seed is {chosen('seed')}", "It must lie between 0 and 2^63 - 1")
    if not 0 <= chosen("judge_temperature") <= 100:
        raise UsageError(f"--judge-temperature is {chosen('judge_temperature'):g}", "It must be 0 (greedy) or more")
    if options.max_rps is not None and not options.max_rps > 0:
        raise UsageError(f"--max-rps is {options.max_rps:g}", "Give a number above 0")
    if options.extend_truncated and options.max_tokens is None:
        raise UsageError("--extend-truncated needs a new limit", "Give a larger --max-tokens")
    is_limit_taken_over = "max_tokens" in before and options.max_tokens is None and not options.rejudge  # it may have grown
    arms = _arms(prompts, *(chosen(f"{name}_range") for name in ("temperature", "top_p", "top_k")))
    strategy = chosen("strategy")
    num_candidates = options.num_candidates or before.get("num_candidates") or len(arms)
    if strategy != "grid" and not (options.num_candidates or before):
        num_candidates = DEFAULTS["num_candidates"]
    if num_candidates > _MOST_CANDIDATES:
        raise UsageError(f"{num_candidates} candidates an image are too many", f"Give at most {_MOST_CANDIDATES}")
    generator = _generator(options)
    config = Rejecting(
        generator=generator,
        judge=_judge(options, generator),
        prompts=prompts,
        grading_template=template,
        arms=arms,
        num_candidates=num_candidates,
        strategy=strategy,
        threshold=chosen("score_threshold"),
        stop_early=chosen("stop_early"),
        max_tokens=chosen("max_tokens"),
        judge_max_tokens=chosen("judge_max_tokens"),
        judge_temperature=chosen("judge_temperature"),
        seed=chosen("seed"),
        output_dir=options.output_dir,
        resume=options.resume,
        fork=options.fork,
        retry_failed=options.retry_failed,
        rejudge=options.rejudge,
        extend_truncated=options.extend_truncated or is_limit_taken_over,
    )
    limit = None if chosen("samples") == -1 else chosen("samples")
    return Settings(config, options.image_dir, chosen("recursive"), limit)


def _before(output_dir: Path) -> Mapping[str, Any]:
    """The settings of the run before; what cannot be read says nothing, and run.json refuses what does not fit."""
    from tamis.store.files import decode
    from tamis.workflows.reject_files import SUMMARY_FILE

    with suppress(OSError, ValueError, KeyError, TypeError):
        return dict(decode((output_dir / SUMMARY_FILE).read_bytes())["config"])
    return {}


def _prompts(options: argparse.Namespace, before: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    from tamis.sources.prompt_files import (
        GENERATION_PROMPTS_FILE,
        GRADING_PROMPT_FILE,
        read_generation_prompts,
        read_grading_template,
    )

    def file(given: Path | None, usual: Path) -> Path | None:
        return given or (usual if usual.is_file() else None)

    if options.prompts is None and not options.prompt_keys and "prompts" in before:
        prompts = dict(before["prompts"])
    else:
        prompts = read_generation_prompts(file(options.prompts, GENERATION_PROMPTS_FILE), options.prompt_keys)
    if options.grading_prompt is None and "grading_template" in before:
        return prompts, str(before["grading_template"])
    return prompts, read_grading_template(file(options.grading_prompt, GRADING_PROMPT_FILE))


def _arms(prompts: Mapping[str, str], *lists: list[Decimal]) -> tuple[Arm, ...]:
    size = len(prompts) * len(lists[0]) * len(lists[1]) * len(lists[2])
    if size > _LARGEST_GRID:
        raise UsageError(
            f"the grid of prompts and parameters has {size} cells", f"Make the ranges shorter: {_LARGEST_GRID} at most"
        )
    temperatures, top_ps, top_ks = lists
    return tuple(
        Arm(key, float(temperature), float(top_p), int(top_k))
        for key in prompts
        for temperature in temperatures
        for top_p in top_ps
        for top_k in top_ks
    )


def _generator(options: argparse.Namespace) -> ModelSettings:
    model = options.model_path or options.serve
    if model is None:
        raise UsageError("no model is given", "Name it as the server does: --vllm-model NAME")
    if options.serve and (options.engine != "http" or options.base_url):
        raise UsageError("--serve starts the server itself", "Leave --vllm-api and --engine out")
    fields = model_fields(options, model, options.engine)
    settings = ModelSettings(**fields, **adapter_fields(options), max_rps=options.max_rps)
    return replace(settings, api_key="") if options.serve else settings


def _judge(options: argparse.Namespace, generator: ModelSettings) -> ModelSettings:
    """The judge; a server of its own has a key of its own, where there is one."""
    from tamis.engines.http.settings import setting

    if options.judge_model is None:
        raise UsageError("no judge is given", "Name it as its server does: --grading-model NAME")
    fields = {**model_fields(options, options.judge_model, options.judge_engine), "batch_size": options.grade_workers}
    urls = tuple(options.judge_base_url) or tuple(filter(None, [setting("OPENAI_BASE_URL_JUDGE")]))
    key = options.judge_key or setting("OPENAI_API_KEY_JUDGE") or None
    judge = ModelSettings(**fields, max_rps=options.max_rps)
    if options.serve and not urls:
        return replace(judge, api_key="")  # on the server of ours
    if urls or generator.engine != "http":
        return replace(judge, base_urls=urls, api_key=key)
    return judge if key is None else replace(judge, api_key=key)
