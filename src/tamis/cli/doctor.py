"""`tamis doctor`: what works on this machine, and what to install for the rest."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import sys
from contextlib import suppress

EXAMPLE = "tamis doctor"

_EXTRAS = {
    "hf": (("torch", "transformers", "safetensors", "peft"), "local models with transformers; the demo"),
    "bagel": (("torch", "safetensors", "tokenizers", "pillow", "accelerate"), "tamis interleave"),
    "metrics": (("sacrebleu", "scikit-image"), "tamis interleave-evaluate"),
    "vllm": (("vllm",), "local models with vLLM"),
    "summarise": (("fastokens", "tokenizers", "polars"), "tamis summarise"),
    "serve": (("fastapi", "uvicorn", "prometheus_client"), "tamis serve"),
    "ray": (("ray",), "--on ray: several machines"),
    "data": (("datasets", "pyarrow", "zstandard"), "hub datasets, Parquet, .zst files"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`doctor` has no options."""
    del parser


def run(options: argparse.Namespace) -> int:
    """Print one line a thing checked; exit 0 even where an extra is missing: that is information, not failure."""
    del options
    print(f"tamis     {importlib.metadata.version('tamis')}, Python {platform.python_version()}, {platform.platform()}")
    print(f"machine   {os.cpu_count()} cores, {_memory()}")
    for extra, (packages, purpose) in _EXTRAS.items():
        versions = {name: _version(name) for name in packages}
        missing = [name for name, version in versions.items() if not version]
        if missing:
            print(f"{extra:<9} missing: {', '.join(missing)} ({purpose}); run: pip install 'tamis[{extra}]'")
        else:
            there = ", ".join(f"{name} {version}" for name, version in versions.items())
            print(f"{extra:<9} ok: {there} ({purpose})")
    print(f"device    {_device()}")
    print(f"grading   {_grading()}")
    print(f"embedded  {_embedded()}")
    return 0


def _version(package: str) -> str | None:
    for name in (package, f"{package}-cpu"):  # vLLM's build for CPUs goes by another name
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
    except (ValueError, OSError):
        return "memory unknown"


def _device() -> str:
    if importlib.util.find_spec("torch") is None:
        return "no torch: models cannot run in this process"
    import torch

    if not torch.cuda.is_available():
        return f"cpu ({torch.get_num_threads()} threads)"
    properties = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return ", ".join(f"cuda:{i} {p.name} {p.total_memory / 2**30:.0f} GiB" for i, p in enumerate(properties))


def _grading() -> str:
    from tamis.grade import Grader

    with Grader(num_workers=1) as grader:
        (verdict,) = grader.verify_many([(r"\sin^2 x", r"1 - \cos^2 x")])
    state = "ok" if verdict.equal and verdict.decided_by == "symbolic" else "broken"
    return f"{state}: sin^2 x = 1 - cos^2 x is {verdict.equal}, decided by: {verdict.decided_by}"


def _embedded() -> str:
    from tamis.demo import MODEL_FOLDER

    weights = MODEL_FOLDER / "model.safetensors"
    if not weights.is_file():
        print("tamis: the embedded model is missing from the installation", file=sys.stderr)
        return f"missing: {weights}"
    return f"ok: {weights.stat().st_size / 1e6:.1f} MB of weights in {MODEL_FOLDER}"
