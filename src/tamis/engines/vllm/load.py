"""A model in vLLM, in this process: its engine, its tokenizer, and what the loop must know of both."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.engines.folders import Adapter, check_folder, find_adapter, has_tokenizer, weights_files
from tamis.engines.hf.load import DTYPES, end_ids
from tamis.engines.prompt_limit import PromptLimit
from tamis.engines.vllm.adapter import rank_room
from tamis.errors import EngineError, UsageError, first_line

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
    limit: PromptLimit


def load(
    name: str,
    *,
    num_rows: int | None,
    device: str,
    dtype: str,
    tensor_parallel: int,
    eager: bool,
    trust_remote_code: bool,
    base_model: str | None = None,
    use_lora: bool | None = None,
    allow_pickle: bool = False,
    limit: PromptLimit = PromptLimit(),  # noqa: B008 - a frozen value
    engine_args: Mapping[str, Any] | None = None,
) -> Loaded:
    """Load a model, a local folder or a hub name, or a PEFT folder of a LoRA adapter over its base model.

    Raises:
        UsageError: The device or the dtype cannot be, or the folder does not hold what `use_lora` says.
        EngineError: No model is there, or vLLM does not take it.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise UsageError(f"dtype: no such type: {dtype}", f"Use auto or one of: {', '.join(DTYPES)}")
    lora = find_adapter(name, base_model=base_model, use_lora=use_lora)
    if use_lora and lora is None:
        raise EngineError(f"no LoRA adapter at: {name}", "Give the folder that PEFT saved")
    base = lora.base if lora else name
    check_folder(base, allow_pickle=allow_pickle)
    rank = rank_room(lora, allow_pickle=allow_pickle) if lora else None
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
        tokenizer, config, generation = _read_small_files(lora, base, trust_remote_code=trust_remote_code)
        arguments = {
            "model": base,
            "tokenizer": tokenizer.name_or_path,
            "dtype": _dtype(config, here) if dtype == "auto" else dtype,
            "max_model_len": -1,  # what the model knows and memory holds
            "max_num_seqs": rows,
            "tensor_parallel_size": tensor_parallel,
            "enforce_eager": eager or here == "cpu",
            "generation_config": "vllm",  # else the folder's sampling settings are applied silently
            "load_format": _load_format(base),
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
        adapter=LoRARequest("adapter", 1, str(lora.folder)) if lora else None,
        context=engine.vllm_config.model_config.max_model_len,
        end_ids=end_ids(generation, config.get_text_config(), tokenizer),
        num_rows=rows,
        device=here,
        in_process=tensor_parallel == 1,
        limit=limit,
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


def _load_format(base: str) -> str:
    """Pickles only where `check_folder` has let them pass."""
    folder = Path(base).expanduser()
    if not folder.is_dir():
        return "auto"
    return "safetensors" if any(".safetensors" in file for file in weights_files(folder)) else "pt"


def _read_small_files(lora: Adapter | None, base: str, *, trust_remote_code: bool) -> tuple[Any, Any, Any]:
    """Tokenizer (the adapter's own if it has one), configuration and generation settings; the last may be missing."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    own = str(lora.folder) if lora and has_tokenizer(lora.folder) else base
    tokenizer = AutoTokenizer.from_pretrained(own, trust_remote_code=trust_remote_code)
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
