"""A model in vLLM, in this process: its engine, its tokenizer, and what the loop must know of both."""

from __future__ import annotations

import gc
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.engines.hf.load import DTYPES, TOKENIZER_FILES, check_folder, end_ids, first_line
from tamis.errors import EngineError, UsageError

_ADAPTER_FILE = "adapter_config.json"
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # vLLM's own
_CPU_ROWS, _GPU_ROWS = 64, 256
_CACHE_GIB = 2
_SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process: it starts in a third of the time
    "VLLM_LOGGING_LEVEL": "ERROR",  # only the command line writes to the terminal
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
RUNNING = threading.Lock()
"""Held for a step, and while a model comes or goes: what runs, vLLM keeps in globals of the process."""
_engines: list[Any] = []  # that are open


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to draw."""

    engine: Any  # vllm.v1.engine.llm_engine.LLMEngine
    tokenizer: Any
    adapter: Any | None  # vllm.lora.request.LoRARequest
    context: int  # positions that prompt and answer together may take
    end_ids: frozenset[int]
    num_rows: int  # sequences decoded together, at most
    device: str
    in_process: bool  # the model's worker is not a process of its own


def load(
    name: str,
    *,
    num_rows: int | None,
    device: str,
    dtype: str,
    tensor_parallel: int,
    eager: bool,
    trust_remote_code: bool,
    engine_args: Mapping[str, Any] | None = None,
) -> Loaded:
    """Load a model, a local folder or a hub name, or a PEFT folder of a LoRA adapter over its base model.

    Raises:
        UsageError: The device or the dtype cannot be.
        EngineError: No model is there, or vLLM does not take it.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise UsageError(f"dtype: no such type: {dtype}", f"Use auto or one of: {', '.join(DTYPES)}")
    base, rank = _base_of(name)
    check_folder(base)
    for variable, value in _SETTINGS.items():
        os.environ.setdefault(variable, value)
    from vllm import EngineArgs
    from vllm.lora.request import LoRARequest
    from vllm.platforms import current_platform
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.llm_engine import LLMEngine

    here = current_platform.device_type
    if device not in ("auto", here):
        raise UsageError(f"device: this vLLM runs on {here}, not on {device}", "Choose a GPU by CUDA_VISIBLE_DEVICES")
    if eager and here != "cpu":
        raise UsageError("the vllm engine takes hidden states on a CPU only", "Use --engine hf for the chain of embedding")
    if here == "cpu":  # unless told, vLLM wants nearly all memory that is free
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(_CACHE_GIB))
    rows = num_rows or (_CPU_ROWS if here == "cpu" else _GPU_ROWS)
    adapter = {} if rank is None else {"enable_lora": True, "max_lora_rank": rank, "max_loras": 1}
    try:
        tokenizer, config, generation = _read_small_files(name, base, trust_remote_code=trust_remote_code)
        arguments = {
            "model": base,
            "tokenizer": tokenizer.name_or_path,
            "dtype": _dtype(config, here) if dtype == "auto" else dtype,
            "max_model_len": -1,  # what the model knows and memory holds
            "max_num_seqs": rows,
            "tensor_parallel_size": tensor_parallel,
            "enforce_eager": eager or here == "cpu",
            "generation_config": "vllm",  # else the folder's sampling settings are applied silently
            "load_format": "safetensors" if Path(base).is_dir() else "auto",
            "use_tqdm_on_load": False,
            "disable_log_stats": True,
            "trust_remote_code": trust_remote_code,
            "worker_extension_cls": "tamis.engines.vllm.worker.Extension",
            **adapter,
            **(engine_args or {}),
        }
        with RUNNING:
            engine = LLMEngine.from_engine_args(EngineArgs(**arguments), usage_context=UsageContext.LLM_CLASS)
            _engines.append(engine)
    except Exception as error:  # whatever vLLM, transformers or the hub's client raise for a bad model
        raise EngineError(f"the model does not load: {name}: {_reason(error)}", "Check the name or the folder") from error
    return Loaded(
        engine=engine,
        tokenizer=tokenizer,
        adapter=None if rank is None else LoRARequest("adapter", 1, str(Path(name).expanduser())),
        context=engine.vllm_config.model_config.max_model_len,
        end_ids=end_ids(generation, config.get_text_config(), tokenizer),
        num_rows=rows,
        device=here,
        in_process=tensor_parallel == 1,
    )


def unload(loaded: Loaded) -> None:
    """Free a model; what all models of the process share, with the last of them."""
    with RUNNING:
        _engines.remove(loaded.engine)
        core = loaded.engine.engine_core
        if _engines:
            core._finalizer.detach()
            core.engine_core.model_executor.shutdown()
            gc.unfreeze()  # vLLM freezes what it has at its start
        else:
            core.shutdown()


def _base_of(name: str) -> tuple[str, int | None]:
    """The model itself and None; of an adapter's folder its base model, and room for its rank."""
    path = Path(name).expanduser() / _ADAPTER_FILE
    if not path.is_file():
        return name, None
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        base, rank = str(row["base_model_name_or_path"]), int(row["r"])
        return base, next(room for room in _RANKS if room >= rank)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        wanted = "a base_model_name_or_path and a rank r of at most 512"
        raise EngineError(f"no adapter can be read from {path}: {first_line(error)}", f"It must hold {wanted}") from error


def _read_small_files(name: str, base: str, *, trust_remote_code: bool) -> tuple[Any, Any, Any]:
    """Tokenizer (the adapter's own if it has one), configuration and generation settings; the last may be missing."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    own = any((Path(name).expanduser() / file).is_file() for file in TOKENIZER_FILES)
    tokenizer = AutoTokenizer.from_pretrained(name if own else base, trust_remote_code=trust_remote_code)
    config = AutoConfig.from_pretrained(base, trust_remote_code=trust_remote_code)
    try:
        return tokenizer, config, GenerationConfig.from_pretrained(base)
    except OSError:
        return tokenizer, config, None


def _dtype(config: Any, device: str) -> str:
    """The checkpoint's own; vLLM would halve fp32. A CPU computes in half precision hundreds of times slower."""
    found = config.get_text_config().dtype or config.dtype
    own = str(found).removeprefix("torch.")
    return own if own in DTYPES and not (own == "float16" and device == "cpu") else "float32"


def _reason(error: Exception) -> str:
    """What vLLM says; its checks of settings hide that behind a heading."""
    errors = getattr(error, "errors", None)
    if callable(errors) and (found := errors()):
        return first_line(ValueError(found[0].get("msg", str(error))))
    return first_line(error)
