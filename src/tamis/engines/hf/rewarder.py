"""Rewards of texts: what a sequence-classification model makes of a conversation that ends with the text, or a part of it.

A reward is the model's one logit; of a model with two labels it is their difference, the log-odds of label 1. It is read where
transformers reads it: at the last token that is no padding. The whole conversation is tokenised for each part, as if nothing
followed.

Of a causal model with a head of its own for each position, all parts of a text are read in one pass: the last part is the trunk
of a tree, and where the tokens of an earlier part leave it (at the latest where the chat template ends the turn) a branch
begins. What all texts of a group begin with is run once. Whether a model can be read like that is found out by trying: some
cannot see trees and read each part as a row of its own, some are not causal and read each part from the beginning.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache

from tamis.engines.device import is_out_of_memory
from tamis.engines.hf.cache import Prefix
from tamis.engines.hf.forward import NOT_NUMBERS, OUT_OF_MEMORY, TRUNK, Body, Row
from tamis.engines.hf.load import Loaded
from tamis.engines.hf.probe import difference, tolerance
from tamis.errors import EngineError
from tamis.records import Failure, Question, Verdict

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Unit:
    """A row and the rewards that are read off it."""

    text: int
    parts: Sequence[int]
    row: Row
    ends: Ids  # (parts,) the token of the row at which each part's reward is read


class Rewarder:
    """Rewards one group of questions at a time.

    Raises:
        EngineError: The model has more than two labels.
    """

    @torch.inference_mode()
    def __init__(self, loaded: Loaded, batch_size: int | None = None) -> None:
        labels = loaded.model.config.num_labels
        if labels not in (1, 2):
            raise EngineError(f"a model of {labels} labels gives no reward", "A reward model has one label, or two")
        self._loaded = loaded
        self._padding: int | None = loaded.model.config.get_text_config().pad_token_id
        self._body = Body(loaded, max_rows=batch_size or sys.maxsize)
        self.reads = self._way()
        self._context = loaded.context
        if self.reads == "texts":  # the positions of some encoders begin at 2
            self._context = min(loaded.context, loaded.tokenizer.model_max_length)

    @torch.inference_mode()
    def __call__(self, questions: Sequence[Question]) -> Iterator[Verdict]:
        """The reward after each part of each question, in any order; `tail` and `options` play no part."""
        asked: list[Question] = []
        texts: list[list[Ids]] = []
        for question in questions:
            ids = self._tokens(question)
            if isinstance(ids, str):
                yield Verdict(question.key, (), Failure("input", ids))
            elif not ids:
                yield Verdict(question.key, ())
            else:
                asked.append(question)
                texts.append(ids)
        for i, rewards in self._rewards(texts) if texts else ():
            if isinstance(rewards, str):
                yield Verdict(asked[i].key, (), Failure("engine", rewards))
            else:
                yield Verdict(asked[i].key, tuple(rewards.tolist()))

    # --- from text to tokens ---------------------------------------------------------------------------------------

    def _tokens(self, question: Question) -> list[Ids] | str:
        """The conversation that ends with each part, up to the token at which its reward is read; or why there is none."""
        found = []
        text = ""
        for part in question.parts:
            text += part
            try:
                ids = np.array(self._conversation(question.lead, text), np.int64)
            except Exception as error:  # noqa: BLE001 - a chat template is a program of the model's, and may raise anything
                return f"the conversation cannot be tokenised: {error}"
            if len(ids) > self._context:
                return f"question and text have {len(ids)} tokens, the model's context holds {self._context}"
            if not len(ids):
                return "question and text have no tokens"
            found.append(ids)
        return found

    def _conversation(self, question: str, text: str) -> list[int]:
        tokenizer = self._loaded.tokenizer
        if not tokenizer.chat_template:
            return [int(i) for i in tokenizer(f"{question}\n{text}", verbose=False).input_ids]
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
        quiet = {"verbose": False}  # a text that is too long is told of on its verdict
        return [int(i) for i in tokenizer.apply_chat_template(turns, return_dict=False, tokenizer_kwargs=quiet)]

    def _trimmed(self, ids: Ids) -> Ids:
        """A text up to the last token that is no padding, where its reward is read."""
        if self._padding is None:
            return ids
        words = np.flatnonzero(ids != self._padding)
        return ids[: 1 + (int(words[-1]) if len(words) else 0)]

    # --- rewards ---------------------------------------------------------------------------------------------------

    def _rewards(self, texts: Sequence[list[Ids]]) -> Iterator[tuple[int, NDArray[np.float64] | str]]:
        """The numbers of the texts, each with the rewards after its parts, or with why there are none."""
        prefix = Prefix(0, (), ())
        if self.reads != "texts":
            texts = [[self._trimmed(part) for part in parts] for parts in texts]
            common = _common([part for parts in texts for part in parts])
            found = self._body.prefix(texts[0][0][:common].tolist())
            if found is None:
                yield from ((i, OUT_OF_MEMORY) for i in range(len(texts)))
                return
            prefix = found
        cache = self._body.cache(prefix)
        units = [unit for i, parts in enumerate(texts) for unit in self._units(i, parts, prefix.length)]
        rewards = [np.full(len(parts), np.nan) for parts in texts]
        owed = np.bincount([unit.text for unit in units], minlength=len(texts))
        failed: dict[int, str] = {}

        def work(chunk: list[int]) -> list[NDArray[np.float64]]:
            return self._read(cache, [units[i] for i in chunk])

        for u, values in self._body.in_chunks(cache, [unit.row for unit in units], work):
            unit = units[u]
            if values is None or not np.isfinite(values).all():
                failed[unit.text] = OUT_OF_MEMORY if values is None else NOT_NUMBERS
            else:
                rewards[unit.text][list(unit.parts)] = values
            owed[unit.text] -= 1
            if not owed[unit.text]:
                yield unit.text, failed.get(unit.text, rewards[unit.text])

    def _units(self, i: int, parts: list[Ids], past: int) -> Iterator[_Unit]:
        """The rows of text number i after a prefix."""
        if self.reads == "tree":
            yield _tree(i, [part[past:] for part in parts], past)
            return
        for k, part in enumerate(parts):
            yield _Unit(i, [k], Row(part[past:]), np.array([len(part) - past - 1]))

    def _read(self, cache: Cache, units: Sequence[_Unit]) -> list[NDArray[np.float64]]:
        """The rewards of each unit."""
        if self.reads == "texts":
            return list(self._whole([unit.row.ids for unit in units])[:, None])
        rows = [unit.row for unit in units]
        if any(row.layout is not None for row in rows):
            rows = [row if row.layout is not None else Row(row.ids, _line(row.ids, cache.get_seq_length())) for row in rows]
        states, _ = self._body.states(cache, rows)
        counts = [len(unit.ends) for unit in units]
        which = torch.from_numpy(np.repeat(np.arange(len(units)), counts)).to(states.device)
        columns = torch.from_numpy(np.concatenate([unit.ends for unit in units])).to(states.device)
        rewards = _reward(self._loaded.model.score(states[which, columns]))
        return list(np.split(rewards, np.cumsum(counts)[:-1]))

    def _whole(self, texts: Sequence[Ids]) -> NDArray[np.float64]:
        """The rewards of texts (B,) as the model's own code gives them."""
        model, device = self._loaded.model, self._loaded.device
        if self._padding is None:  # such code takes one text at a time
            return np.concatenate([_reward(model(input_ids=torch.from_numpy(ids[None]).to(device)).logits) for ids in texts])
        width = max(map(len, texts))
        ids = np.full((len(texts), width), self._padding, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        tokens, seen = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
        return _reward(model(input_ids=tokens, attention_mask=seen).logits)

    def _way(self) -> Literal["tree", "rows", "texts"]:
        """The fastest way of reading that gives what the model gives for each text alone."""
        if not hasattr(self._loaded.model, "score"):
            return "texts"
        rng = np.random.default_rng(0)
        words = np.arange(min(len(self._loaded.model.get_input_embeddings().weight), 4096))
        words = words[words != (self._padding if self._padding is not None else -1)]
        lead, texts = rng.choice(words, 3), []
        for length in (12, 9, 6, 3):
            trunk = np.concatenate((lead, rng.choice(words, length)))
            texts.append([np.concatenate((trunk[: 3 + length // 2], rng.choice(words, 2))), trunk])
        expected = np.concatenate([self._whole([part]) for parts in texts for part in parts])
        for way in ("tree", "rows"):
            self.reads = way
            try:
                got = dict(self._rewards(texts))
            except Exception as error:  # a model's code that is not read like this may raise anything
                if is_out_of_memory(error):
                    raise
                continue
            if any(isinstance(rewards, str) for rewards in got.values()):
                continue
            found = np.concatenate([got[i] for i in range(len(texts))])
            if difference(torch.from_numpy(found[None]), torch.from_numpy(expected[None])) <= tolerance(
                self._loaded.model.dtype
            ):
                return way
        return "texts"


def _tree(i: int, parts: Sequence[Ids], past: int) -> _Unit:
    """All parts of a text as one row: the last is the trunk, each other a branch of what it does not share with it."""
    trunk = parts[-1]
    ids, layout, ends = [trunk], [_line(trunk, past)], []
    length = len(trunk)
    for k, part in enumerate(parts[:-1]):
        shared = _common([part, trunk], leave=0)
        branch = part[shared:]
        if len(branch):
            positions = past + shared + np.arange(len(branch))
            layout.append(np.stack((positions, np.full(len(branch), 1 + k), np.full(len(branch), past + shared))))
            ids.append(branch)
            length += len(branch)
        ends.append((length if len(branch) else shared) - 1)
    ends.append(len(trunk) - 1)
    row = Row(trunk) if len(ids) == 1 else Row(np.concatenate(ids), np.concatenate(layout, axis=1))
    return _Unit(i, range(len(parts)), row, np.array(ends))


def _line(ids: Ids, past: int) -> Ids:
    """The layout (3, Q) of a trunk alone."""
    return np.stack((past + np.arange(len(ids)), np.full(len(ids), TRUNK), np.zeros(len(ids), np.int64)))


def _common(texts: Sequence[Ids], leave: int = 1) -> int:
    """The number of tokens with which all texts begin, at least `leave` of each left over."""
    least = min(map(len, texts)) - leave
    same = np.ones(least, dtype=np.bool_)
    for text in texts[1:]:
        same &= text[:least] == texts[0][:least]
    return least if same.all() else int(np.argmin(same))


def _reward(logits: Tensor) -> NDArray[np.float64]:
    """The rewards (M,) of logits (M, labels)."""
    values = logits.double().cpu().numpy()
    return np.asarray(values[:, -1] - (values[:, 0] if values.shape[1] == 2 else 0.0))
