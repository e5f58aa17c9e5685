"""Models behind one protocol (`base`): one module an engine, imported only when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from tamis.errors import UsageError

if TYPE_CHECKING:
    from tamis.engines.base import Engine

ENGINES = ("hf", "vllm", "http", "scripted")


def open_engine(
    name: str,
    model: str,
    *,
    batch_size: int | Literal["auto"] = "auto",
    device: str = "auto",
    dtype: str = "auto",
    token_stats: bool = True,
    hidden_states: bool = False,
    trust_remote_code: bool = False,
    base_model: str | None = None,
    use_lora: bool | None = None,
    allow_pickle: bool = False,
    max_prompt_tokens: int | None = None,
    truncate: bool = False,
    base_urls: Sequence[str] = (),
    api_key: str | None = None,
    max_rps: float | None = None,
    tensor_parallel: int = 1,
) -> Engine:
    """The engine `name` over `model`: a folder or hub name for `hf` and `vllm`, a JSON file of answers for `scripted`.

    What is said of an adapter, pickles and the length of prompts is as of `HFEngine`; no other engine but `vllm` takes it.

    For `http` it is the model's name on the servers `base_urls` (none: OPENAI_BASE_URL), which are asked for at most
    `batch_size` answers at once each (auto: 64) under `api_key` (None: OPENAI_API_KEY),
    and `max_rps` times a second together (None: no limit).

    Raises:
        UsageError: there is no engine of that name, or it cannot do what is asked.
        MissingExtra: its packages are not installed.
        EngineError: the model does not load.
    """
    local: dict[str, Any] = {
        "base_model": base_model,
        "use_lora": use_lora,
        "allow_pickle": allow_pickle,
        "max_prompt_tokens": max_prompt_tokens,
        "truncate": truncate,
    }
    if name in ("http", "scripted") and (given := [option for option, value in local.items() if value]):
        raise UsageError(
            f"the {name} engine takes no {', '.join(given)}", "Leave it out: models and their limits are the server's own"
        )
    if name == "hf":
        from tamis.engines.hf import HFEngine

        return HFEngine(
            model,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            token_stats=token_stats,
            hidden_states=hidden_states,
            trust_remote_code=trust_remote_code,
            **local,
        )
    if name == "vllm":
        from tamis.engines.vllm.engine import VLLMEngine

        return VLLMEngine(
            model,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            token_stats=token_stats,
            hidden_states=hidden_states,
            tensor_parallel=tensor_parallel,
            trust_remote_code=trust_remote_code,
            **local,
        )
    if name == "http":
        if hidden_states:
            raise UsageError("servers give no hidden states", "Use --engine hf for the chain of embedding")
        from tamis.engines.http import HTTPEngine

        concurrency = 64 if batch_size == "auto" else batch_size
        return HTTPEngine(
            model, base_urls=base_urls, api_key=api_key, concurrency=concurrency, token_stats=token_stats, max_rps=max_rps
        )
    if name == "scripted":
        from tamis.engines.scripted import ScriptedEngine

        return ScriptedEngine.from_file(model, token_stats=token_stats, hidden_states=hidden_states)
    raise UsageError(f"unknown engine: {name}", f"Choose one of: {', '.join(ENGINES)}")
