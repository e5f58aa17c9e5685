"""The `vllm` engine: models of vLLM in this process, with exact token statistics taken in the step that samples."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tamis.engines.prompt_limit import PromptLimit
from tamis.errors import EngineError, MissingExtra, TamisError, UsageError
from tamis.records import Request, Sample

if TYPE_CHECKING:
    from tamis.engines.hf.bridge import Bridge
    from tamis.engines.vllm.chains import LayerStates
    from tamis.engines.vllm.load import Loaded

T = TypeVar("T")

_log = logging.getLogger(__name__)


class VLLMEngine:
    """Draws from a model that vLLM runs in this process; implements `tamis.engines.base.Engine`.

    Only the request's `Sampling` shapes what is drawn: the sampling settings of a checkpoint's generation_config.json are
    ignored, its end tokens are not. Each draw has a generator of its own; but the bits of the logits depend on the shapes of
    vLLM's steps, so that where two tokens are nearly as likely, or numbers are short, a sample may depend on its neighbours.

    Args:
        model: A folder of safetensors, or a name on the hub, or a PEFT folder of a LoRA adapter.
        batch_size: The number of samples drawn at once; "auto" is 64 on a CPU, 256 on a GPU.
        device: "auto" is what the installed vLLM runs on.
        dtype: "float32", "bfloat16", "float16", or "auto": the checkpoint's own (float32 instead of float16 on a CPU).
        token_stats: Take the nine statistics of each token. Where they do not pass a check at the start, those that the 20
            likeliest tokens tell are taken instead, with a warning.
        hidden_states: Take the chain of embedding of each sample and of its steps.
        tensor_parallel: Over how many devices the model is spread.
        trust_remote_code: Run the code that comes with the model.
        base_model, use_lora, allow_pickle, max_prompt_tokens, truncate: As of `HFEngine`. vLLM does not merge an adapter.
        engine_args: Further fields of vLLM's `EngineArgs`.

    Raises:
        MissingExtra: vLLM is not installed.
        UsageError: A setting cannot be.
        EngineError: There is no model, or it does not load.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        batch_size: int | Literal["auto"] = "auto",
        device: str = "auto",
        dtype: str = "auto",
        token_stats: bool = True,
        hidden_states: bool = False,
        tensor_parallel: int = 1,
        trust_remote_code: bool = False,
        base_model: str | Path | None = None,
        use_lora: bool | None = None,
        allow_pickle: bool = False,
        max_prompt_tokens: int | None = None,
        truncate: bool = False,
        engine_args: Mapping[str, Any] | None = None,
    ) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise MissingExtra("the vllm engine", "vllm")
        if batch_size != "auto" and batch_size < 1:
            raise UsageError(f"batch_size: {batch_size} is not a number of samples", "Use auto, or 1 or more")
        if tensor_parallel < 1:
            raise UsageError(f"tensor_parallel: {tensor_parallel} is not a number of devices", "Use 1 or more")
        if hidden_states and tensor_parallel > 1:
            raise UsageError(
                "no hidden states of a model that is spread over devices", "Leave out tensor parallel or the chains"
            )
        self._name = str(model)
        self._token_stats = token_stats
        self._settings: dict[str, Any] = {
            "num_rows": None if batch_size == "auto" else batch_size,
            "device": device,
            "dtype": dtype,
            "tensor_parallel": tensor_parallel,
            "eager": hidden_states,
            "trust_remote_code": trust_remote_code,
            "base_model": None if base_model is None else str(base_model),
            "use_lora": use_lora,
            "allow_pickle": allow_pickle,
            "limit": PromptLimit(max_prompt_tokens, truncate),
            "engine_args": engine_args,
        }
        self._loaded: Loaded | None = None
        self._layers: LayerStates | None = None
        self.fault = ""  # why the statistics are those of the likeliest tokens
        # One thread makes the model and runs it: a CPU's worker binds the threads of the one that makes it
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tamis-vllm")
        try:
            self._in_thread(self._load, hidden_states)
        except BaseException:
            self.close()
            raise

    def describe(self) -> Mapping[str, Any]:
        """Name, model and versions. The batch size is not part of it: it is no property of the answers."""
        import torch
        import vllm

        loaded = self._open()
        config = loaded.engine.vllm_config.model_config
        return {
            "engine": "vllm",
            "model": self._name,
            "model_type": config.hf_config.model_type,
            "dtype": str(config.dtype).removeprefix("torch."),
            "device": loaded.device,
            "torch": torch.__version__,
            "vllm": vllm.__version__,
            **({"base_model": config.model} if loaded.adapter else {}),
            **({"token_stats": "top-20"} if self.fault else {}),
        }

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Sample, None]:
        """Draw every draw of every request; yield each sample as it finishes, in any order."""
        from tamis.engines.hf.bridge import Bridge

        rows = self._open().num_rows
        async with aclosing(Bridge(rows).samples(requests, lambda bridge: self._in_thread(self._draw, bridge))) as samples:
            async for sample in samples:
                yield sample

    def close(self) -> None:
        """Free the model. Idempotent."""
        if self._loaded is not None:
            self._in_thread(self._unload)
        self._thread.shutdown()

    def _open(self) -> Loaded:
        if self._loaded is None:
            raise EngineError("the vllm engine is closed", "Make a new one")
        return self._loaded

    def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return self._thread.submit(work, *arguments).result()

    def _load(self, hidden_states: bool) -> None:  # noqa: FBT001 - goes through `submit`
        from tamis.engines.vllm.chains import LayerStates
        from tamis.engines.vllm.check import find_fault
        from tamis.engines.vllm.load import load

        self._loaded = load(self._name, **self._settings)
        if hidden_states:
            self._layers = LayerStates(self._loaded.engine)
        if self._token_stats and (fault := find_fault(self._loaded)):
            self.fault = fault
            _log.warning(
                "vLLM's exact token statistics cannot be trusted here (%s): those of its 20 likeliest tokens are taken, "
                "without entropy and self-certainty",
                fault,
            )

    def _unload(self) -> None:
        from tamis.engines.vllm.load import unload

        if self._layers is not None:
            self._layers.close()
            self._layers = None
        loaded, self._loaded = self._open(), None
        unload(loaded)

    def _draw(self, bridge: Bridge) -> None:
        import torch

        from tamis.engines.vllm.chains import ChainSums
        from tamis.engines.vllm.drawing import Drawer

        loaded = self._open()
        chains = ChainSums(loaded, self._layers, 2 * loaded.num_rows) if self._layers else None
        try:
            with torch.inference_mode():
                Drawer(loaded, token_stats=self._token_stats, exact=not self.fault, chains=chains).run(bridge)
        except TamisError:
            raise
        except Exception as error:
            raise EngineError(f"the vllm engine broke: {type(error).__name__}: {error}") from error
        finally:
            if chains is not None:
                chains.close()
