"""Ask a model, after each part of a text, a question of two options, and read the answer off its next token.

The pieces of a question - lead, each part, tail - are tokenised apart, and that is what a question means here. The lead is run
once for a group. The parts of a text form a trunk, and each tail is a branch of it: one forward pass answers after all parts,
and no token of a text is read twice. Models whose code cannot see a tree (found out by trying) read each branch as a text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.cache_utils import Cache

from tamis.engines.device import is_out_of_memory
from tamis.engines.hf.cache import Prefix
from tamis.engines.hf.forward import NOT_NUMBERS, OUT_OF_MEMORY, TRUNK, Forward, Row
from tamis.engines.hf.load import Loaded
from tamis.engines.hf.probe import difference, tolerance
from tamis.errors import EngineError
from tamis.records import Failure, Question, Verdict

LEAST_MASS = 1e-3  # of both options: a model that says less of them says neither
MARK = "\ue000"  # a private character: where the text goes in a rendered template
TREE_TOKENS = 4096  # a tree: the branches do not see each other, yet attention is computed between them
VARIANTS = 3  # first tokens an option may have


@dataclass(frozen=True, slots=True, eq=False)
class _Tree:
    """A question in tokens."""

    question: Question
    trunk: NDArray[np.int64]  # (T,) of all parts
    forks: NDArray[np.int64]  # (K,) tokens of the trunk that the tail after part k sees
    tail: NDArray[np.int64]  # (Q,)
    options: NDArray[np.int64]  # (2, VARIANTS) first tokens, -1 where there are fewer


@dataclass(frozen=True, slots=True, eq=False)
class _Unit:
    """A row and the answers that are read off it."""

    tree: int
    first: int  # part
    row: Row
    ends: NDArray[np.int64]  # the last token of the tail after part `first`, and of those after it


class Asker:
    """Answers one group of questions at a time.

    Raises:
        EngineError: The model's chat template makes no user turn of a text.
    """

    @torch.inference_mode()
    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._before, self._after = _turn(loaded)
        self._forward = Forward(loaded)
        self._sees_trees = self._try_trees()

    @torch.inference_mode()
    def __call__(self, questions: Sequence[Question]) -> Iterator[Verdict]:
        """The verdict on each question, in any order; all questions have the lead of the first."""
        if not questions:
            return
        lead = self._lead(questions[0].lead)
        trees = []
        for question in questions:
            tree = self._tree(question, len(lead)) if question.lead == questions[0].lead else "its lead is not the group's"
            if isinstance(tree, str):
                yield Verdict(question.key, (), Failure("input", tree))
            elif not len(tree.forks):
                yield Verdict(question.key, ())
            else:
                trees.append(tree)
        if not trees:
            return
        prefix = self._forward.prefix(lead)
        if prefix is None:
            yield from (Verdict(tree.question.key, (), Failure("engine", OUT_OF_MEMORY)) for tree in trees)
            return
        short = [tree for tree in trees if not self._is_long(tree)]
        units = [unit for i, tree in enumerate(short) for unit in self._units(i, tree, len(lead))]
        yield from self._answer(prefix, short, units)
        for tree in trees:
            if tree not in short:
                yield from self._answer_long(prefix, tree)

    # --- from text to tokens ---------------------------------------------------------------------------------------

    def _ids(self, text: str) -> list[int]:
        return [int(i) for i in self._loaded.tokenizer(text, add_special_tokens=False, verbose=False).input_ids]

    def _lead(self, text: str) -> list[int]:
        if self._before or self._after:
            return self._ids(self._before + text)
        return [int(i) for i in self._loaded.tokenizer(text, verbose=False).input_ids]

    def _tree(self, question: Question, lead_length: int) -> _Tree | str:
        """A question in tokens, or one line that says why it cannot be asked."""
        parts = [self._ids(part) for part in question.parts]
        trunk = np.array([token for part in parts for token in part], np.int64)
        tail = np.array(self._ids(question.tail + self._after), np.int64)
        length = lead_length + len(trunk) + len(tail)
        if length > self._loaded.context:
            return f"question and text have {length} tokens, the model's context holds {self._loaded.context}"
        if not len(tail):
            return "the tail has no tokens"
        first, second = (self._first_tokens(option) for option in question.options)
        options = np.full((2, VARIANTS), -1, np.int64)
        for row, ids in zip(options, (first - second, second - first), strict=True):
            if not ids:
                return f"the first tokens of the options {question.options[0]} and {question.options[1]} do not differ"
            row[: len(ids)] = sorted(ids)
        return _Tree(question, trunk, np.cumsum([len(part) for part in parts], dtype=np.int64), tail, options)

    def _first_tokens(self, option: str) -> set[int]:
        """The first tokens of an option: bare, after a blank, and after "(" where that makes one token of both.

        Tokens with which the other option begins too, such as a blank of its own, are not counted for either.
        """
        bare, blank, bracket = (self._ids(before + option) for before in ("", " ", "("))
        return {*bare[:1], *blank[:1], *(bracket if len(bracket) == 1 else ())}

    # --- rows and answers ------------------------------------------------------------------------------------------

    def _is_long(self, tree: _Tree) -> bool:
        """Whether trunk and branches are more than one pass shall take."""
        return self._sees_trees and len(tree.trunk) + len(tree.forks) * len(tree.tail) > self._tree_limit()

    def _tree_limit(self) -> int:
        return min(TREE_TOKENS, self._forward.token_limit)

    def _units(self, i: int, tree: _Tree, lead_length: int) -> list[_Unit]:
        """The rows of tree number i after its lead."""
        if self._sees_trees:
            return [_unit(i, tree, lead_length, tree.trunk, 0, len(tree.forks))]
        texts = [np.concatenate((tree.trunk[:fork], tree.tail)) for fork in tree.forks]
        return [_Unit(i, k, Row(text), np.array([len(text) - 1])) for k, text in enumerate(texts)]

    def _answer_long(self, lead: Prefix, tree: _Tree) -> Iterator[Verdict]:
        """Run the trunk first, then the branches, as many at a time as a pass shall take."""
        prefix = self._forward.prefix(tree.trunk.tolist(), lead)
        if prefix is None:
            yield Verdict(tree.question.key, (), Failure("engine", OUT_OF_MEMORY))
            return
        count = max(1, self._tree_limit() // len(tree.tail))
        starts = range(0, len(tree.forks), count)
        units = [_unit(0, tree, lead.length, tree.trunk[:0], k, min(k + count, len(tree.forks))) for k in starts]
        yield from self._answer(prefix, [tree], units)

    def _answer(self, prefix: Prefix, trees: Sequence[_Tree], units: Sequence[_Unit]) -> Iterator[Verdict]:
        """The verdicts on trees, each as soon as all of its units are read."""
        cache = self._forward.cache(prefix)
        values = [np.full(len(tree.forks), np.nan) for tree in trees]
        owed = Counter(unit.tree for unit in units)
        failed: dict[int, str] = {}

        def work(chunk: list[int]) -> list[NDArray[np.float64]]:
            return self._masses(cache, [units[i] for i in chunk], [trees[units[i].tree].options for i in chunk])

        for i, masses in self._forward.in_chunks(cache, [unit.row for unit in units], work):
            unit = units[i]
            if masses is None:
                failed[unit.tree] = OUT_OF_MEMORY
            elif np.isnan(masses).any():
                failed[unit.tree] = NOT_NUMBERS
            else:
                values[unit.tree][unit.first : unit.first + len(masses)] = _probabilities(masses)
            owed[unit.tree] -= 1
            if not owed[unit.tree]:
                key, error = trees[unit.tree].question.key, failed.get(unit.tree)
                yield Verdict(key, (), Failure("engine", error)) if error else Verdict(key, tuple(values[unit.tree].tolist()))

    def _masses(self, cache: Cache, units: Sequence[_Unit], options: Sequence[NDArray[np.int64]]) -> list[NDArray[np.float64]]:
        """The probabilities of both options (K, 2) at the ends of each unit."""
        counts = [len(unit.ends) for unit in units]
        states, _ = self._forward.states(cache, [unit.row for unit in units])
        rows = torch.from_numpy(np.repeat(np.arange(len(units)), counts)).to(states.device)
        columns = torch.from_numpy(np.concatenate([unit.ends for unit in units])).to(states.device)
        wanted = torch.from_numpy(np.repeat(np.stack(options), counts, axis=0)).to(states.device)  # (M, 2, VARIANTS)
        masses = np.empty((len(columns), 2))
        for part, logits in self._forward.logits(states[rows, columns]):
            ids = wanted[part]
            p = logits.float().softmax(-1).gather(1, ids.clamp_min(0).flatten(1)).view_as(ids)
            masses[part] = torch.where(ids < 0, 0, p).sum(-1).cpu().numpy()
        return np.split(masses, np.cumsum(counts)[:-1])

    def _try_trees(self) -> bool:
        """Whether the model reads a tree as it reads each of its branches."""
        ids = np.arange(12) % self._forward.vocab_size
        question = Question("", "", ("", ""), "", ("", ""))
        tree = _Tree(question, ids[:5], np.array([2, 5]), ids[5:8], ids[:0])
        prefix = self._forward.prefix(ids[8:].tolist())
        if prefix is None:
            raise EngineError(f"the hf engine cannot ask: {OUT_OF_MEMORY}")
        found = []
        for sees_trees in (False, True):
            self._sees_trees = sees_trees
            units = self._units(0, tree, prefix.length)
            try:
                states, _ = self._forward.states(self._forward.cache(prefix), [unit.row for unit in units])
            except Exception as error:  # whatever a model's code raises that takes no such masks
                if is_out_of_memory(error) or not sees_trees:
                    raise
                return False
            ends = [state[torch.from_numpy(unit.ends).to(state.device)] for state, unit in zip(states, units, strict=True)]
            ((_, logits),) = self._forward.logits(torch.cat(ends))
            found.append(logits)
        return difference(*found) <= tolerance(self._loaded.model.dtype)


def _unit(i: int, tree: _Tree, lead_length: int, trunk: NDArray[np.int64], first: int, last: int) -> _Unit:
    """The trunk, or nothing of it where it is in the prefix, and the tails after parts `first` to `last` - 1."""
    num_tails, size = last - first, len(tree.tail)
    forks = np.repeat(lead_length + tree.forks[first:last], size)
    positions = np.concatenate((lead_length + np.arange(len(trunk)), forks + np.tile(np.arange(size), num_tails)))
    branches = np.concatenate((np.full(len(trunk), TRUNK), np.repeat(1 + np.arange(num_tails), size)))
    layout = np.stack((positions, branches, np.concatenate((np.zeros(len(trunk), np.int64), forks))))
    ids = np.concatenate((trunk, np.tile(tree.tail, num_tails)))
    return _Unit(i, first, Row(ids, layout), len(trunk) + size * np.arange(1, num_tails + 1) - 1)


def _probabilities(masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first option's share of both (K,), NaN where the model says neither, from masses (K, 2)."""
    total = masses.sum(-1)
    return np.where(total >= LEAST_MASS, masses[:, 0] / np.maximum(total, LEAST_MASS), np.nan)


def _turn(loaded: Loaded) -> tuple[str, str]:
    """What the chat template writes before and after the text of one user turn, the answer's opening included; else nothing."""
    tokenizer = loaded.tokenizer
    if not tokenizer.chat_template:
        return "", ""
    turn = [{"role": "user", "content": MARK}]
    try:  # a model that can think first is told not to: templates without that variable ignore it
        text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    except Exception as error:
        raise EngineError(f"the chat template makes no user turn: {error}") from error
    if text.count(MARK) != 1:
        raise EngineError("the chat template does not show the user's text once")
    before, _, after = text.partition(MARK)
    return before, after
