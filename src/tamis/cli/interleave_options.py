"""The options of `tamis interleave` (source document s0), and the run that they ask for."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from tamis.bagel.settings import Guidance, Interleaving, Renorm, StopRule
from tamis.cli.options import positive, read_text
from tamis.errors import UsageError
from tamis.sources.interleaved import ImageOrder

if TYPE_CHECKING:
    from tamis.workflows.reasoning import Reasoning

OUTPUT_DIR = Path("output")
PUBLISHED_TEMPERATURE = 0.3
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_DEFAULT = Interleaving()
_GUIDANCE = Guidance()
_FLAGS = {
    "temperature": "--text-temperature",
    "max_tokens": "--max-tokens",
    "max_iterations": "--max-iterations",
    "num_steps": "--num-timesteps",
    "shift": "--timestep-shift",
    "text_scale": "--cfg-text-scale",
    "image_scale": "--cfg-img-scale",
    "interval": "--cfg-interval",
    "renorm_min": "--cfg-renorm-min",
    "size": "--image-size",
}
"""Settings that a user may get wrong, and what they are called here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The documented options, then those that go further."""
    _add_input(parser)
    _add_model(parser)
    _add_texts(parser)
    _add_pictures(parser)
    group = parser.add_argument_group("candidates")
    group.add_argument("-n", "--n", type=positive, default=1, metavar="N", help="candidates a problem (default: %(default)s)")
    group.add_argument(
        "--score",
        default="self-certainty",
        metavar="METHOD",
        help="which candidate is best: a score of the statistics of its text tokens (default: %(default)s)",
    )
    group.add_argument("--seed", type=int, default=42, help="seed of the run (default: %(default)s)")
    group = parser.add_argument_group("run")
    group.add_argument("--output-dir", type=Path, default=OUTPUT_DIR, help="where the run's folder goes (default: ./output)")
    group.add_argument("--resume", type=Path, metavar="DIR", help="go on with a run: the folder batch_inference_<time>")
    group.add_argument("--dry-run", action="store_true", help="check all rows and the checkpoint's files, draw nothing")


def _add_input(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("problems")
    group.add_argument(
        "--input-jsonl", type=Path, required=True, metavar="FILE", help="rows with Question and problem_image_1, ..."
    )
    group.add_argument("--start-idx", type=int, default=0, metavar="I", help="first row, from 0 (default: %(default)s)")
    group.add_argument("--end-idx", type=int, metavar="I", help="row before which to stop (default: the end)")
    group.add_argument("--limit", type=positive, metavar="N", help="only N rows")
    group.add_argument(
        "--image-order",
        choices=get_args(ImageOrder),
        default="inline",
        help="pictures where their placeholders are, or all after the text, as the published script has them "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--problem-image-vae",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="read the problem's pictures as latents too when a picture is drawn (default: no, as in training)",
    )
    group.add_argument(
        "--restrict-paths", action="store_true", help="read pictures only from the working directory and the input's folder"
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--checkpoint-dir",
        required=True,
        metavar="FOLDER",
        help="folder of a release, or embedded-interleave, the small model of the demo",
    )
    group.add_argument("--checkpoint-file", default="", metavar="NAME", help="its weights, where there are several files")
    group.add_argument("--batch-size", type=positive, default=_DEFAULT.batch_size, help="rows at a time (default: %(default)s)")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default: a GPU when there is one)")
    group.add_argument("--dtype", default="auto", help="float32 or bfloat16 (default: bfloat16 on a GPU)")
    group.add_argument("--vae-dtype", default="float32", help="numbers of the autoencoder (default: %(default)s)")
    group.add_argument(
        "--num-gpus",
        type=positive,
        default=1,
        metavar="N",
        help="a replica of the model on each of N GPUs; with --device cpu in N processes (default: %(default)s)",
    )
    group.add_argument(
        "--max-mem-per-gpu",
        type=memory,
        metavar="SIZE",
        help="what the model may take of a GPU, as 40GiB; layers beyond it stay in the memory of the host (default: any)",
    )


def _add_texts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("texts")
    group.add_argument("--do-sample", action="store_true", help="draw texts; without it the likeliest token is taken")
    group.add_argument(
        "--text-temperature", type=float, metavar="T", help=f"of --do-sample (default: {PUBLISHED_TEMPERATURE}, as published)"
    )
    group.add_argument(
        "--max-tokens", type=positive, default=_DEFAULT.max_tokens, help="tokens of one text (default: %(default)s)"
    )
    group.add_argument(
        "--max-iterations",
        type=int,
        default=_DEFAULT.max_iterations,
        metavar="N",
        help="pictures a row at most; a row that would draw more is truncated (default: %(default)s)",
    )
    group.add_argument(
        "--stop-rule",
        choices=get_args(StopRule),
        default=_DEFAULT.stop_rule,
        help="end at a text with a final answer, at the model's own sign that an answer follows, or at either "
        "(default: %(default)s)",
    )
    group.add_argument("--system-prompt", metavar="TEXT|@FILE", help="instead of the published one")


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures")
    group.add_argument("--num-timesteps", type=int, default=_DEFAULT.num_steps, help="points in time (default: %(default)s)")
    group.add_argument("--timestep-shift", type=float, default=_DEFAULT.shift, help="towards noise (default: %(default)s)")
    group.add_argument(
        "--cfg-text-scale", type=float, default=_GUIDANCE.text_scale, help="guidance by the last text (default: %(default)s)"
    )
    group.add_argument(
        "--cfg-img-scale", type=float, default=_GUIDANCE.image_scale, help="guidance by pictures (default: %(default)s)"
    )
    group.add_argument(
        "--cfg-interval", type=_pair, default=_GUIDANCE.interval, metavar="LOW,HIGH", help="times of guidance (default: 0,1)"
    )
    group.add_argument(
        "--cfg-renorm-type",
        choices=get_args(Renorm),
        default=_GUIDANCE.renorm,
        help="what guidance may not lengthen (default: %(default)s)",
    )
    group.add_argument(
        "--cfg-renorm-min", type=float, default=_GUIDANCE.renorm_min, help="how far it may shorten (default: %(default)s)"
    )
    group.add_argument(
        "--image-size",
        type=_size,
        metavar="WxH",
        help="where a row has no picture (default: 1024x1024, or what the model can draw)",
    )


def reasoning(options: argparse.Namespace) -> Reasoning:
    """The run that options ask for.

    Raises:
        UsageError: They cannot be.
    """
    from tamis.workflows.reasoning import Reasoning

    end = options.end_idx
    if options.limit:
        end = options.start_idx + options.limit if end is None else min(end, options.start_idx + options.limit)
    if not 0 <= options.seed < 2**63:
        raise UsageError(f"--seed is {options.seed}", "It must lie between 0 and 2^63 - 1")
    return Reasoning(
        input=options.input_jsonl,
        checkpoint=options.checkpoint_dir,
        weights=options.checkpoint_file,
        output_dir=options.output_dir,
        resume=options.resume,
        settings=_settings(options),
        order=options.image_order,
        is_restricted=options.restrict_paths,
        start=options.start_idx,
        end=end,
        n=options.n,
        method=options.score,
        seed=options.seed,
        device=options.device,
        dtype=options.dtype,
        autoencoder_dtype=options.vae_dtype,
        num_replicas=options.num_gpus,
        max_bytes=options.max_mem_per_gpu,
    )


def _settings(options: argparse.Namespace) -> Interleaving:
    prompt = options.system_prompt
    low, high = options.cfg_interval
    settings = Interleaving(
        system_prompt=_DEFAULT.system_prompt if prompt is None else read_text("--system-prompt", prompt),
        temperature=_temperature(options),
        max_tokens=options.max_tokens,
        max_iterations=options.max_iterations,
        stop_rule=options.stop_rule,
        num_steps=options.num_timesteps,
        shift=options.timestep_shift,
        guidance=Guidance(
            options.cfg_text_scale, options.cfg_img_scale, (low, high), options.cfg_renorm_type, options.cfg_renorm_min
        ),
        size=options.image_size,
        problem_latents=options.problem_image_vae,
        batch_size=options.batch_size,
    )
    settings.check(_FLAGS)
    return settings


def _temperature(options: argparse.Namespace) -> float:
    if not options.do_sample:
        return 0.0
    return PUBLISHED_TEMPERATURE if options.text_temperature is None else float(options.text_temperature)


def memory(text: str) -> int:
    """`40GiB` in bytes."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([KMG]i?B)?", text, re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[(found[2] or "").upper()]) if found else 0
    if size < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size of memory: write it as 40GiB")
    return size


def _pair(text: str) -> tuple[float, float]:
    low, _, high = text.partition(",")
    try:
        return float(low), float(high)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no pair of numbers: write it as 0.4,1") from None


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write it as 1024x768")
    return int(found[1]), int(found[2])
