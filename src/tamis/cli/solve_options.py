"""The options of `tamis solve`, and what they and a configuration file come to."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.cli import options as shared
from tamis.errors import UsageError

if TYPE_CHECKING:
    from tamis.config import Drawing, ModelSettings
    from tamis.inference import InferenceConfig

_MODES = ("question", "batch_input", "interactive", "evaluate")
_OF_EVALUATE = ("dataset", "split", "max_samples", "metric", "ensemble")
_OF_RUNS = ("run", "resume", "fork", "dry_run", "problem_field", "answer_field", "id_field")
_RENAMED = {
    "model_path": "model_path",
    "base_model": "base_model",
    "engine": "engine",
    "batch_size": "batch_size",
    "device": "device",
    "dtype": "dtype",
    "tensor_parallel": "tensor_parallel",
    "trust_remote_code": "trust_remote_code",
    "allow_pickle": "allow_pickle",
    "api_key": "api_key",
    "max_length": "max_length",
    "truncate": "truncate",
    "max_tokens": "max_new_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "n": "num_return_sequences",
    "seed": "seed",
    "dataset": "dataset_name",
    "split": "split",
    "save_log": "save_detailed_log",
    "log_path": "log_path",
}
"""Options and the fields of `InferenceConfig` that they set where they are given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, with which model, and how."""
    what = parser.add_argument_group("what to do (by default, an example question)").add_mutually_exclusive_group()
    what.add_argument("--question", metavar="TEXT|-", help="answer one question; - reads it from stdin")
    what.add_argument(
        "--batch-input", metavar="FILE", help="answer the questions of a text file, one a line, or of JSONL or CSV"
    )
    what.add_argument("--interactive", action="store_true", help="talk: streaming, history, /help")
    what.add_argument("--evaluate", action="store_true", help="measure the accuracy on a dataset with reference answers")
    parser.add_argument(
        "--config", type=Path, metavar="YAML", help="settings as in inference_config.yaml; options stand before it"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the results go, as JSON")
    parser.add_argument(
        "--save-log", action="store_true", default=None, help="write every prompt, response and verdict as text"
    )
    parser.add_argument("--log-path", metavar="FILE", help="where to (default: ./inference_log.txt)")
    _add_evaluation(parser)
    shared.add_model(parser)
    length = parser.add_argument_group("length of prompts")
    length.add_argument(
        "--max-length", type=shared.positive, metavar="N", help="tokens of a prompt at most; a longer one fails (default: 1024)"
    )
    length.add_argument("--truncate", action="store_true", help="drop the beginning of a prompt that is longer")
    _add_sampling(parser)
    shared.add_prompt(parser)
    shared.add_run(parser)
    parser.set_defaults(**dict.fromkeys(_RENAMED), base_url=None, token_stats="none")


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("evaluation")
    group.add_argument("--dataset", metavar="FILE|NAME", help="problems with answers (default: HuggingFaceH4/MATH-500)")
    group.add_argument("--split", help="of a hub dataset (default: test)")
    group.add_argument("--max-samples", type=_max_samples, metavar="N|all", help="only the first N problems (default: 100)")
    group.add_argument("--metric", metavar="MODULE:FUNCTION", help="measure with function(problem, response, reference) too")
    group.add_argument("--ensemble", metavar="MODEL,...", help="several models, one after the other, and their vote")
    shared.add_fields(group)


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    """As in `options.add_sampling`, with nothing set that is not given."""
    group = parser.add_argument_group("sampling")
    group.add_argument("--num-return-sequences", "-n", "--n", dest="n", type=shared.positive, metavar="N", help="answers (1)")
    group.add_argument("--temperature", type=float, help="0 is greedy (0.8)")
    group.add_argument("--top-p", type=float, help="nucleus share (0.9)")
    group.add_argument("--top-k", type=int, help="keep the k likeliest tokens; 0 is off (50)")
    group.add_argument("--min-p", type=float, help="drop tokens below this share of the likeliest (0, off)")
    group.add_argument(
        "--max-new-tokens", "--max-tokens", dest="max_tokens", type=shared.positive, metavar="N", help="tokens an answer (512)"
    )
    group.add_argument("--stop", action="append", default=[], metavar="TEXT", help="stop string; may be given several times")
    group.add_argument("--seed", type=int, help="the same seed gives the same answers (0)")


def _max_samples(text: str) -> int | str:
    return text if text == "all" else shared.positive(text)


def mode(options: argparse.Namespace) -> str:
    """Which of the modes is asked for; "" is the example question.

    Raises:
        UsageError: An option that belongs to another mode is given.
    """
    found = next((name for name in _MODES if _is_given(options, name)), "")
    _refuse(options, _OF_EVALUATE if found != "evaluate" else (), "--evaluate")
    _refuse(options, _OF_RUNS if found not in ("evaluate", "batch_input") else (), "--batch-input or --evaluate")
    if found == "batch_input" and options.output is None:
        raise UsageError("--batch-input needs --output", "Name the file of the results: --output results.json")
    if found == "interactive" and options.output is not None:
        raise UsageError("--interactive takes no --output", "Write the conversation with /save FILE")
    return found


def _refuse(options: argparse.Namespace, names: tuple[str, ...], needed: str) -> None:
    for name in names:
        if _is_given(options, name):
            raise UsageError(f"--{name.replace('_', '-')} needs {needed}", "Leave it out, or add that")


def _is_given(options: argparse.Namespace, name: str) -> bool:
    value = getattr(options, name)
    return value is not None and value is not False  # 0 is a value


def settings(options: argparse.Namespace) -> InferenceConfig:
    """The configuration file, where one is given, with the options before it.

    Raises:
        TamisError: A mistake in either.
    """
    from tamis.inference import InferenceConfig

    config = InferenceConfig.from_yaml(options.config) if options.config else InferenceConfig()
    if options.device:
        _check_device(options.device, options.engine or config.engine)
    given: dict[str, Any] = {field: getattr(options, name) for name, field in _RENAMED.items() if _is_given(options, name)}
    if options.max_samples:
        given["max_samples"] = None if options.max_samples == "all" else options.max_samples
    if options.base_url:
        given["base_urls"] = tuple(options.base_url)
    if options.no_lora:
        given["use_lora"] = False
    if "" in options.stop:
        raise UsageError("--stop is empty", "It would end every answer before it begins")
    if options.stop:
        given["stop"] = tuple(options.stop)
    if options.output:
        given["results_path"] = str(options.output)
    if options.log_path:
        given["save_detailed_log"] = True
    return replace(config, **given, prompt=shared.prompt(options))


def _check_device(device: str, engine: str) -> None:
    """A device that is named on the command line must be there; one of a file is a wish."""
    if engine == "hf" and device.startswith("cuda"):
        try:
            import torch
        except ImportError:  # the engine says so
            return
        if not torch.cuda.is_available():
            raise UsageError(f"--device {device}: there is no GPU here", "Use --device cpu, or leave it out")


def run_settings(options: argparse.Namespace, config: InferenceConfig, model: ModelSettings, dataset: str) -> Drawing:
    """The configuration of a run over a dataset or over a file of questions."""
    limit = config.max_samples if options.evaluate else None
    return replace(
        config.drawing(dataset, model, limit=limit, token_stats=options.token_stats),
        fields=shared.field_names(options),
        run=options.run,
        resume=options.resume,
        fork=options.fork,
    )
