"""An answer that comes as server-sent events, put together in the form of one that comes whole.

Each line of data is taken for an event: no server of this protocol writes JSON over several lines. A choice that is finished
is closed: what comes for it again is a repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class StreamError(Exception):
    """The events make no answer: the message says why."""


GIVEN_UP = object()
"""The `finish_reason` of a choice that its listener gave up; no server can say this."""


class Events:
    """What has come so far.

    Attributes:
        is_done: The server said that nothing follows.
        is_given_up: Whoever listens wants nothing more.
        error: What it said went wrong in the middle; None: nothing.
    """

    def __init__(self, parse: Callable[[bytes], Any], hear: Callable[[str], bool] | None = None) -> None:
        """Begin.

        Args:
            parse: Reads the JSON of an event.
            hear: Told the text of the one choice whenever it has grown; False gives it up.
        """
        self.is_done = self.is_given_up = False
        self.error: dict[str, Any] | None = None
        self._parse = parse
        self._hear = hear
        self._num_pieces = 0
        self._rest = b""
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def feed(self, data: bytes) -> bool:
        """Take in bytes; whether they end an event.

        Raises:
            StreamError: An event has another form than the protocol's.
            Exception: What `parse` raises.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        events = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        for event in events:
            if event == b"[DONE]":
                self.is_done = True
            elif event and not self.is_given_up:
                self._add(self._parse(event))
        return bool(events)

    def _add(self, event: Any) -> None:
        try:
            if event.get("error") or event.get("object") == "error":
                self.error = event
                return
            self._head |= {name: value for name, value in event.items() if value is not None and name != "choices"}
            for piece in event.get("choices") or ():
                index = piece.get("index", 0)
                choice = self._choices.setdefault(index, {"index": index, "finish_reason": None})
                if not choice["finish_reason"]:
                    _extend(choice, piece)
                    if self._hear:
                        self._tell(choice, self._hear)
        except (KeyError, TypeError, AttributeError):
            raise StreamError("the server streams in another form than the protocol's") from None

    def _tell(self, choice: dict[str, Any], hear: Callable[[str], bool]) -> None:
        own, name = (choice["delta"], "content") if "delta" in choice else (choice, "text")
        text = _text(own, name)
        own[name] = [text]  # joined once, not again with every event
        self._num_pieces += 1
        if text and not hear(text):
            choice["finish_reason"], self.is_given_up = GIVEN_UP, True
            self._head.setdefault("usage", {"completion_tokens": self._num_pieces})  # about a token each

    def answer(self) -> dict[str, Any]:
        """The whole answer.

        It has come to its end when every choice is finished and the counts of tokens, which come last, or `[DONE]` have come.

        Raises:
            StreamError: The end is missing.
        """
        ended = self._choices and all(choice["finish_reason"] for choice in self._choices.values())
        if not (ended and (self.is_done or "usage" in self._head)):
            raise StreamError("the stream broke off")
        return self._head | {"choices": [_joined(choice) for choice in self._choices.values()]}


def _extend(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    """Add a piece: texts and lists grow, the rest is what was said last."""
    for name, value in piece.items():
        if name in ("delta", "logprobs"):
            own = choice.setdefault(name, {})
            for inner, more in (value or {}).items():
                _grow(own, inner, more)
        elif name == "text" or isinstance(value, list):
            _grow(choice, name, value)
        elif value is not None:
            choice[name] = value


def _grow(own: dict[str, Any], name: str, value: Any) -> None:
    """Texts are joined at the end only, for they may be long."""
    if isinstance(value, str | list):
        own.setdefault(name, []).extend([value] if isinstance(value, str) else value)


def _joined(choice: dict[str, Any]) -> dict[str, Any]:
    if "delta" not in choice:
        return choice | {"text": _text(choice, "text")}
    said = choice.pop("delta")
    return choice | {"message": {"content": _text(said, "content"), "refusal": _text(said, "refusal")}}


def _text(own: dict[str, Any], name: str) -> str:
    return "".join(piece for piece in own.get(name, ()) if isinstance(piece, str))
