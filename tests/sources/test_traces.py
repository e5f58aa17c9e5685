"""Results of interleaved reasoning, whoever wrote them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tamis.errors import InputError
from tamis.records import Image
from tamis.sources.traces import TraceFile

DOCUMENTED = {
    "Question": "原始问题",
    "output_reasoning": "想。\n\n答案是 4。",
    "output_images": ["output/batch/output_images/0/output_image_1.png"],
    "num_reasoning_steps": 4,
    "num_generated_images": 1,
    "sample_id": 0,
}


def results(folder: Path, *rows: dict | str) -> TraceFile:
    path = folder / "results.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return TraceFile(folder)


def test_a_documented_row(tmp_path):
    (trace,) = results(tmp_path, DOCUMENTED).traces()
    assert (trace.sample_id, trace.num_steps, trace.num_images, trace.error) == (0, 4, 1, "")
    assert trace.parts == ("想。\n\n答案是 4。", Image(DOCUMENTED["output_images"][0]))
    assert trace.values["Question"] == "原始问题"


def test_the_order_of_parts_where_the_row_has_it(tmp_path):
    parts = [{"text": "a"}, {"image": "output_images/0/output_image_1.png"}, {"text": "b"}]
    (trace,) = results(tmp_path, {"sample_id": "x", "output_parts": parts, "truncated": True}).traces()
    assert trace.parts == ("a", Image("output_images/0/output_image_1.png"), "b")
    assert (trace.text, trace.num_steps, trace.num_images, trace.truncated) == ("a\n\nb", 2, 1, True)


def test_the_last_row_of_an_id_counts_and_ids_are_in_order(tmp_path):
    file = results(
        tmp_path, DOCUMENTED | {"sample_id": 10}, DOCUMENTED | {"sample_id": "b"}, {"sample_id": 2, "error": "engine: gone"},
        DOCUMENTED | {"sample_id": "a"}, DOCUMENTED | {"sample_id": 2},
    )  # fmt: skip
    assert [(trace.sample_id, trace.error) for trace in file.traces()] == [(2, ""), (10, ""), ("b", ""), ("a", "")]
    assert (len(file), file.num_superseded, file.bad_rows) == (4, 1, [])


def test_a_later_row_that_cannot_be_read_does_not_cost_the_earlier_one(tmp_path):
    file = results(tmp_path, DOCUMENTED, {"sample_id": 0, "Question": "no more"})
    assert [trace.num_steps for trace in file.traces()] == [4]
    assert [(bad.where.rpartition(":")[2], bad.field) for bad in file.bad_rows] == [("2", "output_reasoning")]
    found = file.find("0")
    assert found is not None
    assert (found.num_steps, file.find(1)) == (4, None)


def test_a_failed_row_needs_nothing_else(tmp_path):
    rows = [{"sample_id": 0, "error": {"type": "OOM"}}, DOCUMENTED | {"sample_id": 1, "error": None}]
    failed, done = results(tmp_path, *rows).traces()
    assert (failed.error, failed.parts, done.error) == ("{'type': 'OOM'}", (), "")


def test_bad_lines_are_named_once_and_the_rest_goes_on(tmp_path):
    file = results(
        tmp_path, "[]\n", "\n", {"Question": "x"}, {"sample_id": True}, DOCUMENTED | {"sample_id": 1, "output_images": "x"},
        DOCUMENTED | {"sample_id": 2, "num_reasoning_steps": "4"}, {"sample_id": 3},
        DOCUMENTED | {"sample_id": 4, "output_parts": [7]}, DOCUMENTED | {"sample_id": 5, "num_reasoning_steps": 10**30},
        DOCUMENTED, '{"sample_id": 9, "output_rea',
    )  # fmt: skip
    for _ in range(2):
        assert [trace.sample_id for trace in file.traces()] == [0]
    named = {bad.where.rpartition(":")[2]: bad.field for bad in file.bad_rows}
    assert named == {
        "1": "", "3": "sample_id", "4": "sample_id", "5": "output_images", "6": "num_reasoning_steps", "7": "output_reasoning",
        "8": "output_parts", "9": "num_reasoning_steps", "11": "",
    }  # fmt: skip
    assert len(file.bad_rows) == 9


def test_pictures_are_found_where_the_folder_was_moved_to_and_nowhere_else(tmp_path):
    file = results(tmp_path, DOCUMENTED)
    found = tmp_path / "output_images/0/output_image_1.png"
    for path in (
        DOCUMENTED["output_images"][0],
        "/elsewhere/output_images/0/output_image_1.png",
        "output_images\\0\\output_image_1.png",
    ):
        assert file.picture(path) == found
    (tmp_path / "output_images").mkdir()
    (tmp_path / "output_images/link").symlink_to("/")
    for path in ("/etc/passwd", "../x.png", "a/output_images/../../x.png", "output_images/link/etc/passwd", "a\0b"):
        with pytest.raises(InputError, match="lies outside of"):
            file.picture(path)


def test_no_results(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        TraceFile(tmp_path)
