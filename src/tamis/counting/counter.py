"""`TokenCounter`: a text -> its number of tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tamis.counting.shared import load_fast
from tamis.errors import InputError, MissingExtra


class TokenCounter:
    """Counts as `len(tokenizer(text, add_special_tokens=False).input_ids)` of the Hugging Face tokenizer does.

    Either way of counting is loaded when a text first needs it.

    Args:
        path: Of the tokenizer.json.
        aside: Why fastokens is not used; "": it is.
    """

    def __init__(self, path: Path, aside: str = "") -> None:
        self.path, self._aside = path.absolute(), aside
        self._reference: Any = None
        self._fast: Any = None

    def __reduce__(self) -> tuple[type[TokenCounter], tuple[Path, str]]:
        return TokenCounter, (self.path, self._aside)  # another process loads anew

    @property
    def how(self) -> str:
        """What counts, in words."""
        return f"tokenizers ({self._aside})" if self._aside else "fastokens"

    @property
    def is_fast(self) -> bool:
        """Whether fastokens counts."""
        return not self._aside

    def count(self, text: str) -> int:
        """The number of tokens, special tokens inside the text being one each and none being added."""
        if self._aside:
            return self.count_slowly(text)
        if self._fast is None:
            self._fast = self._load_fast()
        try:
            return len(self._fast.encode(text))
        except ValueError:  # a pattern that goes too deep into this text
            return self.count_slowly(text)

    def _load_fast(self) -> Any:
        try:
            return load_fast(self.path)
        except ImportError:
            raise MissingExtra("counting tokens", "summarise") from None

    def count_slowly(self, text: str) -> int:
        """The same by `tokenizers`, for every text."""
        return len(self.reference().encode(text, add_special_tokens=False))

    def reference(self) -> Any:
        """The tokenizer of `tokenizers`.

        Raises:
            InputError: The file is no tokenizer.json.
            MissingExtra: The packages of the extra `summarise` are not installed.
        """
        if self._reference is None:
            self._reference = _load_reference(self.path)
        return self._reference


def _load_reference(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtra("counting tokens", "summarise") from None
    try:
        reference = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 (the library raises nothing narrower)
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is not a tokenizer.json ({said})", "Check that the model was copied whole") from None
    reference.no_truncation()
    reference.no_padding()
    return reference
