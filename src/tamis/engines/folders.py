"""What a model's folder holds, without loading it: whole models in their formats, and LoRA adapters as PEFT saves them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import EngineError, UsageError

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS, ADAPTER_PICKLE = "adapter_model.safetensors", "adapter_model.bin"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter and the model that it belongs to."""

    folder: Path
    base: str  # as it is to be loaded: a folder or a hub name
    config: Mapping[str, Any]


def find_adapter(model: str, *, base_model: str | None = None, use_lora: bool | None = None) -> Adapter | None:
    """The adapter in a folder; None where it holds a whole model, or is no folder.

    `base_model` stands before the base that the adapter itself names. `use_lora` says what there must be; None: what is there.

    Raises:
        UsageError: The folder does not hold what `use_lora` says, or holds both and nothing says which is meant.
        EngineError: The adapter's configuration cannot be read, or the base that it names is not there.
    """
    folder = Path(model).expanduser()
    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    is_whole = folder.is_dir() and bool(weights_files(folder))
    if use_lora is False:
        if is_adapter and not is_whole:
            raise UsageError(
                f"{model} holds a LoRA adapter and no whole model, and use_lora is false",
                "Give the merged model, or leave use_lora: false (--no-lora) out",
            )
        return None
    if not is_adapter:
        if use_lora and folder.is_dir():
            raise UsageError(
                f"use_lora is true, and there is no {ADAPTER_CONFIG} in {model}; {held(folder)}",
                "Give the folder that PEFT saved, or set use_lora: false for a merged model",
            )
        return None
    if is_whole and use_lora is None and base_model is None:
        raise UsageError(
            f"{model} holds both a whole model and a LoRA adapter",
            "Give --base-model for the adapter over that base, or --no-lora for the whole model",
        )
    config = _read_config(folder)
    return Adapter(folder, _find_base(folder, base_model or config.get("base_model_name_or_path")), config)


def adapter_base(model: str | Path) -> str | None:
    """The base model that the adapter in a folder names; None where it names none, or more or less than an adapter is there.

    Raises:
        EngineError: The adapter's configuration cannot be read.
    """
    folder = Path(model).expanduser()
    is_adapter = (folder / ADAPTER_CONFIG).is_file() and not weights_files(folder)
    base = _read_config(folder).get("base_model_name_or_path") if is_adapter else None
    return str(base) if base else None


def check_lora(model: str | Path, *, r: int | None = None, alpha: float | None = None) -> None:
    """Make sure that an adapter is the one that a configuration describes; what is None is not compared.

    Raises:
        UsageError: Rank or alpha is another.
        EngineError: The adapter's configuration cannot be read.
    """
    config = _read_config(Path(model).expanduser())
    for name, expected, found in (("r", r, config.get("r")), ("alpha", alpha, config.get("lora_alpha"))):
        if expected is not None and expected != found:
            raise UsageError(
                f"lora.{name} is {expected}, and the adapter in {model} was trained with {found}",
                f"Set lora.{name} to {found}, or give the adapter that was meant",
            )


