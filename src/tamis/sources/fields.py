"""Which column is what: the names a question, a reference, an id or a text go by, and the checks of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tamis.errors import UsageError
from tamis.identity import content_id
from tamis.records import Message, Problem
from tamis.sources.rows import Row, kind_of


@dataclass(frozen=True, slots=True)
class Columns:
    """The names under which to look, the first that has a value counts."""

    question: tuple[str, ...] = ("problem", "question", "prompt", "input", "query", "messages")
    answer: tuple[str, ...] = ("expected_answer", "ground_truth", "gold", "target", "answer", "solution")
    id: tuple[str, ...] = ("id", "unique_id", "idx", "problem_id")
    images: tuple[str, ...] = ("image", "images")
    given: frozenset[str] = frozenset()  # those named by the user: a row without them is bad

    def named(self, fields: Mapping[str, str] | None) -> Columns:
        """With the user's own names.

        Raises:
            UsageError: `fields` names something that is not `question`, `answer`, `id` or `images`.
        """
        fields = fields or {}
        roles = ("question", "answer", "id", "images")
        for role in fields:
            if role not in roles:
                raise UsageError(f"unknown field role {role!r}", f"Use one of: {', '.join(roles)}")
        return replace(self, given=frozenset(fields), **{role: (name,) for role, name in fields.items()})


class BadField(Exception):
    """A field of a row that cannot be used; becomes a `BadRow`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def find(values: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of the names that has a value: not null, not empty text."""
    for name in names:
        value = values.get(name)
        if value is not None and value != "":
            return name
    return None


def build_problem(row: Row, columns: Columns, *, needs_question: bool = True) -> tuple[Problem, str | None]:
    """The problem of a row, with the id that the row gives or else `content_id`; and the name of the column that gave it.

    Fields that were used as they stand leave the metadata; a reference that was cut out of a longer text leaves its text.

    Raises:
        BadField: no question (where one is needed), or a value of the wrong type.
    """
    values = row.values
    for role in columns.given:
        if (name := getattr(columns, role)[0]) not in values:
            raise BadField(name, f"there is no such field; the row has {_some(values)}")
    metadata = dict(values)
    prompt, messages = _question(values, columns, metadata, needs_question=needs_question)
    images: tuple[str, ...] = ()
    if name := find(values, columns.images):
        images = _images(name, metadata.pop(name))
    answer = None
    if name := find(values, columns.answer):
        answer, whole = _reference(name, values[name], given="answer" in columns.given)
        if whole:
            del metadata[name]
    id_name = find(values, columns.id)
    identity = as_text(id_name, metadata.pop(id_name)) if id_name else content_id(prompt, messages, images)
    return Problem(identity, prompt, messages, images, answer, metadata, row.where), id_name


def as_text(name: str, value: Any) -> str:
    """Text of an id or a reference; a whole number never gets a `.0`."""
    if isinstance(value, str) and (text := value.strip()):
        return text
    if isinstance(value, int):  # True and False too
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], list):
        return as_text(name, value[0])
    raise BadField(name, "is blank" if isinstance(value, str) else f"is {kind_of(value)}, not text or a number")


def _some(values: Mapping[str, Any]) -> str:
    names = [repr(name) for name in list(values)[:8]]
    return ", ".join([*names, "..."] if len(values) > 8 else names) or "none"


def _question(
    values: Mapping[str, Any], columns: Columns, metadata: dict[str, Any], *, needs_question: bool
) -> tuple[str, tuple[Message, ...]]:
    name = find(values, columns.question)
    if name is None:
        if not needs_question:
            return "", ()
        if empty := next((name for name in columns.question if name in values), None):
            raise BadField(empty, "is empty")
        raise BadField("question", f"none of the fields {', '.join(columns.question)}; the row has {_some(values)}")
    value = metadata.pop(name)
    if isinstance(value, list):
        return "", _messages(name, value)
    if not isinstance(value, str):
        raise BadField(name, f"is {kind_of(value)}, not text")
    if not value.strip():
        raise BadField(name, "is empty")
    return value, ()


def _messages(name: str, turns: list[Any]) -> tuple[Message, ...]:
    messages = []
    for position, turn in enumerate(turns):
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
            content = "".join(part["text"] for part in content)
        if not isinstance(role, str) or not isinstance(content, str):
            raise BadField(f"{name}[{position}]", "needs a role and a content, both text")
        messages.append(Message(role, content))
    if not any(message.content.strip() for message in messages):
        raise BadField(name, "is empty")
    if messages[-1].role == "assistant":
        raise BadField(name, "ends with the assistant's turn: nothing is left to answer")
    return tuple(messages)


def _images(name: str, value: Any) -> tuple[str, ...]:
    paths = []
    for item in value if isinstance(value, list) else [value]:
        path = (item.get("path") or item.get("url")) if isinstance(item, dict) else item
        if not isinstance(path, str) or not path:
            raise BadField(name, "needs paths of pictures, as text")
        paths.append(path)
    return tuple(paths)


def _reference(name: str, value: Any, *, given: bool) -> tuple[str | None, bool]:
    r"""The reference, and whether it is the whole value: what follows `####` (GSM8K), or the last `\boxed{}` of a solution."""
    text = as_text(name, value)
    if "####" in text:
        tail = text.rpartition("####")[2].strip()
        if not tail:
            raise BadField(name, "nothing follows ####")
        return tail, False
    if name != "solution" and not given:
        return text, True
    from tamis.grade.extract import boxed

    if found := boxed(text):
        return found, False
    return (text, True) if given else (None, False)
