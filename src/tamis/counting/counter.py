"""`TokenCounter`: a text -> its number of tokens."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tamis.counting.characters import unsettled
from tamis.counting.patterns import OTHER_BLANKS, at_spaces, without_looking_ahead
from tamis.counting.recipe import Recipe
from tamis.errors import InputError, MissingExtra

_LONGEST_AHEAD = 50_000
"""Characters of a text that tiktoken may match looking ahead: it notes each of many spaces, and breaks at too many."""


class TokenCounter:
    """Counts as `len(tokenizer(text, add_special_tokens=False).input_ids)` of the Hugging Face tokenizer does.

    What a recipe needs is loaded when a text first needs it: `tokenizers` alone takes longer than all else.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._reference: Any = None
        self._fast: Any = None  # matches without looking ahead
        self._ahead: Any = None
        self._added: re.Pattern[str] | None = None
        self._sign = ""
        if not recipe.aside:
            self._load()

    def _load(self) -> None:
        added = sorted(self._recipe.added, key=len, reverse=True)  # of several that begin at a place the longest counts
        if added:
            self._added = re.compile("|".join(map(re.escape, added)))
            self._sign = os.path.commonprefix(added)
        if (pattern := without_looking_ahead(self._recipe.pattern)) is not None:
            self._fast = self._encoding(pattern)

    def _encoding(self, pattern: str) -> Callable[[str], Sequence[int]]:
        try:
            import tiktoken
        except ImportError:
            raise MissingExtra("counting tokens", "summarise") from None
        ranks = dict(self._recipe.ranks)
        encode: Callable[[str], Sequence[int]] = tiktoken.Encoding(
            "tamis", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
        ).encode_ordinary
        return encode

    def __reduce__(self) -> tuple[type[TokenCounter], tuple[Recipe]]:
        recipe = replace(self._recipe, path=self._recipe.path.absolute())
        return TokenCounter, (recipe,)  # another process stands elsewhere, and loads what it needs anew

    @property
    def how(self) -> str:
        """What counts, in words."""
        aside = self._recipe.aside
        return f"tokenizers ({aside})" if aside else "tiktoken, and tokenizers where the two could differ"

    def count(self, text: str) -> int:
        """The number of tokens, special tokens inside the text being one each and none being added."""
        if self._recipe.aside:
            return self.count_slowly(text)
        if self._added is None or self._sign not in text:
            return self._count(text)
        marks = len(self._added.findall(text))
        return marks + sum(map(self._count, self._added.split(text))) if marks else self._count(text)

    def _count(self, text: str) -> int:
        if text.isascii():
            is_plain = "\t" not in text and "\v" not in text and "\f" not in text
        else:
            if unsettled().search(text):
                return self.count_slowly(text)
            if self._recipe.composes:
                text = unicodedata.normalize("NFC", text)
            is_plain = OTHER_BLANKS.search(text) is None
        if self._fast is None or not is_plain:
            return self._count_ahead(text)
        if "  " not in text:
            return len(self._fast(text))
        return sum(map(len, map(self._fast, at_spaces(text))))

    def _count_ahead(self, text: str) -> int:
        if len(text) > _LONGEST_AHEAD:
            return self.count_slowly(text)
        if self._ahead is None:
            self._ahead = self._encoding(self._recipe.pattern)
        return len(self._ahead(text))

    def count_slowly(self, text: str) -> int:
        """The same by `tokenizers`, for every text."""
        if self._reference is None:
            self._reference = self._load_reference()
        return len(self._reference.encode(text, add_special_tokens=False))

    def _load_reference(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise MissingExtra("counting tokens", "summarise") from None
        try:
            reference = Tokenizer.from_file(str(self._recipe.path))
        except Exception as error:  # noqa: BLE001 (the library raises nothing narrower)
            said = " ".join(str(error).split())[:200]
            raise InputError(
                f"{self._recipe.path} cannot be loaded ({said})", "Check that the model was copied whole"
            ) from None
        reference.no_truncation()
        reference.no_padding()
        return reference
