"""What a dataset's name means, and what is said when it means nothing."""

from __future__ import annotations

import sys

import pytest

from tamis.errors import InputError, MissingExtra
from tamis.sources import BUILT_IN, dataset_digest, read_problems


def prompts(dataset, **options):
    return [p.prompt for p in read_problems(str(dataset), bad_rows=[], **options)]


def put(path, *questions):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f'{{"problem": "{q}"}}\n' for q in questions), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_sets(name):
    assert len(prompts(name)) >= 200


def test_a_built_in_name_goes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    put(tmp_path / "demo" / "a.jsonl", "mine")
    monkeypatch.chdir(tmp_path)
    assert len(prompts("demo")) >= 200
    assert prompts("./demo") == ["mine"]


def test_what_has_no_splits_is_not_asked_for_one(tmp_path):
    for dataset in ("demo", put(tmp_path / "a.jsonl", "mine")):
        with pytest.raises(InputError, match="has no splits"):
            prompts(dataset, split="train")


def test_a_folder_is_read_in_order_of_names(tmp_path):
    put(tmp_path / "b.jsonl", "二")
    put(tmp_path / "a.jsonl", "一", "一")
    (tmp_path / "c.csv").write_text("problem\n三\n", encoding="utf-8")
    (tmp_path / "README.txt").write_text("not data")
    (tmp_path / "state.json").write_text("{}")
    assert prompts(tmp_path) == ["一", "一", "二", "三"]


def test_a_folder_with_splits(tmp_path):
    put(tmp_path / "test-00000-of-00002.jsonl", "t0")
    put(tmp_path / "test-00001-of-00002.jsonl", "t1")
    put(tmp_path / "train.jsonl", "no")
    assert prompts(tmp_path) == ["t0", "t1"]
    assert prompts(tmp_path, split="train") == ["no"]
    with pytest.raises(InputError) as caught:
        prompts(tmp_path, split="dev")
    assert str(caught.value) == f"{tmp_path} has no files of the split 'dev'. Choose with --split one of: test, train"
    put(tmp_path / "latest.jsonl", "which?")
    with pytest.raises(InputError) as caught:
        prompts(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: some files are named after a split and 'latest.jsonl' is not. Name one file instead"
    )


def test_ids_are_kept_apart_across_the_files_of_a_folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"id": 1, "problem": "x"}\n')
    bad_rows = []
    assert len(list(read_problems(str(tmp_path), bad_rows=bad_rows))) == 1
    assert [bad.where for bad in bad_rows] == [f"{tmp_path / 'b.jsonl'}:1"]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("missing.jsonl", "no such file: missing.jsonl. Check the path"),
        ("data/missing.parquet", "no such file: data/missing.parquet. Check the path"),
        ("./missing", "no such file: ./missing. Check the path"),
        ("/no/such/place", "no such file: /no/such/place. Check the path"),
        (
            "dmeo",
            "'dmeo' is no file here, no built-in set (demo, remainders) and no hub name (owner/name). Did you mean 'demo'?",
        ),
        ("", "'' is no file here, no built-in set (demo, remainders) and no hub name (owner/name). Check the path"),
    ],
)
def test_a_name_that_means_nothing(tmp_path, monkeypatch, dataset, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        read_problems(dataset, bad_rows=[])
    assert str(caught.value) == message


def test_a_suffix_that_says_nothing(tmp_path):
    for name in ("rows.xlsx", "rows", "rows.parquet.gz", "rows.gz"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InputError) as caught:
            read_problems(str(tmp_path / name), bad_rows=[])
        assert str(caught.value) == (
            f"{tmp_path / name}: the end of the name does not say what the file is. "
            "Readable are .jsonl, .csv, .tsv, .txt (each also as .gz or .zst) and .parquet"
        )


def test_a_folder_without_data(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError) as caught:
        read_problems(str(tmp_path), bad_rows=[])
    assert str(caught.value) == f"the folder {tmp_path} holds no data. It needs .jsonl, .csv, .tsv or .parquet files"


def test_a_hub_name_without_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra) as caught:
        prompts("openai/gsm8k:main")
    assert str(caught.value) == (
        "'openai/gsm8k' is no file here and no built-in set; as a dataset of the Hugging Face hub it needs packages that are "
        "not installed. Run: pip install 'tamis[data]'"
    )
    put(tmp_path / "layout" / "data" / "test.jsonl", "x")
    with pytest.raises(MissingExtra, match=r"the folder layout, laid out like a dataset of the hub, needs packages"):
        prompts("layout")


def test_digests_follow_content(tmp_path):
    path = put(tmp_path / "one" / "a.jsonl", "x")
    first = dataset_digest(str(path))
    assert first.startswith("sha256:")
    assert dataset_digest(str(put(tmp_path / "two" / "b.jsonl", "x"))) == first == dataset_digest(str(path.parent))
    put(path, "y")
    assert dataset_digest(str(path)) != first
    whole = dataset_digest(str(put(path.with_name("b.jsonl"), "x").parent))
    put(path, "z")
    assert dataset_digest(str(path.parent)) != whole
    with pytest.raises(InputError, match="no such file"):
        dataset_digest(str(tmp_path / "missing.jsonl"))
