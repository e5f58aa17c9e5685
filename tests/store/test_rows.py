"""`RowFile`: whole or not at all."""

from __future__ import annotations

import pytest

from tamis.errors import InputError
from tamis.store import RowFile


def test_rows_appear_when_the_block_ends(tmp_path):
    path = tmp_path / "deep" / "rows.jsonl"
    with RowFile(path) as rows:
        rows.write({"text": "你好", "nan": float("nan")})
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == '{"text":"你好","nan":null}\n'
    assert [p.name for p in path.parent.iterdir()] == ["rows.jsonl"]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("old")

    def fail_midway() -> None:
        with RowFile(path) as rows:
            rows.write({"new": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"), RowFile(tmp_path / "file" / "rows.jsonl"):
        pass
