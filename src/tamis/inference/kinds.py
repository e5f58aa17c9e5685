"""What the value of each setting must be, in words and as a check; and where a YAML file has it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tamis.engines import ENGINES

_MAX_SHOWN = 40  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value must be."""

    expected: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _or_none(kind: Kind) -> Kind:
    return Kind(f"{kind.expected}, or null", lambda value: value is None or kind.holds(value))


_TEXT = Kind("text that is not empty", lambda value: isinstance(value, str) and bool(value.strip()))
_FLAG = Kind("true or false", lambda value: isinstance(value, bool))
_COUNT = Kind("a whole number of 1 or more", lambda value: _is_whole(value, 1))
_TEXTS = Kind("a tuple of texts that are not empty", lambda value: isinstance(value, tuple) and all(map(_is_text, value)))
_RANK = _or_none(_COUNT)
_AMOUNT = _or_none(Kind("a number of 0 or more", lambda value: _is_number(value) and value >= 0))

KINDS: Mapping[str, Kind] = {
    "model_path": _TEXT,
    "base_model": _or_none(_TEXT),
    "use_lora": _FLAG,
    "lora_r": _RANK,
    "lora_alpha": _AMOUNT,
    "lora_dropout": _AMOUNT,
    "max_length": _COUNT,
    "max_new_tokens": _COUNT,
    "temperature": Kind("a number of 0 (greedy) or more", lambda value: _is_number(value) and value >= 0),
    "top_p": Kind("a number above 0 and at most 1", lambda value: _is_number(value) and 0 < value <= 1),
    "top_k": Kind("a whole number of 0 (off) or more", lambda value: _is_whole(value, 0)),
    "min_p": Kind("a number of 0 (off) or more and below 1", lambda value: _is_number(value) and 0 <= value < 1),
    "num_return_sequences": _COUNT,
    "device": _TEXT,
    "dataset_name": _TEXT,
    "split": _TEXT,
    "max_samples": Kind("a whole number of 1 or more, or null for all", lambda value: value is None or _is_whole(value, 1)),
    "results_path": _TEXT,
    "save_detailed_log": _FLAG,
    "log_path": _TEXT,
    "batch_size": Kind("a whole number of 1 or more, or auto", lambda value: value == "auto" or _is_whole(value, 1)),
    "gradient_checkpointing": _FLAG,
    "fp16": Kind("true or false", lambda value: value is None or isinstance(value, bool)),
    "engine": Kind(f"one of {', '.join(ENGINES)}", lambda value: value in ENGINES),
    "seed": Kind("a whole number between 0 and 2^63 - 1", lambda value: _is_whole(value, 0) and value < 2**63),
    "truncate": _FLAG,
    "allow_pickle": _FLAG,
    "tensor_parallel": _COUNT,
    "base_urls": _TEXTS,
    "dtype": _TEXT,
    "stop": _TEXTS,
}
"""By the name of the field of `InferenceConfig`; fields that are not here come from code alone."""

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "model": {name: name for name in ("model_path", "base_model", "use_lora", "engine", "allow_pickle")},
    "model.lora": {"r": "lora_r", "alpha": "lora_alpha", "dropout": "lora_dropout"},
    "inference": {
        name: name
        for name in (
            "max_length",
            "max_new_tokens",
            "temperature",
            "top_p",
            "top_k",
            "num_return_sequences",
            "device",
            "seed",
            "truncate",
        )
    },
    "evaluation": {name: name for name in ("dataset_name", "split", "max_samples")},
    "output": {name: name for name in ("results_path", "save_detailed_log", "log_path")},
    "optimization": {name: name for name in ("batch_size", "gradient_checkpointing", "fp16")},
}
"""The sections of the file: each key and the field that it sets. A dot is a section in a section."""


def complaint(name: str, value: Any, kind: Kind) -> str:
    """What is wrong with a value, in words."""
    shown = repr(value) if isinstance(value, str | int | float) or value is None else f"a {type(value).__name__}"
    shown = {"None": "null", "True": "true", "False": "false"}.get(shown, shown)
    shown = shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}..."
    return f"{name} is {shown}, expected {kind.expected}"
