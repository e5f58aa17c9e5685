"""One row of somebody's samples -> what it contributes to a pool, and from there to `Sample`s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tamis.identity import sample_keys
from tamis.records import Failure, FinishReason, Image, Message, Problem, Prompt, Sample, Sampling
from tamis.sources.fields import BadField, Columns, build_problem, find
from tamis.sources.rows import Row, kind_of

_LISTS = ("samples", "generations", "responses", "candidates", "completions", "outputs", "gen")
_TEXTS = ("gen", "generation", "response", "output", "text", "completion")
_ELEMENT_TEXTS = ("text", "generation", "response", "output", "completion")
_COMPLETION_TOKENS = ("completion_tokens", "num_tokens", "output_tokens")
_PROMPT_TOKENS = ("prompt_tokens", "input_tokens")
_ABOUT = ("finish_reason", "truncated", "error", *_COMPLETION_TOKENS, *_PROMPT_TOKENS)
_CUT = ("length", "max_tokens", "max_length")  # finish reasons that mean: cut off
# Of a row with both, `problem_id` groups and `id` names the sample; an `answer` beside a `gold` is the model's.
_COLUMNS = Columns(answer=("reference", *Columns().answer), id=("problem_id", "unique_id", "id", "idx"))

Entry = tuple[Any, Mapping[str, Any]]
"""The text of a sample, and what is said of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one row contributes to a pool."""

    problem: Problem
    has_id: bool
    many: bool  # a list of samples, not one
    entries: tuple[Entry, ...]

    @property
    def has_question(self) -> bool:
        """Whether the row says what was asked."""
        return bool(self.problem.prompt or self.problem.messages)


class PartReader:
    """Reads one row, under the user's column names."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        fields = dict(fields)
        samples = (fields.pop("samples"),) if "samples" in fields else ()
        text = (fields.pop("text"),) if "text" in fields else ()
        self._columns = _COLUMNS.named(fields)
        self._own_text = text
        taken = set(fields.values())  # a `text` that is the question is no sample
        usual = tuple(name for name in dict.fromkeys((*_LISTS, *(() if text else _TEXTS))) if name not in taken)
        self._names: tuple[str, ...] = (*text, *(samples or usual))
        self._element_texts = text or _ELEMENT_TEXTS

    def part(self, row: Row) -> Part:
        """What the row contributes.

        Raises:
            BadField: neither an id nor a question, or no samples.
        """
        values = row.values
        name = self._samples_column(values)
        many = isinstance(values[name], list)
        if many and not values[name]:
            raise BadField(name, "an empty list")
        rest = {key: value for key, value in values.items() if key != name}
        problem, id_column = build_problem(Row(row.where, rest), self._columns, needs_question=False)
        if id_column is None and not (problem.prompt or problem.messages):
            raise BadField("question", "neither an id nor a question")
        problem = replace(problem, metadata={key: v for key, v in problem.metadata.items() if key not in _ABOUT})
        if many:
            entries = tuple(self._element(item, _about(rest, i)) for i, item in enumerate(values[name]))
        else:
            entries = (self._element(values[name], _about(rest, None)),)
        return Part(problem, id_column is not None, many, entries)

    def _samples_column(self, values: Mapping[str, Any]) -> str:
        """A list before one text, a value before null; the user's own name for the text before all."""
        present = [name for name in self._names if name in values]
        if not present:
            raise BadField("samples", f"none of the fields {', '.join(self._names)}")
        if present[0] in self._own_text:
            return present[0]
        lists = (name for name in present if isinstance(values[name], list))
        return next(lists, None) or next((name for name in present if values[name] is not None), present[0])

    def _element(self, item: Any, about: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
        if not isinstance(item, dict):
            return item, about
        name = next((name for name in self._element_texts if name in item), None)
        return (item[name] if name else None), {**about, **item}


def _about(values: Mapping[str, Any], index: int | None) -> dict[str, Any]:
    """What a row says of its one sample, or, with an index, of one of many: then only lists speak of each."""
    if index is None:
        return {name: values[name] for name in _ABOUT if name in values}
    said = {name: v[index] for name in _ABOUT if isinstance(v := values.get(name), list) and index < len(v)}
    shared = {name: values[name] for name in _PROMPT_TOKENS if isinstance(values.get(name), int)}
    return {**shared, **said}


def own_samples(problem: Problem, entries: Sequence[Entry]) -> tuple[Sample, ...]:
    """Samples as Tamis wrote them, in order of index; none when any is not."""
    if not all("key" in about and "sampling" in about for _, about in entries):
        return ()
    try:
        samples = sorted((Sample.from_json(about) for _, about in entries), key=lambda sample: sample.index)
    except (KeyError, TypeError, ValueError):
        return ()
    fits = all(s.problem_id == problem.id and all(isinstance(part, str | Image) for part in s.parts) for s in samples)
    distinct = len({s.index for s in samples}) == len({s.key for s in samples}) == len(samples)
    return tuple(samples) if fits and distinct else ()


def foreign_samples(problem: Problem, entries: Sequence[Entry]) -> tuple[Sample, ...]:
    """Samples of anybody's making: numbered as they come, with keys as if drawn under the default settings."""
    sampling = Sampling()
    prompt = Prompt(problem.messages or (Message("user", problem.prompt),), problem.images)
    keys = sample_keys(problem.id, prompt, sampling, range(len(entries)))
    samples = []
    for index, (key, (text, about)) in enumerate(zip(keys, entries, strict=True)):
        error, reason = None, _finish_reason(about)
        if not isinstance(text, str):
            said = about.get("error") or ("no text" if text is None else f"the text is {kind_of(text)}")
            error, reason = Failure("input", str(said)), "error"
        samples.append(
            Sample(
                key=key,
                problem_id=problem.id,
                index=index,
                seed=0,
                sampling=sampling,
                parts=(text,) if isinstance(text, str) and text else (),
                finish_reason=reason,
                prompt_tokens=_count(about, _PROMPT_TOKENS),
                completion_tokens=_count(about, _COMPLETION_TOKENS),
                error=error,
            )
        )
    return tuple(samples)


def _finish_reason(about: Mapping[str, Any]) -> FinishReason:
    return "length" if was_cut(about) else "stop"


def was_cut(about: Mapping[str, Any]) -> bool | None:
    """Whether a row says that its text ends at a token limit; None when it says nothing of the end."""
    reason, cut = about.get("finish_reason"), about.get("truncated")
    if reason in _CUT or str(cut).lower() in ("true", "1"):
        return True
    return None if reason is None and cut is None else False


def _count(about: Mapping[str, Any], names: Sequence[str]) -> int:
    """A number of tokens, 0 when none is given; the cells of a CSV are text."""
    name = find(about, names)
    value = str(about[name]) if name else ""
    return int(value) if value.isascii() and value.isdigit() else 0