def check_folder(name: str, *, allow_pickle: bool = False) -> None:
    """Refuse a path without a whole model; a name that is no path is left to the hub's client.

    Raises:
        EngineError: One line that says what was looked for and what is there.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if is_path(name) or folder.exists():
            raise EngineError(
                f"no model folder at: {name}{beside(name)}", "Give a folder with config.json, or a hub name like owner/model"
            )
        return
    files = {path.name for path in folder.iterdir()}
    if "config.json" not in files:
        raise EngineError(f"no config.json in the model folder {name}; {held(folder)}", "Point at the folder that was saved")
    weights = weights_files(folder)
    if not any(".safetensors" in file for file in weights) and not (weights and allow_pickle):
        advice = "Convert them, or add --allow-pickle" if weights else "Point at the folder that was saved"
        raise EngineError(f"no *.safetensors in the model folder {name}; {held(folder)}", advice)
    for file in weights:
        if file.endswith(".index.json"):
            shards(folder / file)
    if not has_tokenizer(folder):
        raise EngineError(
            f"no tokenizer in the model folder {name} (looked for {', '.join(TOKENIZER_FILES)}); {held(folder)}",
            "Save the tokenizer beside the model: tokenizer.save_pretrained",
        )


def weights_files(folder: Path) -> list[str]:
    """The files with a whole model's weights, and their indexes, by name: safetensors, or pickles where there are none."""
    names = sorted(path.name for path in folder.iterdir() if path.name not in (ADAPTER_WEIGHTS, ADAPTER_PICKLE))
    found = [name for name in names if name.endswith((".safetensors", ".safetensors.index.json"))]
    return found or [name for name in names if name.startswith("pytorch_model") and name.endswith((".bin", ".bin.index.json"))]


def shards(index: Path, *, may_be_stale: bool = False) -> list[Path]:
    """The files that an index of weights names; none where it may be another model's, and none of them is there.

    Raises:
        EngineError: It cannot be read, or names what is not there, or lies in another folder.
    """
    try:
        named = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        strange = [name for name in named if Path(name).name != name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EngineError(f"the index cannot be read: {index}: {error!r}", "Copy the folder again") from error
    if strange:
        raise EngineError(f"the index names what are no files of its folder: {index}: {strange[0]!r}", "Copy the folder again")
    missing = [name for name in named if not (index.parent / name).is_file()]
    if may_be_stale and missing == named:
        return []
    if missing:
        raise EngineError(
            f"{len(missing)} of {len(named)} parts of the model are not in {index.parent}: {', '.join(missing[:4])} "
            f"(named by {index.name})",
            "Copy the folder again",
        )
    return [index.parent / name for name in named]


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer lies in a folder."""
    return any((folder / file).is_file() for file in TOKENIZER_FILES)


def held(folder: Path) -> str:
    """What a folder holds, for a message."""
    return f"the folder holds: {', '.join(sorted(path.name for path in folder.iterdir())[:8]) or 'nothing'}"


def beside(name: str) -> str:
    """What lies where a folder was looked for, for a message; nothing where that is nowhere either."""
    parent = Path(name).expanduser().absolute().parent
    if not parent.is_dir():
        return ""
    found = sorted(path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    return f" (folders in {parent}: {', '.join(found[:8]) or 'none'}{', ...' if len(found) > 8 else ''})"


def is_path(name: str) -> bool:
    """Whether a name can be no hub name."""
    return Path(name).is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or "\\" in name


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / ADAPTER_CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"no adapter can be read from {path}: {error}", "Copy the adapter again") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA" or not isinstance(config.get("r"), int):
        found = config.get("peft_type") if isinstance(config, dict) else None
        raise EngineError(
            f"no adapter can be read from {path}: it is no LoRA adapter with a rank r (peft_type: {found})",
            "Merge another kind of adapter with PEFT and give the merged model",
        )
    return config


def _find_base(folder: Path, name: Any) -> str:
    """The base by its name: a path as it stands or relative to the adapter, else a hub name."""
    if not name:
        raise EngineError(f"the adapter in {folder} names no base model", "Give it: --base-model FOLDER|NAME")
    places = (Path(str(name)).expanduser(), folder / str(name))
    found = next((str(place) for place in places if place.is_dir()), str(name))
    if Path(found).is_dir():
        if (Path(found) / ADAPTER_CONFIG).is_file() and not weights_files(Path(found)):
            raise EngineError(
                f"the base model of the adapter in {folder} is an adapter itself: {found}", "Merge that one first"
            )
    elif is_path(found):
        looked = " and ".join(str(place) for place in dict.fromkeys(places))
        raise EngineError(
            f"the base model of the adapter in {folder} is not there (looked at {looked})",
            "Give it: --base-model FOLDER|NAME",
        )
    return found
