"""However the input is cut, and in whatever order its parts come back, the result is the same."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from summarising.inputs import plainly, rows, write

from tamis.counting import open_counter
from tamis.sources.files import DataFile
from tamis.sources.generations import GenerationFields, ranges
from tamis.summarise.overview import survey
from tamis.summarise.partial import Partial
from tamis.summarise.per_prompt import summaries
from tamis.summarise.tally import Tally
from tamis.workflows.counting import RangeCounter
from tamis.workflows.summarising import Summarising, summarise_inputs


@pytest.fixture
def files(tmp_path) -> tuple[DataFile, ...]:
    values = rows(400, 9)
    paths = [write(tmp_path / f"{place}.jsonl", values[place * 100 : place * 100 + 100]) for place in range(4)]
    with paths[1].open("ab") as file:
        file.write(b'{"torn\n\n{"prompt": "\xe9"}\r{"prompt": 1}\n{"prompt": "last", "gen": "no end of line", "accuracy": 1}')
    return tuple(found for path in paths if (found := DataFile.of(path)))


def told(partial: Partial):
    whole = partial.whole()
    rows_of = [(s.to_json(), s.more(), s.differs, s.answers.tolist()) for s in summaries(whole)]
    named = [[(*facts[:1], whole.answers[a] if a >= 0 else a) for a in facts[3]] for facts in rows_of]
    return [(row, more, differs) for row, more, differs, _ in rows_of], named, whole.bad, survey(summaries(whole))


@pytest.mark.parametrize("size", [50, 333, 5000])
def test_ranges_in_any_order_and_grouping(files, tokenizer, size):
    count = RangeCounter(open_counter(tokenizer), GenerationFields(), 20, majority=True)
    expected = Partial()
    for part in ranges(files):
        expected.merge(count(part))
    expected = told(expected)
    parts = [count(part) for part in ranges(files, size)]
    assert len(parts) > 4
    random.Random(size).shuffle(parts)
    groups = [Partial() for _ in range(3)]
    for place, part in enumerate(parts):
        groups[place % 3].merge(part)
    whole = Partial()
    for group in groups:
        whole.merge(group)
    assert told(whole) == expected
    assert [(file, bad.line, bad.field) for file, bad in expected[2]] == [(1, 101, ""), (1, 103, ""), (1, 104, "prompt")]


def test_no_line_is_lost_or_read_twice(tmp_path):
    rng = random.Random(3)
    for _ in range(60):
        lines = [b"x" * rng.choice((0, 0, 1, 5, 40)) for _ in range(rng.randint(1, 12))]
        path = tmp_path / "lines.jsonl"
        path.write_bytes(rng.choice((b"\n", b"\r\n")).join(lines) + rng.choice((b"", b"\n")))
        file = DataFile(path, "jsonl")
        cuts = sorted({0, *(rng.randrange(path.stat().st_size + 1) for _ in range(4))})
        parts = [list(file.lines_between(a, b)) for a, b in zip(cuts, [*cuts[1:], None], strict=True)]
        assert [line for part in parts for _, line in part] == [line for _, line in file.lines()]
        assert all([number for number, _ in part] == list(range(1, len(part) + 1)) for part in parts)


def test_processes_change_nothing(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("tamis.workflows.summarising._ALONE_BYTES", 0)
    monkeypatch.setattr("tamis.workflows.summarising._LEAST_RANGE_BYTES", 3000)
    values = rows(200, 4)
    write(tmp_path / "a.jsonl", values)
    found = summarise_inputs(Summarising(Path(tmp_path), model=tokenizer, num_proc=2))
    assert [prompt.to_json() for prompt in found] == plainly(values, open_counter(tokenizer).count_slowly)


def test_rows_that_differ_in_the_answer_are_told(tmp_path, tokenizer):
    values = [{"prompt": "p", "gen": "g", "answer": answer, "accuracy": 0} for answer in ("1", "2", "1")]
    write(tmp_path / "a.jsonl", values)
    found = summarise_inputs(Summarising(Path(tmp_path), model=tokenizer))
    assert [prompt.answer for prompt in found] == ["1"]
    assert (found.overview.num_differing, found.overview.num_repeated) == (1, 2)


def test_the_first_bad_rows_are_kept_and_all_are_counted():
    parts = []
    for place in ((0, 0), (0, 50), (1, 0), (1, 70)):
        tally = Tally(place)
        for line in range(1, 702 if place == (1, 0) else 402):
            tally.refuse(line, "gen", "is missing")
        parts.append(tally.partial(num_lines=800))
    random.Random(1).shuffle(parts)
    partial = Partial()
    for part in parts:
        partial.merge(part)
    whole = partial.whole()
    expected = [(0, line) for line in (*range(1, 402), *range(801, 1202))] + [(1, line) for line in range(1, 199)]
    assert [(file, row.line) for file, row in whole.bad] == expected
    assert (len(whole.bad), whole.num_bad) == (1000, 1904)
