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

from tamis.engines.device import find_device
from tamis.engines.folders import beside, check_folder, find_adapter, has_tokenizer
from tamis.engines.hf.adapter import fetch_adapter, merge
from tamis.engines.hf.masks import layer_kinds
from tamis.engines.hf.pictures import Pictures
from tamis.engines.prompt_limit import PromptLimit
from tamis.errors import EngineError, UsageError, first_line

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Where transformers looks for an adapter beside the weights: here, never by itself
_NO_ADAPTER = {"adapter_kwargs": {"subfolder": "none"}}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to decode."""

    model: PreTrainedModel
    tokenizer: Any
    device: torch.device
    context: int  # positions the model can hold, prompt and answer together
    eos_ids: frozenset[int]
    pictures: Pictures
    base: str | None  # of a merged adapter: the model that it was merged into
    limit: PromptLimit


def load(
    name: str,
    device: str,
    dtype: str,
    *,
    trust_remote_code: bool,
    kind: Any = None,
    base_model: str | None = None,
    use_lora: bool | None = None,
    allow_pickle: bool = False,
    limit: PromptLimit = PromptLimit(),  # noqa: B008 - a frozen value
) -> Loaded:
    """Load model `name`, a local folder or a hub name; of a LoRA adapter its base, with the adapter merged.

    `kind` is the class of transformers that knows such models by their configuration; None: one for models that write.
    The other options are those of `HFEngine`.

    Raises:
        UsageError: The device or the dtype does not exist, or the folder does not hold what `use_lora` says.
        MissingExtra: PEFT is not installed, and the model is an adapter.
        EngineError: No model is there, or it is not whole, or it is none that this engine can decode.
    """
    place = find_device(device)
    if dtype != "auto" and dtype not in DTYPES:
        raise UsageError(f"dtype: no such type: {dtype}", f"Use auto or one of: {', '.join(DTYPES)}")
    if use_lora is not False:
        name = fetch_adapter(name)
    adapter = find_adapter(name, base_model=base_model, use_lora=use_lora)
    if use_lora and adapter is None and not Path(name).expanduser().exists():
        raise EngineError(f"no LoRA adapter at: {name}", "Give the folder that PEFT saved, or the adapter's name on the hub")
    whole = adapter.base if adapter else name
    check_folder(whole, allow_pickle=allow_pickle)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # only the command line writes to the terminal
    try:
        own = (
            adapter.folder if adapter and has_tokenizer(adapter.folder) else whole
        )  # an adapter may bring a chat template of its own
        tokenizer = AutoTokenizer.from_pretrained(str(own), trust_remote_code=trust_remote_code)
        model, info = (kind or _kind(whole, trust_remote_code=trust_remote_code)).from_pretrained(
            whole,
            dtype=DTYPES.get(dtype, "auto"),
            use_safetensors=None if allow_pickle else True,  # None: pickles where there is nothing else
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            **_NO_ADAPTER,
        )
    except Exception as error:  # whatever transformers, safetensors or the hub's client raise for a bad model
        is_here = Path(whole).expanduser().is_dir()
        where = whole if is_here else f"there is no folder {whole}{beside(whole)}, and of the hub"
        raise EngineError(f"the model does not load: {where}: {first_line(error)}", "Check the name or the folder") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    if missing := sorted(info["missing_keys"] & dict(model.named_parameters()).keys()):  # they would be random numbers
        raise EngineError(
            f"the model {whole} lacks weights of a {type(model).__name__}: {', '.join(missing[:4])}", "Check what was saved"
        )
    if dtype == "auto" and place.type == "cpu" and model.dtype == torch.float16:
        model = model.float()  # a CPU computes in half precision hundreds of times slower
    if adapter:
        model = merge(model, adapter, allow_pickle=allow_pickle)
    model = model.to(place).eval()
    layer_kinds(model.config.get_text_config())  # refuses what is no attention
    ends = end_ids(getattr(model, "generation_config", None), model.config.get_text_config(), tokenizer)
    pictures = Pictures(whole, model, tokenizer, trust_remote_code=trust_remote_code)
    context = _context(model, tokenizer)
    return Loaded(model, tokenizer, place, context, ends, pictures, whole if adapter else None, limit)


def _kind(name: str, *, trust_remote_code: bool) -> Any:
    """The class for models that write: those that see as well have one of their own, unless both know them."""
    config = type(AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code))
    sees = config in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and config not in MODEL_FOR_CAUSAL_LM_MAPPING
    return AutoModelForImageTextToText if sees else AutoModelForCausalLM


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
