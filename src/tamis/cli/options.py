"""Options that several commands share: one group, one function, one reading of the result."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from tamis.config import AdaptiveRule, AdaptiveSampling, Drawing
from tamis.engines import ENGINES
from tamis.errors import UsageError
from tamis.prompts import MATH_PROMPT, PromptTemplate
from tamis.records import Sampling

MAX_SAMPLES = 40
"""Candidates a problem at most, as in the papers on adaptive sampling."""


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, on which engine, in which numbers."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model-path",
        "--model",
        metavar="FOLDER|NAME",
        default=None,
        help="local folder or hub name of a causal LM, or of a LoRA adapter, which is loaded over its base; 'embedded' is a "
        "small model that ships with Tamis, 'embedded-remainders' an adapter over it, 'embedded-vision' reads diagrams",
    )
    group.add_argument("--base-model", metavar="FOLDER|NAME", help="base of an adapter (default: the one that it names)")
    group.add_argument("--no-lora", action="store_true", help="take a whole model, even where an adapter lies beside it")
    group.add_argument("--engine", choices=ENGINES, default="hf", help="what runs the model (default: hf)")
    group.add_argument("--batch-size", type=_batch_size, default="auto", metavar="N|auto", help="rows decoded together")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU when there is one)")
    group.add_argument("--dtype", default="auto", help="float32, bfloat16, float16 (default: the checkpoint's)")
    group.add_argument(
        "--tensor-parallel", type=positive, default=1, metavar="N", help="devices that --engine vllm spreads the model over"
    )
    group.add_argument(
        "--base-url",
        action="append",
        default=[],
        metavar="URL",
        help="OpenAI-compatible server of --engine http; several may be given (default: OPENAI_BASE_URL)",
    )
    group.add_argument("--api-key", metavar="KEY", help="its key (better: OPENAI_API_KEY, in the environment or in .env)")
    group.add_argument("--trust-remote-code", action="store_true", help="allow code that comes with the checkpoint")
    group.add_argument(
        "--allow-pickle", action="store_true", help="read weights from *.bin where there are no *.safetensors (tensors alone)"
    )


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Where the model is held."""
    group = parser.add_argument_group("many machines")
    add_on(group)
    group.add_argument("--workers", type=positive, metavar="N", help="with --on ray: workers, each of which holds the model")


def add_on(group: argparse._ActionsContainer) -> None:
    """Where the work is done."""
    group.add_argument(
        "--on",
        choices=("here", "ray"),
        default="here",
        help="ray: on the cluster of RAY_ADDRESS, or one of this machine alone (default: %(default)s)",
    )


def add_dataset(parser: argparse.ArgumentParser, default: str) -> None:
    """Which problems."""
    group = parser.add_argument_group("problems")
    group.add_argument(
        "--dataset",
        "--dataset-repo-name",
        default=default,
        metavar="FILE|NAME",
        help="JSONL, CSV, Parquet or text file (also .gz, .zst), a built-in set (demo, remainders), or a hub name "
        "(default: %(default)s)",
    )
    group.add_argument("--split", default="test", help="split of a hub dataset (default: %(default)s)")
    group.add_argument("--limit", "--subset-size", type=positive, metavar="N", help="only the first N problems")
    add_fields(group)


def add_fields(group: argparse._ActionsContainer) -> None:
    """Columns of unusual names."""
    group.add_argument("--problem-field", metavar="FIELD", help="field that holds the problem, when its name is unusual")
    group.add_argument("--answer-field", metavar="FIELD", help="field that holds the reference answer")
    group.add_argument("--id-field", metavar="FIELD", help="field that holds the id")


