"""Read samples that are there: the statistics and chains that drawing them would have given (teacher forcing).

The prompt is run once for all of a reading's samples, without its last token, as in `loop`: row t of what follows is then the
distribution that produced token t.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.engines.chains import chain_row
from tamis.engines.hf.forward import NOT_NUMBERS, OUT_OF_MEMORY, Forward, Row
from tamis.engines.hf.intake import read_prompt
from tamis.engines.hf.load import Loaded
from tamis.engines.hf.text import Detokenizer
from tamis.engines.token_stats import STATE, StepStates, statistics
from tamis.records import EmbeddingChain, Failure, Image, Reading, Sample, TokenStats
from tamis.steps import split_steps, step_ids


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    sample: Sample
    ids: NDArray[np.int32]  # (T,)
    starts: NDArray[np.int32]  # (T,)


class SampleReader:
    """Reads one `Reading` at a time."""

    @torch.inference_mode()
    def __init__(self, loaded: Loaded, *, hidden: bool) -> None:
        self._loaded = loaded
        self._forward = Forward(loaded, hidden=hidden)
        self._text = Detokenizer(loaded.tokenizer)

    @torch.inference_mode()
    def __call__(self, reading: Reading) -> Iterator[Sample]:
        """Each sample, read or with an error, in any order; one that had an error keeps it."""
        prompt = read_prompt(self._loaded, reading.prompt)
        if isinstance(prompt, str):
            yield from (s if s.error is not None else replace(s, error=Failure("input", prompt)) for s in reading.samples)
            return
        ids, beside = prompt
        texts = []
        for sample in reading.samples:
            text = self._tokens(sample, len(ids))
            if sample.error is not None:
                yield sample
            elif isinstance(text, str):
                yield replace(sample, error=Failure("input", text))
            elif len(text.ids):
                texts.append(text)
            else:
                yield self._with(text, len(ids), np.empty((0, STATE), np.float32), None)
        if not texts:
            return
        rows = [Row(np.concatenate((ids[-1:], text.ids[:-1])).astype(np.int64)) for text in texts]
        prefix = self._forward.prefix(ids[:-1], beside=beside)
        if prefix is None:
            yield from (replace(text.sample, error=Failure("engine", OUT_OF_MEMORY)) for text in texts)
            return
        cache = self._forward.cache(prefix)

        def work(chunk: list[int]) -> list[Sample]:
            last, hidden = self._forward.states(cache, [rows[i] for i in chunk])
            return self._samples([texts[i] for i in chunk], len(ids), last, hidden)

        for i, read in self._forward.in_chunks(cache, rows, work):
            yield read or replace(texts[i].sample, error=Failure("engine", OUT_OF_MEMORY))

    def _tokens(self, sample: Sample, prompt_length: int) -> _Text | str:
        """The tokens of a sample: those it was drawn as where it knows them, else those of its text; or why it has none."""
        stats, vocab_size = sample.stats, self._forward.vocab_size
        if any(isinstance(part, Image) for part in sample.parts):
            return "the hf engine reads no images"
        if stats is not None and stats.vocab_size == vocab_size and self._is_said(stats.ids, sample.text):
            text = _Text(sample, stats.ids, stats.starts)
        else:
            ids = self._loaded.tokenizer(sample.text, add_special_tokens=False, verbose=False).input_ids
            starts = self._text.text_and_starts(ids)[1]  # of a text that need not be the sample's: some tokenizers change it
            text = _Text(sample, np.array(ids, np.int32), np.minimum(starts, len(sample.text)))
        length = prompt_length + len(text.ids)
        if length > self._loaded.context:
            return f"prompt and answer have {length} tokens, the model's context holds {self._loaded.context}"
        if len(text.ids) and not 0 <= text.ids.min() <= text.ids.max() < vocab_size:
            return f"token {int(text.ids.max())} is none of the model's {vocab_size}"
        return text

    def _is_said(self, ids: NDArray[np.int32], text: str) -> bool:
        """Whether token ids are this tokenizer's for a text; the last of them may reach into a stop string."""
        return self._text.text(ids.tolist()).startswith(text)

    def _samples(self, texts: Sequence[_Text], prompt_length: int, last: Tensor, hidden: Sequence[Tensor]) -> list[Sample]:
        """The samples of the states (B, Q, d) of their rows."""
        lengths = np.array([len(text.ids) for text in texts])
        whole = torch.from_numpy(np.arange(last.shape[1]) < lengths[:, None]).to(last.device)
        ids = torch.from_numpy(np.concatenate([text.ids for text in texts]).astype(np.int64)).to(last.device)
        states = np.empty((len(ids), STATE), np.float32)
        for part, logits in self._forward.logits(last[whole]):
            step = StepStates(logits, wanted=True)
            for rows, softmax in step.passes():
                step.add(rows, softmax, ids[part][rows])
            states[part] = step.finish(ids[part])
        ends = np.cumsum(lengths)
        return [
            self._with(text, prompt_length, states[end - length : end], [state[b, :length] for state in hidden])
            for b, (text, length, end) in enumerate(zip(texts, lengths, ends, strict=True))
        ]

    def _with(self, text: _Text, prompt_length: int, states: NDArray[np.float32], hidden: Sequence[Tensor] | None) -> Sample:
        """A sample with what was read of it: the states (T, STATE) of its statistics, its hidden states, L + 1 of (T, d)."""
        if not np.isfinite(states[:, 0]).all():
            return replace(text.sample, error=Failure("engine", NOT_NUMBERS))
        return replace(
            text.sample,
            prompt_tokens=prompt_length,
            completion_tokens=len(text.ids),
            stats=TokenStats(statistics(states), text.ids, text.starts, self._forward.vocab_size),
            chain=_chain(text, hidden) if hidden else None,
        )


def _chain(text: _Text, hidden: Sequence[Tensor]) -> EmbeddingChain:
    """The chain of the hidden states of a text's tokens, L + 1 of (T, d)."""
    steps = split_steps(text.sample.text)
    places = step_ids(text.starts, steps)
    counts = np.bincount(places, minlength=len(steps))[: len(steps)]
    weights = np.full((1 + len(steps), len(places)), 1 / len(places))
    weights[1:] = (places == np.arange(len(steps))[:, None]) / np.maximum(counts, 1)[:, None]
    exact = torch.float64 if hidden[0].device.type == "cpu" else torch.float32
    of_layers = torch.from_numpy(weights).to(hidden[0].device, exact)
    means = torch.stack([of_layers @ state.to(exact) for state in hidden], 1).cpu().numpy()  # (1 + K, L + 1, d)
    values = np.stack([chain_row(mean) for mean in means]).astype(np.float32)
    values[1:][counts == 0] = np.nan
    return EmbeddingChain(values)
