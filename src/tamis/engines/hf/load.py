"""Load a causal language model and its tokenizer from a folder or from the hub, or say in one line why not."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils import logging

from tamis.engines.hf.masks import layer_kinds
from tamis.engines.hf.pictures import Pictures
from tamis.errors import EngineError, UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to decode."""

    model: PreTrainedModel
    tokenizer: Any
    device: torch.device
    context: int  # positions the model can hold, prompt and answer together
    eos_ids: frozenset[int]
    pictures: Pictures


def load(name: str, device: str, dtype: str, *, trust_remote_code: bool, kind: Any = None) -> Loaded:
    """Load model `name`, a local folder or a hub name, from safetensors only.

    `kind` is the class of transformers that knows such models by their configuration; None: one for models that write.

    Raises:
        UsageError: The device or the dtype does not exist.
        EngineError: No model is there, or it is not whole, or it is none that this engine can decode.
    """
    place = _device(device)
    if dtype != "auto" and dtype not in DTYPES:
        raise UsageError(f"dtype: no such type: {dtype}", f"Use auto or one of: {', '.join(DTYPES)}")
    check_folder(name)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # only the command line writes to the terminal
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
        model, info = (kind or _kind(name, trust_remote_code=trust_remote_code)).from_pretrained(
            name,
            dtype=DTYPES.get(dtype, "auto"),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    except Exception as error:  # whatever transformers, safetensors or the hub's client raise for a bad model
        raise EngineError(f"the model does not load: {name}: {first_line(error)}", "Check the name or the folder") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    if missing := sorted(info["missing_keys"] & dict(model.named_parameters()).keys()):  # they would be random numbers
        raise EngineError(
            f"the model {name} lacks weights of a {type(model).__name__}: {', '.join(missing[:4])}", "Check what was saved"
        )
    if dtype == "auto" and place.type == "cpu" and model.dtype == torch.float16:
        model = model.float()  # a CPU computes in half precision hundreds of times slower
    model = model.to(place).eval()
    layer_kinds(model.config.get_text_config())  # refuses what is no attention
    ends = end_ids(getattr(model, "generation_config", None), model.config.get_text_config(), tokenizer)
    pictures = Pictures(name, model, tokenizer, trust_remote_code=trust_remote_code)
    return Loaded(model, tokenizer, place, _context(model, tokenizer), ends, pictures)


def _kind(name: str, *, trust_remote_code: bool) -> Any:
    """The class for models that write: those that see as well have one of their own, unless both know them."""
    config = type(AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code))
    sees = config in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and config not in MODEL_FOR_CAUSAL_LM_MAPPING
    return AutoModelForImageTextToText if sees else AutoModelForCausalLM


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).tolist()  # a device that computes: `meta` does not
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device: {name} cannot be used here: {first_line(error)}", "Use auto, cpu or cuda") from error
    return device


def check_folder(name: str) -> None:
    """Refuse a path without a whole model; a name that is no path is left to the hub's client."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or "\\" in name or folder.exists():
            raise EngineError(f"no model folder at: {name}", "Give a folder with config.json, or a hub name like owner/model")
        return
    files = {path.name for path in folder.iterdir()}
    held = f"the folder holds: {', '.join(sorted(files)[:8]) or 'nothing'}"
    if "config.json" not in files:
        raise EngineError(f"no config.json in the model folder {name}; {held}", "Point at the folder that was saved")
    if not any(file.endswith((".safetensors", ".safetensors.index.json")) for file in files):
        raise EngineError(f"no *.safetensors in the model folder {name}; {held}", "Convert the weights: pickles are not loaded")
    if not any(file in files for file in TOKENIZER_FILES):
        raise EngineError(
            f"no tokenizer in the model folder {name} (looked for {', '.join(TOKENIZER_FILES)}); {held}",
            "Save the tokenizer beside the model: tokenizer.save_pretrained",
        )


def _context(model: PreTrainedModel, tokenizer: Any) -> int:
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if limit is None and tokenizer.model_max_length < 10**9:  # transformers writes 10**30 for "unknown"
        limit = tokenizer.model_max_length
    return int(limit) if limit else sys.maxsize


def end_ids(generation: Any, text_config: Any, tokenizer: Any) -> frozenset[int]:
    """What ends an answer: the end tokens that `generate` would use, and the tokenizer's."""
    of_generation = generation.eos_token_id if generation is not None else None
    ids = of_generation if of_generation is not None else text_config.eos_token_id
    found = {*(ids if isinstance(ids, list | tuple) else [ids]), tokenizer.eos_token_id}
    return frozenset(int(i) for i in found if i is not None)


def first_line(error: BaseException) -> str:
    """What an error says first, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