def add_sampling(parser: argparse.ArgumentParser, *, n: int = 4, temperature: float = 0.1, max_tokens: int = 1024) -> None:
    """How to draw; the defaults are those of the source document."""
    group = parser.add_argument_group("sampling")
    group.add_argument(
        "--num-return-sequences",
        "--n-repetitive-sampling",
        "-n",
        "--n",
        dest="n",
        type=positive,
        metavar="N",
        help=f"candidates a problem (default: {n})",
    )
    parser.set_defaults(default_n=n)
    group.add_argument("--temperature", type=float, default=temperature, help="0 is greedy (default: %(default)s)")
    group.add_argument("--top-p", type=float, default=1.0, help="nucleus share (default: off)")
    group.add_argument("--top-k", type=int, default=0, help="keep the k likeliest tokens (default: off)")
    group.add_argument("--min-p", type=float, default=0.0, help="drop tokens below this share of the likeliest (default: off)")
    group.add_argument("--max-tokens", type=positive, default=max_tokens, help="tokens a candidate (default: %(default)s)")
    group.add_argument("--stop", action="append", default=[], metavar="TEXT", help="stop string; may be given several times")
    group.add_argument("--seed", type=int, default=0, help="seed of the run (default: %(default)s)")


def add_adaptive(parser: argparse.ArgumentParser) -> None:
    """When a problem has candidates enough."""
    group = parser.add_argument_group("adaptive sampling (instead of -n)")
    group.add_argument(
        "--adaptive",
        choices=get_args(AdaptiveRule),
        help="draw a problem's candidates only until their answers settle which one wins, by this rule",
    )
    group.add_argument(
        "--max-samples", type=positive, metavar="N", help=f"candidates a problem at most (default: {MAX_SAMPLES})"
    )
    group.add_argument(
        "--adaptive-threshold",
        type=float,
        metavar="P",
        help=f"how sure it must be, between 0.5 and 1; esc takes none (default: {AdaptiveSampling('esc').threshold})",
    )


def add_prompt(parser: argparse.ArgumentParser) -> None:
    """How to ask."""
    group = parser.add_argument_group("prompt")
    group.add_argument("--prompt-template", metavar="TEXT|@FILE", help="what to ask; {problem} stands for the problem")
    group.add_argument("--system-prompt", default="", metavar="TEXT", help="a system turn before it")
    group.add_argument("--no-chat-template", action="store_true", help="send the bare text even where the model has a template")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Where it is kept and how it goes on."""
    group = parser.add_argument_group("run")
    group.add_argument("--run", type=Path, metavar="FOLDER", help="run folder (default: runs/<dataset>-<model>)")
    group.add_argument("--resume", action="store_true", help="go on with the run folder (implied when it exists and matches)")
    group.add_argument(
        "--fork", action="store_true", help="where the run folder belongs to another configuration, start a new one"
    )
    group.add_argument(
        "--token-stats",
        choices=("full", "none"),
        default="full",
        help="full: taken while generating and kept, 44 bytes a token; none: only methods that need no score",
    )
    group.add_argument("--dry-run", action="store_true", help="check all inputs, show the first prompt, draw nothing")


def model_fields(options: argparse.Namespace, model: str, engine: str) -> dict[str, Any]:
    """The fields of `ModelSettings`: a model on the device, in the numbers and at the servers that the options name."""
    return {
        "model": model,
        "engine": engine,
        "batch_size": options.batch_size,
        "device": options.device,
        "dtype": options.dtype,
        "trust_remote_code": options.trust_remote_code,
        "allow_pickle": options.allow_pickle,
        "tensor_parallel": options.tensor_parallel,
        "base_urls": tuple(options.base_url),
        "api_key": options.api_key,
    }


def adapter_fields(options: argparse.Namespace) -> dict[str, Any]:
    """Further fields of the model that draws: nobody else has its base."""
    return {"base_model": options.base_model, "use_lora": False if options.no_lora else None}


def drawing(options: argparse.Namespace, *, default_model: str | None = None) -> Drawing:
    """The configuration of a command that draws samples."""
    model = options.model_path or default_model
    if model is None:
        raise UsageError(
            "no model is given", "Use --model-path FOLDER, or --model-path embedded to try Tamis without a download"
        )
    adaptive = _adaptive(options)
    return Drawing(
        **model_fields(options, model, options.engine),
        **adapter_fields(options),
        dataset=options.dataset,
        split=options.split,
        limit=options.limit,
        fields=field_names(options),
        sampling=_sampling(options),
        prompt=prompt(options),
        run=options.run,
        resume=options.resume,
        fork=options.fork,
        token_stats=options.token_stats,
        adaptive=adaptive,
        workers=_workers(options),
    )


def _workers(options: argparse.Namespace) -> int:
    if options.on == "ray" and not options.workers:
        raise UsageError("--on ray needs --workers", "Say how many: one for each GPU, or for each machine")
    if options.workers and options.on != "ray":
        raise UsageError("--workers needs --on ray", "On this machine alone --batch-size says how much is drawn at once")
    return options.workers or 0


def _adaptive(options: argparse.Namespace) -> AdaptiveSampling | None:
    rule, threshold = options.adaptive, options.adaptive_threshold
    if rule is None:
        if options.max_samples or threshold:
            name = "--max-samples" if options.max_samples else "--adaptive-threshold"
            raise UsageError(f"{name} needs --adaptive", "Give a rule; candidates are counted by -n, problems by --limit")
        return None
    if options.n:
        raise UsageError("-n and --adaptive exclude each other", "Give --max-samples")
    if threshold is not None and (rule == "esc" or not 0.5 < threshold < 1):
        raise UsageError(f"--adaptive-threshold is {threshold:g}", "It must lie between 0.5 and 1, and esc takes none")
    if rule == "deepconf-online" and options.token_stats == "none":
        raise UsageError("--adaptive deepconf-online needs token statistics", "Leave --token-stats none out")
    settings = AdaptiveSampling(rule, window=getattr(options, "window", "auto"))
    return settings if threshold is None else replace(settings, threshold=threshold)


def field_names(options: argparse.Namespace) -> dict[str, str]:
    """The source's own column names, by role."""
    names = {"question": options.problem_field, "answer": options.answer_field, "id": options.id_field}
    return {role: name for role, name in names.items() if name}


