"""The options of `tamis reject` (source document s4)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from tamis.cli import ranges
from tamis.cli.options import positive
from tamis.cli.run_log import LEVELS
from tamis.config import Strategy
from tamis.engines import ENGINES

DEFAULTS: dict[str, Any] = {
    "temperature_range": [0.3, 0.5, 0.7, 0.9, 1.2],
    "top_p_range": [0.5, 0.7, 0.9],
    "top_k_range": [20, 40, 60, 80],
    "score_threshold": 80.0,
    "num_candidates": 4,
    "strategy": "random",
    "stop_early": False,
    "max_tokens": 1024,
    "judge_max_tokens": 2048,
    "judge_temperature": 0.0,
    "seed": 0,
    "recursive": False,
    "samples": -1,
}
"""Of what is not given. Where a run goes on, its settings come first, as summary.json has them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All options; those that a resume takes over have no default here."""
    _add_images(parser)
    _add_models(parser)
    _add_grid(parser)
    group = parser.add_argument_group("run")
    group.add_argument("--resume", action="store_true", help="go on; settings that are not given are those of the run before")
    group.add_argument("--fork", action="store_true", help="where the folder is of another model or prompt, begin beside it")
    group.add_argument("--retry-failed", action="store_true", help="ask the judge again about what it gave no score")
    group.add_argument("--rejudge", action="store_true", help="draw nothing: judge what is there by the judge and prompt given")
    group.add_argument(
        "--extend-truncated", action="store_true", help="with a larger --max-tokens: draw again what was cut off, keep the rest"
    )
    group.add_argument(
        "--checkpoint-interval",
        type=positive,
        default=5,
        metavar="N",
        help="write summary.json anew after N images; nothing is lost in between (default: %(default)s)",
    )
    group.add_argument(
        "--max-rps", type=float, metavar="X", help="requests a second, to the model and to the judge (default: any)"
    )
    group.add_argument("--price-table", type=Path, metavar="FILE", help='{"model": {"input": X, "output": Y}} a million tokens')
    group.add_argument("--log-level", type=str.upper, choices=LEVELS, default="INFO", help="of logs/ (default: %(default)s)")
    group.add_argument("--dry-run", action="store_true", help="check all inputs, show the first prompt, draw nothing")


def _add_images(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("images and prompts")
    group.add_argument("--image-dir", type=Path, required=True, metavar="FOLDER", help="jpg, png, bmp, tiff and webp files")
    group.add_argument("--recursive", action="store_true", default=None, help="images of its subfolders too")
    group.add_argument("--samples", type=ranges.image_limit, metavar="N", help="only the first N images (default: -1, all)")
    group.add_argument(
        "--output-dir", type=Path, default=Path("results"), metavar="FOLDER", help="all files (default: %(default)s)"
    )
    group.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="JSON, key -> what is asked (default: prompts/generation_prompts.json, else built-in)",
    )
    group.add_argument("--prompt-keys", nargs="+", default=[], metavar="KEY", help="only these of them")
    group.add_argument(
        "--grading-prompt",
        type=Path,
        metavar="FILE",
        help="JSON with a template that has {generated_answer}, or {candidate_answers} for all of an image in one call "
        "(default: prompts/grading_prompt.json, else built-in)",
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--vllm-model",
        "--model-path",
        "--model",
        dest="model_path",
        metavar="NAME",
        help="its name on the server, or its folder",
    )
    group.add_argument(
        "--vllm-api",
        "--base-url",
        dest="base_url",
        type=ranges.plain_url,
        action="append",
        default=[],
        metavar="URL",
        help="OpenAI-compatible server; several may be given (default: OPENAI_BASE_URL)",
    )
    group.add_argument("--api-key", metavar="KEY", help="its key (better: OPENAI_API_KEY, in the environment or in .env)")
    group.add_argument("--serve", metavar="MODEL", help="start a vLLM server of this model for the run, and end it after")
    group.add_argument("--serve-args", default="", metavar="TEXT", help="further options of that server, in quotes")
    group.add_argument("--engine", choices=ENGINES, default="http", help="what runs the model (default: %(default)s)")
    group.add_argument(
        "--gen-workers", "--batch-size", dest="batch_size", type=positive, default=16, metavar="N", help="drawn at once"
    )
    group.add_argument("--device", default="auto", help="of --engine hf (default: a GPU when there is one)")
    group.add_argument("--dtype", default="auto", help="of --engine hf (default: the checkpoint's)")
    group.add_argument("--tensor-parallel", type=positive, default=1, metavar="N", help="of --engine vllm: devices")
    group.add_argument("--trust-remote-code", action="store_true", help="allow code that comes with the checkpoint")
    group.add_argument("--base-model", metavar="FOLDER|NAME", help="of --engine hf and vllm: base of an adapter")
    parser.set_defaults(no_lora=False, allow_pickle=False)
    group.add_argument("--max-tokens", type=positive, metavar="N", help=f"a candidate (default: {DEFAULTS['max_tokens']})")
    group = parser.add_argument_group("judge")
    group.add_argument("--grading-model", "--judge-model", dest="judge_model", metavar="NAME", help="its name on the server")
    group.add_argument(
        "--grading-api",
        "--judge-base-url",
        dest="judge_base_url",
        type=ranges.plain_url,
        action="append",
        default=[],
        metavar="URL",
        help="its server (default: OPENAI_BASE_URL_JUDGE, else the model's)",
    )
    group.add_argument(
        "--grading-key", dest="judge_key", metavar="KEY", help="(better: OPENAI_API_KEY_JUDGE, or else OPENAI_API_KEY)"
    )
    group.add_argument(
        "--grading-engine",
        "--judge-engine",
        dest="judge_engine",
        choices=ENGINES,
        default="http",
        help="(default: %(default)s)",
    )
    group.add_argument("--grade-workers", type=positive, default=10, metavar="N", help="judged at once (default: %(default)s)")
    group.add_argument("--judge-max-tokens", type=positive, metavar="N", help=f"(default: {DEFAULTS['judge_max_tokens']})")
    group.add_argument("--judge-temperature", type=float, metavar="T", help="(default: 0)")


def _add_grid(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("candidates")
    for name, kind, example in (
        ("temperature", ranges.temperatures, "0.3,0.5,0.7,0.9,1.2"),
        ("top-p", ranges.top_ps, "0.5,0.7,0.9"),
        ("top-k", ranges.top_ks, "20,40,60,80"),
    ):
        group.add_argument(f"--{name}-range", type=kind, metavar="LIST", help=f"or start:stop:step (default: {example})")
    group.add_argument(
        "--num-candidates",
        type=positive,
        metavar="N",
        help=f"an image (default: {DEFAULTS['num_candidates']}; with --strategy grid all of the grid)",
    )
    group.add_argument(
        "--strategy",
        choices=get_args(Strategy),
        help="which prompts and parameters an image gets: drawn at random (default), in turn, or learnt from the scores so far",
    )
    group.add_argument("--score-threshold", type=ranges.score_threshold, metavar="S", help="0 to 100 (default: 80)")
    group.add_argument(
        "--stop-early", action="store_true", default=None, help="no further candidate once one reaches the threshold"
    )
    group.add_argument("--seed", type=int, help="seed of the run (default: 0)")
