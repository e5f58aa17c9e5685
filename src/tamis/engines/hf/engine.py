"""The `hf` engine: any causal language model of transformers, decoded by a loop of our own (see `loop`)."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tamis.engines.prompt_limit import PromptLimit
from tamis.errors import EngineError, MissingExtra, TamisError, UsageError
from tamis.records import Question, Reading, Request, Sample, Verdict

if TYPE_CHECKING:
    from tamis.engines.hf.bridge import Bridge
    from tamis.engines.hf.load import Loaded
    from tamis.engines.hf.step import Stepper

T = TypeVar("T")
R = TypeVar("R")


class HFEngine:
    """Draws from a model of transformers, and reads with it; implements `tamis.engines.base.Engine` and `Reader`.

    Only the request's `Sampling` shapes what is drawn: the sampling settings of a checkpoint's generation_config.json are
    ignored, its end tokens are not. The same request with the same seed gives the same sample, bit for bit, whatever else is
    drawn and in whatever order, at the same batch size on the same machine (fp32 on a CPU: at any batch size from 16 on).

    Args:
        model: A folder that `from_pretrained` can read, or one of a LoRA adapter as PEFT saves it, or a name on the hub.
        batch_size: The number of samples drawn at once; "auto" takes what memory holds (32 on a CPU). It is halved, and
            nothing is lost, when memory runs out.
        device: "auto" is a GPU where there is one.
        dtype: "float32", "bfloat16", "float16", or "auto": the checkpoint's own (float32 instead of float16 on a CPU).
        token_stats: Take the nine statistics of each token.
        hidden_states: Take the chain of embedding of each sample and of its steps.
        trust_remote_code: Run the code that comes with the model.
        base_model: What an adapter is merged into; None: the base that it names, as it stands or relative to its folder.
        use_lora: True wants an adapter, False a whole model; None takes what the folder holds.
        allow_pickle: Read pickled weights where there are no safetensors; tensors alone are unpickled.
        max_prompt_tokens: A longer prompt is a failed sample; None: what the context holds, less the answer's first token.
        truncate: Drop the beginning of a longer prompt instead.

    Raises:
        MissingExtra: torch or transformers is not installed, or PEFT, and the model is an adapter.
        UsageError: A setting cannot be.
        EngineError: There is no model, or it does not load, or it cannot be decoded.
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
        trust_remote_code: bool = False,
        base_model: str | Path | None = None,
        use_lora: bool | None = None,
        allow_pickle: bool = False,
        max_prompt_tokens: int | None = None,
        truncate: bool = False,
    ) -> None:
        if any(importlib.util.find_spec(package) is None for package in ("torch", "transformers")):
            raise MissingExtra("the hf engine", "hf")
        if batch_size != "auto" and batch_size < 1:
            raise UsageError(f"batch_size: {batch_size} is not a number of samples", "Use auto, or 1 or more")
        import torch

        from tamis.engines.hf.load import load
        from tamis.engines.hf.probe import automatic_batch_size, check_decoding
        from tamis.engines.hf.step import Stepper

        self._name = str(model)
        self._token_stats = token_stats
        self._hidden_states = hidden_states
        self._loaded: Loaded | None = load(
            self._name,
            device,
            dtype,
            trust_remote_code=trust_remote_code,
            base_model=None if base_model is None else str(base_model),
            use_lora=use_lora,
            allow_pickle=allow_pickle,
            limit=PromptLimit(max_prompt_tokens, truncate),
        )
        self._stepper: Stepper | None = Stepper(self._loaded.model, self._loaded.device, hidden=hidden_states)
        with torch.inference_mode():
            check_decoding(self._loaded, self._stepper)
            self.batch_size = automatic_batch_size(self._loaded, self._stepper) if batch_size == "auto" else batch_size

    def describe(self) -> Mapping[str, Any]:
        """Name, model and versions. The batch size is not part of it: it is no property of the answers."""
        import torch
        import transformers

        loaded = self._open()[0]
        return {
            "engine": "hf",
            "model": self._name,
            "model_type": loaded.model.config.model_type,
            "dtype": str(loaded.model.dtype).removeprefix("torch."),
            "device": loaded.device.type,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            **({"base_model": loaded.base} if loaded.base else {}),
        }

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Sample, None]:
        """Draw every draw of every request; yield each sample as it finishes, in any order."""
        from tamis.engines.hf.bridge import Bridge

        self._open()
        async with aclosing(Bridge(self.batch_size).samples(requests, self._decode)) as samples:
            async for sample in samples:
                yield sample

    async def read(self, readings: AsyncIterator[Reading]) -> AsyncGenerator[Sample, None]:
        """Each sample with its statistics, and its chain where the engine takes hidden states: see `base.Reader`."""
        from tamis.engines.hf.read import SampleReader

        async with aclosing(self._work(readings, partial(SampleReader, hidden=self._hidden_states))) as samples:
            async for sample in samples:
                yield sample

    async def ask(self, groups: AsyncIterator[Sequence[Question]]) -> AsyncGenerator[Verdict, None]:
        """The verdict on each question: see `base.Reader`."""
        from tamis.engines.hf.ask import Asker

        async with aclosing(self._work(groups, Asker)) as verdicts:
            async for verdict in verdicts:
                yield verdict

    def close(self) -> None:
        """Free the model. Idempotent."""
        if self._loaded is not None:
            on_gpu = self._loaded.device.type == "cuda"
            self._loaded = self._stepper = None
            if on_gpu:
                import torch

                torch.cuda.empty_cache()

    def _open(self) -> tuple[Loaded, Stepper]:
        if self._loaded is None or self._stepper is None:
            raise EngineError("the hf engine is closed", "Make a new one")
        return self._loaded, self._stepper

    def _work(self, items: AsyncIterator[T], make: Callable[[Loaded], Callable[[T], Iterator[R]]]) -> AsyncGenerator[R, None]:
        """What a worker over the model yields for each item; it is made, and works, in a thread."""
        from tamis.engines.hf.bridge import in_thread

        loaded = self._open()[0]
        workers: list[Callable[[T], Iterator[R]]] = []

        def work(item: T) -> Iterator[R]:
            try:
                if not workers:
                    workers.append(make(loaded))
                yield from workers[0](item)
            except TamisError:
                raise
            except Exception as error:
                raise _broken(error) from error

        return in_thread(items, work)

    def _decode(self, bridge: Bridge) -> None:
        from tamis.engines.hf.loop import Decoder

        try:
            decoder = Decoder(*self._open(), self.batch_size, token_stats=self._token_stats)
        except MemoryError as error:
            raise EngineError(f"no memory for a batch of {self.batch_size}: {error}", "Take a smaller --batch-size") from error
        try:
            decoder.run(bridge)
        except TamisError:
            raise
        except Exception as error:
            raise _broken(error) from error
        finally:
            self.batch_size = min(self.batch_size, decoder.batch_size)


def _broken(error: Exception) -> EngineError:
    return EngineError(f"the hf engine broke: {type(error).__name__}: {error}")