def _sampling(options: argparse.Namespace) -> Sampling:
    if not 0 <= options.temperature < math.inf:
        raise UsageError(f"--temperature is {options.temperature:g}", "It must be 0 (greedy) or more")
    if not 0 < options.top_p <= 1:
        raise UsageError(f"--top-p is {options.top_p:g}", "It must lie in (0, 1]")
    if options.top_k < 0:
        raise UsageError(f"--top-k is {options.top_k}", "It must be 0 (off) or more")
    if "" in options.stop:
        raise UsageError("--stop is empty", "It would end every answer before it begins")
    if not 0 <= options.seed < 2**63:
        raise UsageError(f"--seed is {options.seed}", "It must lie between 0 and 2^63 - 1")
    if not 0 <= options.min_p < 1:
        raise UsageError(f"--min-p is {options.min_p:g}", "It must lie in [0, 1)")
    return Sampling(
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        min_p=options.min_p,
        max_tokens=options.max_tokens,
        stop=tuple(options.stop),
        n=(options.max_samples or MAX_SAMPLES) if options.adaptive else options.n or options.default_n,
        seed=options.seed,
    )


def prompt(options: argparse.Namespace) -> PromptTemplate:
    """The prompt."""
    template = read_text("--prompt-template", options.prompt_template) if options.prompt_template else MATH_PROMPT
    return PromptTemplate(template, options.system_prompt, options.no_chat_template)


def read_text(option: str, text: str) -> str:
    """A text, or what is in the file after an @.

    Raises:
        UsageError: The file cannot be read.
    """
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{option}: cannot read {path}: {error}", "Give a text, or @FILE") from None


def positive(text: str) -> int:
    """An argument of 1 or more."""
    if not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return int(text)


def share(text: str) -> float:
    """An argument in [0, 1]."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie in [0, 1]")
    return value


def _batch_size(text: str) -> int | str:
    return text if text == "auto" else positive(text)
