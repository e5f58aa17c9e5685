"""What a row of training data looks like to the trainers that read it; see docs/export.md.

A format makes of a prompt and one answer, or a chosen and a rejected one, the columns that are learnt from. Texts are never
changed. Images come first in the last turn of the user, where the engines put them too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tamis.records import Message, Prompt

_MARKER = "<image>"
_SHAREGPT_NAMES = {"user": "human", "assistant": "gpt"}


@dataclass(frozen=True, slots=True)
class Format:
    """`columns(prompt, texts)`: of one text, or with `is_pairs` of the chosen and the rejected one.

    It is None where trainers would misread the row: ShareGPT counts `<image>` in all texts, and a text that holds the word
    without an image to it breaks a training run.
    """

    is_pairs: bool
    columns: Callable[[Prompt, tuple[str, ...]], dict[str, Any] | None]


def _sharegpt(prompt: Prompt, texts: tuple[str, ...]) -> dict[str, Any] | None:
    num_marked = sum(message.content.count(_MARKER) for message in prompt.messages)
    if num_marked not in (0, len(prompt.images)) or any(_MARKER in text for text in texts):
        return None
    last = _last_user_turn(prompt)
    turns = []
    for i, message in enumerate(prompt.messages):
        missing = f"{_MARKER}\n" * len(prompt.images) if i == last and not num_marked else ""
        turns.append({"from": _SHAREGPT_NAMES.get(message.role, message.role), "value": missing + message.content})
    answers = [{"from": "gpt", "value": text} for text in texts]
    if len(answers) == 1:
        return {"conversations": turns + answers, **_images(prompt)}
    return {"conversations": turns, "chosen": answers[0], "rejected": answers[1], **_images(prompt)}


def _messages(prompt: Prompt, texts: tuple[str, ...]) -> dict[str, Any]:
    return {"messages": [*_turns(prompt), _reply(prompt, texts[0])], **_images(prompt)}


def _trl_dpo(prompt: Prompt, texts: tuple[str, ...]) -> dict[str, Any]:
    chosen, rejected = ([_reply(prompt, text)] for text in texts)
    return {"prompt": _turns(prompt), "chosen": chosen, "rejected": rejected, **_images(prompt)}


def _turns(prompt: Prompt) -> list[dict[str, Any]]:
    last = _last_user_turn(prompt)
    return [_turn(message, prompt, len(prompt.images) if i == last else 0) for i, message in enumerate(prompt.messages)]


def _reply(prompt: Prompt, text: str) -> dict[str, Any]:
    return _turn(Message("assistant", text), prompt, 0)


def _turn(message: Message, prompt: Prompt, num_images: int) -> dict[str, Any]:
    """One message; with images in the prompt all messages are lists of parts, for a column has one type."""
    if not prompt.images:
        return {"role": message.role, "content": message.content}
    return {"role": message.role, "content": [{"type": "image"}] * num_images + [{"type": "text", "text": message.content}]}


def _last_user_turn(prompt: Prompt) -> int:
    users = [i for i, message in enumerate(prompt.messages) if message.role == "user"]
    return users[-1] if users else len(prompt.messages) - 1


def _images(prompt: Prompt) -> dict[str, list[str]]:
    return {"images": list(prompt.images)} if prompt.images else {}


FORMATS = {
    "sharegpt-sft": Format(False, _sharegpt),
    "sharegpt-dpo": Format(True, _sharegpt),
    "trl-dpo": Format(True, _trl_dpo),
    "messages": Format(False, _messages),
}
"""By the names that `tamis export --format` takes."""
