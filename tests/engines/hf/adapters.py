"""LoRA adapters of tiny models, as PEFT saves them, and what PEFT makes of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM


@contextmanager
def _quiet() -> Iterator[None]:
    """PEFT warns of what is wanted here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


IDS = torch.arange(4, 40)[None]


@_quiet()
def save_adapter(folder: Path, base: Path, **settings: Any) -> Path:
    """An adapter with random changes; the settings are those of `LoraConfig`."""
    torch.manual_seed(5)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"} | settings
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**settings))
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.requires_grad:
                tensor.add_(torch.randn_like(tensor) * 0.2)
    model.save_pretrained(folder)
    return folder


@_quiet()
def peft_logits(folder: Path, base: Path, dtype: torch.dtype = torch.float32) -> Tensor:
    """The logits that PEFT computes with the adapter beside the base, not merged."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, folder).to(dtype)
    with torch.inference_mode():
        return model(input_ids=IDS).logits[0].float()


def logits(model: Any) -> Tensor:
    """Those of a model."""
    with torch.inference_mode():
        return model(input_ids=IDS).logits[0].float()


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Change the tensors of an adapter."""
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def configure(folder: Path, **settings: Any) -> None:
    """Change the configuration of an adapter."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
