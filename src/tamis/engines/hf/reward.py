"""Reward models: sequence-classification models of transformers that say how good an answer is (see `rewarder`)."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tamis.errors import EngineError, MissingExtra, TamisError, UsageError
from tamis.records import Question, Verdict

if TYPE_CHECKING:
    from tamis.engines.hf.rewarder import Rewarder


class RewardModel:
    """Gives the reward after each part of an answer: one number, the higher the better, without bounds (log-odds).

    The model reads the conversation [user: question, assistant: answer so far] through the chat template when it has one, else
    the question, a newline, and the answer so far. No text is cut: one that exceeds the context is a verdict with an error.

    Args:
        model: A folder that `from_pretrained` can read, or a name on the hub; one label, or two (the reward is then the
            log-odds of label 1). Weights are read from safetensors only.
        batch_size: The number of texts read at once; "auto" takes what memory holds. It is halved when memory runs out.
        device: "auto" is a GPU where there is one.
        dtype: "float32", "bfloat16", "float16", or "auto": the checkpoint's own (float32 instead of float16 on a CPU).
        trust_remote_code: Run the code that comes with the model.
        allow_pickle: Read pickled weights where there are no safetensors.

    Raises:
        MissingExtra: torch or transformers is not installed.
        UsageError: A setting cannot be.
        EngineError: There is no model, or it does not load, or it gives no reward.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int | Literal["auto"] = "auto",
        trust_remote_code: bool = False,
        allow_pickle: bool = False,
    ) -> None:
        if any(importlib.util.find_spec(package) is None for package in ("torch", "transformers")):
            raise MissingExtra("a reward model", "hf")
        if batch_size != "auto" and batch_size < 1:
            raise UsageError(f"batch_size: {batch_size} is not a number of texts", "Use auto, or 1 or more")
        from transformers import AutoModelForSequenceClassification as Kind

        from tamis.engines.hf.load import load
        from tamis.engines.hf.rewarder import Rewarder

        loaded = load(str(model), device, dtype, trust_remote_code=trust_remote_code, kind=Kind, allow_pickle=allow_pickle)
        self._on_gpu = loaded.device.type == "cuda"
        self._rewarder: Rewarder | None = Rewarder(loaded, None if batch_size == "auto" else batch_size)

    def rewards(self, question: str, parts: Sequence[str]) -> tuple[float, ...]:
        """The reward after each part of one answer.

        Raises:
            EngineError: The model cannot read it.
        """
        (verdict,) = self._reward([Question("", question, tuple(parts), "", ("", ""))])
        if verdict.error:
            raise EngineError(verdict.error.message)
        return verdict.values

    async def score(self, groups: AsyncIterator[Sequence[Question]]) -> AsyncGenerator[Verdict, None]:
        """The rewards after each part of each question, in any order; what cannot be read comes with an `error`.

        The questions of a group are read together, in a thread; `tail` and `options` play no part.
        """
        from tamis.engines.hf.bridge import in_thread

        async with aclosing(in_thread(groups, self._reward)) as verdicts:
            async for verdict in verdicts:
                yield verdict

    def close(self) -> None:
        """Free the model. Idempotent."""
        if self._rewarder is not None:
            self._rewarder = None
            if self._on_gpu:
                import torch

                torch.cuda.empty_cache()

    def _reward(self, questions: Sequence[Question]) -> Iterator[Verdict]:
        if self._rewarder is None:
            raise EngineError("the reward model is closed", "Make a new one")
        try:
            yield from self._rewarder(questions)
        except TamisError:
            raise
        except Exception as error:
            raise EngineError(f"the reward model broke: {type(error).__name__}: {error}") from error
