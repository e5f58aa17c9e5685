"""What whoever listens to a draw is told while its answer comes (`records.OnText`), over all attempts."""

from __future__ import annotations

from tamis.engines.http.transport import NoAnswerError
from tamis.records import Draw, OnText


class Telling:
    """The listener of one draw. A server that does not keep to what was told of it has not answered."""

    def __init__(self, draw: Draw, on_text: OnText) -> None:
        self._draw, self._on_text = draw, on_text
        self._told = ""

    def goes_on(self, text: str) -> bool:
        """Tell the text so far; whether the draw shall go on.

        Raises:
            NoAnswerError: An earlier attempt began in other words.
        """
        if not self._told.startswith(text):
            self.check(text)
            self._told = text
            return self._on_text(self._draw, text)
        return True

    def check(self, text: str) -> None:
        """Compare the whole text.

        Raises:
            NoAnswerError: It does not begin with what was told.
        """
        if not text.startswith(self._told):
            raise NoAnswerError("the server began in other words at an earlier attempt, which are told already")
