"""Options that several commands share: one group, one function, one reading of the result."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

from tamis.config import Drawing
from tamis.engines import ENGINES
from tamis.errors import UsageError
from tamis.prompts import MATH_PROMPT, PromptTemplate
from tamis.records import Sampling


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, on which engine, in which numbers."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model-path",
        "--model",
        metavar="FOLDER|NAME",
        default=None,
        help="local folder or hub name of a causal LM; 'embedded' is the small model that ships with Tamis",
    )
    group.add_argument("--engine", choices=ENGINES, default="hf", help="what runs the model (default: %(default)s)")
    group.add_argument("--batch-size", type=_batch_size, default="auto", metavar="N|auto", help="rows decoded together")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU when there is one)")
    group.add_argument("--dtype", default="auto", help="float32, bfloat16, float16 (default: the checkpoint's)")
    group.add_argument("--trust-remote-code", action="store_true", help="allow code that comes with the checkpoint")


def add_dataset(parser: argparse.ArgumentParser, default: str) -> None:
    """Which problems."""
    group = parser.add_argument_group("problems")
    group.add_argument(
        "--dataset",
        "--dataset-repo-name",
        default=default,
        metavar="FILE|NAME",
        help="JSONL, CSV, Parquet or text file (also .gz, .zst), a built-in set (demo), or a hub name (default: %(default)s)",
    )
    group.add_argument("--split", default="test", help="split of a hub dataset (default: %(default)s)")
    group.add_argument(
        "--limit", "--subset-size", "--max-samples", type=positive, metavar="N", help="only the first N problems"
    )
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
        default=n,
        metavar="N",
        help="candidates a problem (default: %(default)s)",
    )
    group.add_argument("--temperature", type=float, default=temperature, help="0 is greedy (default: %(default)s)")
    group.add_argument("--top-p", type=float, default=1.0, help="nucleus share (default: off)")
    group.add_argument("--top-k", type=int, default=0, help="keep the k likeliest tokens (default: off)")
    group.add_argument("--min-p", type=float, default=0.0, help="drop tokens below this share of the likeliest (default: off)")
    group.add_argument("--max-tokens", type=positive, default=max_tokens, help="tokens a candidate (default: %(default)s)")
    group.add_argument("--stop", action="append", default=[], metavar="TEXT", help="stop string; may be given several times")
    group.add_argument("--seed", type=int, default=0, help="seed of the run (default: %(default)s)")


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


def drawing(options: argparse.Namespace, *, default_model: str | None = None) -> Drawing:
    """The configuration of a command that draws samples."""
    model = options.model_path or default_model
    if model is None:
        raise UsageError(
            "no model is given", "Use --model-path FOLDER, or --model-path embedded to try Tamis without a download"
        )
    return Drawing(
        model=model,
        engine=options.engine,
        batch_size=options.batch_size,
        device=options.device,
        dtype=options.dtype,
        trust_remote_code=options.trust_remote_code,
        dataset=options.dataset,
        split=options.split,
        limit=options.limit,
        fields=field_names(options),
        sampling=_sampling(options),
        prompt=_prompt(options),
        run=options.run,
        resume=options.resume,
        fork=options.fork,
        token_stats=options.token_stats,
    )


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
        n=options.n,
        seed=options.seed,
    )


def _prompt(options: argparse.Namespace) -> PromptTemplate:
    template = options.prompt_template or MATH_PROMPT
    if template.startswith("@"):
        path = Path(template[1:])
        try:
            template = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--prompt-template: cannot read {path}: {error}", "Give a text, or @FILE") from None
    return PromptTemplate(template, options.system_prompt, options.no_chat_template)


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
