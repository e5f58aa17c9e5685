"""A LoRA adapter merged into its base model, or one line that says why the two do not fit.

Merged, so that a step costs what it costs without an adapter, and the bits do not depend on the batch. Each layer is merged in
fp32 and rounded once to the model's numbers.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import cached_file

from tamis.engines.folders import ADAPTER_CONFIG, ADAPTER_PICKLE, ADAPTER_WEIGHTS, Adapter, held, is_path
from tamis.errors import EngineError, MissingExtra, first_line

_PREFIX = "base_model.model."  # PEFT's, before the name of a module
_NAMED = 3  # things that a message names at most

Shapes = Mapping[str, tuple[int, ...]]


def fetch_adapter(name: str) -> str:
    """The folder of an adapter of the hub; any other name as it stands."""
    if is_path(name) or Path(name).is_dir():
        return name
    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    try:
        config = cached_file(name, ADAPTER_CONFIG, _raise_exceptions_for_gated_repo=False, **quiet)
        if config is None:
            return name
        for file in (ADAPTER_WEIGHTS, ADAPTER_PICKLE):
            if cached_file(name, file, **quiet) is not None:
                break
    except (OSError, ValueError):  # whoever loads the model says what is wrong with the name
        return name
    return str(Path(config).parent)


@torch.no_grad()
def merge(model: PreTrainedModel, adapter: Adapter, *, allow_pickle: bool = False) -> PreTrainedModel:
    """The model with the adapter's changes in its weights.

    Raises:
        MissingExtra: PEFT is not installed.
        EngineError: The adapter is not whole, or does not fit this model, or changes nothing.
    """
    if importlib.util.find_spec("peft") is None:
        raise MissingExtra("a LoRA adapter", "hf")
    from peft import LoraConfig, PeftConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from peft.tuners.tuners_utils import BaseTunerLayer

    weights = read_weights(adapter, allow_pickle=allow_pickle)
    targets = adapter.config.get("target_modules")
    _check_targets(adapter, targets if isinstance(targets, list) else [], [name for name, _ in model.named_modules()])
    base_shapes = {f"{_PREFIX}{name}": shape for name, shape in _shapes(model.state_dict()).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tied weights, which are untied below, and of renamed models
        try:
            config = PeftConfig.from_pretrained(str(adapter.folder))
            assert isinstance(config, LoraConfig)
            config.base_model_name_or_path = None
            config.inference_mode = True
            wrapped: Any = get_peft_model(model, config)
        except Exception as error:  # whatever PEFT raises for settings that cannot be
            raise _misfit(adapter, first_line(error)) from error
        expected = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
        _compare(adapter, _shapes(weights), _shapes(expected), {**base_shapes, **_shapes(wrapped.state_dict())})
        set_peft_model_state_dict(wrapped, weights)
        for name, layer in wrapped.named_modules():
            if isinstance(layer, BaseTunerLayer):
                try:
                    _merge_layer(layer)
                except Exception as error:  # values that are no numbers, and whatever PEFT does not merge
                    line = f"the adapter in {adapter.folder} cannot be merged: {name}: {first_line(error)}"
                    raise EngineError(line, "Train it again, or merge it with PEFT and give the merged model") from error
        merged: PreTrainedModel = wrapped.base_model.unload()
    return merged


def read_weights(adapter: Adapter, *, allow_pickle: bool) -> dict[str, Tensor]:
    """The adapter's tensors.

    Raises:
        EngineError: There are none, or they cannot be read, or they are a pickle, or all changes are zero.
    """
    path, pickle = adapter.folder / ADAPTER_WEIGHTS, adapter.folder / ADAPTER_PICKLE
    if not path.is_file() and not (pickle.is_file() and allow_pickle):
        advice = "Convert it, or add --allow-pickle" if pickle.is_file() else "Copy the adapter again"
        raise EngineError(f"no {ADAPTER_WEIGHTS} in {adapter.folder}; {held(adapter.folder)}", advice)
    try:
        if path.is_file():
            weights = load_file(path)
        else:
            path = pickle
            weights = torch.load(path, map_location="cpu", weights_only=True)
        changes = [tensor for name, tensor in weights.items() if ".lora_B." in name or ".lora_embedding_B" in name]
        is_empty = not any(bool(tensor.any()) for tensor in changes)
    except Exception as error:  # whatever safetensors or torch raise for a bad file, or for what it holds instead of tensors
        raise EngineError(f"the adapter does not load: {path}: {first_line(error)}", "Copy the adapter again") from error
    if is_empty:
        what = "all its lora_B are zero" if changes else "it holds no lora_B"
        raise EngineError(f"the adapter in {adapter.folder} changes nothing: {what}", "Give a trained one, or the base itself")
    return weights


def _merge_layer(layer: Any) -> None:
    own = layer.get_base_layer()
    dtype = own.weight.dtype
    # A tensor of its own: what is tied to another layer must not be changed with it
    own.weight = torch.nn.Parameter(own.weight.float().clone(), requires_grad=False)
    layer.merge(safe_merge=True)
    own.weight = torch.nn.Parameter(own.weight.to(dtype), requires_grad=False)


def _check_targets(adapter: Adapter, targets: list[str], modules: list[str]) -> None:
    """PEFT itself minds only when the base has none of them."""
    lacking = sorted(t for t in targets if not any(name == t or name.endswith(f".{t}") for name in modules))
    if lacking:
        raise _misfit(adapter, f"the base has no {_some(lacking)}")


def _compare(adapter: Adapter, found: Shapes, expected: Shapes, base: Shapes) -> None:
    """The tensors of the file against those that configuration and base ask for."""
    # Beside an adapter PEFT may save the base's own embedding
    if foreign := sorted(found.keys() - expected.keys() - base.keys()):
        raise _misfit(adapter, f"the base has no place for {len(foreign)} of its tensors: {_some(foreign)}")
    if lacking := sorted(expected.keys() - found.keys()):
        raise EngineError(
            f"the adapter in {adapter.folder} lacks {len(lacking)} of the {len(expected)} tensors that its {ADAPTER_CONFIG} "
            f"asks for over the base {adapter.base}: {_some(lacking)}",
            "Copy the adapter again, or give its own base: --base-model",
        )
    for name, shape in sorted(found.items()):
        wanted = expected.get(name) or base[name]
        if shape == wanted:
            continue
        axis = 0 if ".lora_A." in name else 1 if ".lora_B." in name else None
        if axis is not None and shape[1 - axis] == wanted[1 - axis] and shape[axis] != wanted[axis]:
            raise EngineError(
                f"the adapter in {adapter.folder} has rank {shape[axis]} in {name}, and {wanted[axis]} by its {ADAPTER_CONFIG}",
                "Both must be of one training: copy the adapter again",
            )
        raise _misfit(adapter, f"{name} is {_size(shape)}, the base needs {_size(wanted)}")


def _misfit(adapter: Adapter, what: str) -> EngineError:
    return EngineError(
        f"the adapter in {adapter.folder} does not fit the base model {adapter.base}: {what}",
        "Give the base that it was trained on: --base-model FOLDER|NAME",
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
