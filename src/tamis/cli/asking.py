"""What the commands that score have in common: settings of scores, who is asked, and how that is shown."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tamis.cli.options import adapter_fields, field_names, model_fields, positive, read_text, share
from tamis.config import Asking, Drawing, ModelSettings, ScoreSettings
from tamis.engines import ENGINES
from tamis.errors import UsageError
from tamis.records import Sampling

if TYPE_CHECKING:
    from tamis.select import Method


def add_scores(parser: argparse.ArgumentParser) -> None:
    """Settings of scores."""
    default = ScoreSettings()
    group = parser.add_argument_group("scores")
    group.add_argument(
        "--alpha", type=share, default=default.alpha, help="of infer: weight of self-certainty (default: %(default)s)"
    )
    group.add_argument(
        "--lambda-weight",
        type=share,
        default=default.lambda_weight,
        help="of self-certainty, entropy, coe-c, self-eval: weight of probability (default: %(default)s)",
    )
    group.add_argument(
        "--normalize",
        choices=("none", "zscore"),
        default=default.normalize,
        help="of infer: bring both its parts to one scale within each problem (default: %(default)s)",
    )
    group.add_argument(
        "--window", type=_window, default=default.window, metavar="N|auto", help="of deepconf: tokens a group (default: auto)"
    )
    group.add_argument(
        "--reward-steps",
        choices=("last", "min", "prod", "mean"),
        default=default.reward_steps,
        help="of reward: how the rewards of the steps become one (default: %(default)s)",
    )


def score_settings(options: argparse.Namespace) -> ScoreSettings:
    """The settings."""
    return ScoreSettings(**{field.name: getattr(options, field.name) for field in fields(ScoreSettings)})


def add_askers(parser: argparse.ArgumentParser) -> None:
    """Other models that judge."""
    group = parser.add_argument_group("judges")
    group.add_argument("--judge-model", metavar="FOLDER|NAME", help="model that gives scores from 0 to 100 (method judge)")
    group.add_argument("--judge-engine", choices=ENGINES, default="hf", help="engine of that model (default: %(default)s)")
    group.add_argument(
        "--judge-base-url",
        action="append",
        default=[],
        metavar="URL",
        help="its server, with --judge-engine http (default: OPENAI_BASE_URL_JUDGE); its key is OPENAI_API_KEY_JUDGE",
    )
    group.add_argument(
        "--judge-template",
        metavar="TEXT|@FILE",
        help="what it is asked, with {problem}, {answer} and, if wanted, {reference}; its reply must end with Score: <0-100>",
    )
    group.add_argument(
        "--judge-repeats", type=positive, default=1, metavar="N", help="judgements a sample, averaged (default: %(default)s)"
    )
    group.add_argument(
        "--judge-temperature", type=float, default=0.7, metavar="T", help="of its replies (default: %(default)s)"
    )
    group.add_argument("--judge-max-tokens", type=positive, default=512, metavar="N", help="of a reply (default: %(default)s)")
    group.add_argument("--reward-model", metavar="FOLDER|NAME", help="sequence-classification model (methods reward, ...)")


def asking(options: argparse.Namespace, itself: ModelSettings | None) -> Asking:
    """Who is asked; all models run on the device, in the numbers and batches that the options of the model name.

    Raises:
        UsageError: A temperature below 0.
    """
    temperature = options.judge_temperature
    if not temperature >= 0:
        raise UsageError(f"--judge-temperature is {temperature:g}", "It must be 0 (greedy) or more")
    sampling = Sampling(
        temperature=temperature, max_tokens=options.judge_max_tokens, n=options.judge_repeats, seed=options.seed
    )
    return Asking(
        itself=itself,
        judge=_judge(options),
        reward=model_settings(options, options.reward_model, "hf"),
        judge_template=read_text("--judge-template", options.judge_template) if options.judge_template else None,
        judge_sampling=sampling,
        fork=options.fork,
    )


def _judge(options: argparse.Namespace) -> ModelSettings | None:
    """The judge; a server of its own has a key of its own."""
    settings = model_settings(options, options.judge_model, options.judge_engine)
    if settings is None or settings.engine != "http":
        return settings
    from tamis.engines.http.settings import setting

    urls = tuple(options.judge_base_url) or tuple(filter(None, [setting("OPENAI_BASE_URL_JUDGE")]))
    if not urls:  # the same server as the model's
        return settings
    return replace(settings, base_urls=urls, api_key=setting("OPENAI_API_KEY_JUDGE"))


def check_asked(methods: Iterable[Method], asked: Asking, *, token_stats: bool = True) -> None:
    """Find out before anything is drawn that nobody is there to be asked for what a method needs.

    Raises:
        UsageError: It is so.
    """
    from tamis.score import STATISTICS

    for method in methods:
        for need, model in (("judge", asked.judge), ("reward", asked.reward)):
            if need in method.needs and model is None:
                raise UsageError(f"the method {method.name} needs a {need} model", f"Name it: --{need}-model FOLDER|NAME")
        if STATISTICS in method.needs and not token_stats:
            raise UsageError(f"the method {method.name} needs token statistics", "Leave --token-stats none out")


def add_samples(parser: argparse.ArgumentParser, *names: str, required: bool) -> None:
    """Samples made earlier."""
    group = parser.add_argument_group("samples made earlier")
    keywords = {"required": True} if required and names[0].startswith("-") else {}
    group.add_argument(
        *names,
        type=Path,
        metavar="FILE|FOLDER",
        help="JSONL with a list of texts a problem or one text a row; a candidates file; a run folder",
        **keywords,  # type: ignore[arg-type]
    )
    group.add_argument("--samples-field", metavar="FIELD", help="field that holds the list of texts, when its name is unusual")
    group.add_argument("--text-field", metavar="FIELD", help="field that holds one text")


def sample_fields(options: argparse.Namespace) -> dict[str, str]:
    """The source's own column names, by role."""
    named = {"samples": options.samples_field, "text": options.text_field}
    return {**field_names(options), **{role: name for role, name in named.items() if name}}


def model_settings(options: argparse.Namespace, model: str | None, engine: str) -> ModelSettings | None:
    """A model that is asked, on the device of the options; None where none is named.

    Raises:
        UsageError: Its path does not exist.
    """
    if model is None:
        return None
    if model.startswith(("/", ".", "~")) and not Path(model).expanduser().exists():
        raise UsageError(f"no such model: {model}", "Check the path")
    return ModelSettings(**model_fields(options, model, engine))


def itself(options: argparse.Namespace, drawing: Drawing | None) -> ModelSettings | None:
    """The model that the options name, else the one that drew the samples."""
    if options.model_path is None and drawing is not None:
        found = model_settings(options, drawing.model, drawing.engine)
        given = {"base_model": drawing.base_model, "max_prompt_tokens": drawing.max_prompt_tokens, "truncate": drawing.truncate}
    else:
        found = model_settings(options, options.model_path, options.engine)
        given = {}
    asked = {name: value for name, value in adapter_fields(options).items() if value is not None}
    return found and replace(found, **{**given, **asked})


def _window(text: str) -> int | Literal["auto"]:
    return "auto" if text == "auto" else positive(text)
