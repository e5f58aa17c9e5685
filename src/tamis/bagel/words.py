"""The tokenizer of a release, and the four marks that stand around texts and pictures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from tokenizers import Tokenizer

from tamis.bagel.fields import LANGUAGE_FILE, Fields
from tamis.engines.hf.text import Detokenizer
from tamis.errors import EngineError

_FILE = "tokenizer.json"


class Words:
    """Text to ids and back. Marks are looked up by name: releases differ in their numbers."""

    def __init__(self, folder: Path) -> None:
        """Read a folder's tokenizer.

        Raises:
            EngineError: It is not there, is damaged, does not know the marks, or knows more than the model has words.
        """
        path = folder / _FILE
        if not path.is_file():
            raise EngineError(f"no {_FILE} in the model folder {folder}", "Fetch the release whole")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - tokenizers raises nothing narrower
            raise EngineError(f"cannot read {path}: {error}", "Fetch the file again") from None
        self._tokenizer.no_truncation()  # a file may ask for either, and both change what is read
        self._tokenizer.no_padding()
        num_words = Fields.of(folder / LANGUAGE_FILE).number("vocab_size")
        if (highest := max(self._tokenizer.get_vocab().values(), default=0)) >= num_words:
            message = f"{path} has the id {highest}, and the model none from {num_words} on (vocab_size in {LANGUAGE_FILE})"
            raise EngineError(message, "Use the release's own tokenizer")
        self.text_start = self._mark("<|im_start|>")
        self.text_end = self._mark("<|im_end|>")
        self.picture_start = self._mark("<|vision_start|>")
        self.picture_end = self._mark("<|vision_end|>")
        special = [number for number, token in self._tokenizer.get_added_tokens_decoder().items() if token.special]
        self.detokenizer = Detokenizer(
            SimpleNamespace(
                backend_tokenizer=self._tokenizer,
                all_special_ids=special,
                convert_ids_to_tokens=self._tokenizer.id_to_token,
            )
        )

    def ids(self, text: str) -> list[int]:
        """The ids of a text, without marks."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def wrapped(self, text: str) -> list[int]:
        """The ids by which a text enters a context."""
        return [self.text_start, *self.ids(text), self.text_end]

    def _mark(self, name: str) -> int:
        number = self._tokenizer.token_to_id(name)
        if number is None:
            raise EngineError(f"the tokenizer of the model has no {name}", "Check that it is the release's own")
        return int(number)
