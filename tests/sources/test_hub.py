"""Folders laid out like a dataset of the hub, through `datasets`; no network."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace

import pytest

from tamis.errors import InputError
from tamis.sources import dataset_digest, hub, read_problems


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the library's own imports warn of
        pytest.importorskip("datasets")
    folder = tmp_path / "layout"
    (folder / "data").mkdir(parents=True)
    for split, questions in {"test": ["一加一？", "What is 2?"], "train": ["t"]}.items():
        rows = [{"problem": q, "answer": len(q), "turns": [{"role": "user"}]} for q in questions]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "data" / f"{split}-00000-of-00001.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_splits_of_a_layout(layout):
    problems = list(read_problems(str(layout), bad_rows=[]))
    assert [(p.prompt, p.answer, p.metadata, p.where) for p in problems] == [
        ("一加一？", "4", {"turns": [{"role": "user"}]}, f"{layout}[test]:1"),
        ("What is 2?", "10", {"turns": [{"role": "user"}]}, f"{layout}[test]:2"),
    ]
    assert [p.prompt for p in read_problems(str(layout), split="train", bad_rows=[])] == ["t"]


def test_a_missing_split(layout):
    with pytest.raises(InputError) as caught:
        list(read_problems(str(layout), split="validation", bad_rows=[]))
    assert caught.value.message.startswith(f"the folder {layout} cannot be loaded (Bad split: validation")
    assert caught.value.advice == "Choose another with --split"


def test_the_digest_of_a_layout_follows_its_content(layout):
    first = dataset_digest(str(layout))
    assert dataset_digest(str(layout)) == first
    (layout / "data" / "test-00000-of-00001.jsonl").write_text('{"problem": "x"}\n')
    assert dataset_digest(str(layout)) != first


class _Library(SimpleNamespace):
    """Stands where `datasets` would, for what only the network could show."""

    def load_dataset(self, name, config, *, split, streaming):
        self.asked = (name, config, split, streaming)
        if isinstance(self.stream, Exception):
            raise self.stream
        return self.stream

    def load_dataset_builder(self, name, config):
        return SimpleNamespace(hash=f"hash of {name} {config}")


class _Stream(list):
    features = None


class _BreakingStream(_Stream):
    def __iter__(self):
        yield from super().__iter__()
        raise ConnectionError("reset\nby peer")


def use(monkeypatch, stream):
    library = _Library(stream=stream)
    monkeypatch.setattr(hub, "_library", lambda _: library)
    return library


def test_a_name_with_a_configuration(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    library = use(monkeypatch, _Stream([{"question": "q", "answer": "#### 3"}]))
    (problem,) = read_problems("openai/gsm8k:main", bad_rows=[])
    assert library.asked == ("openai/gsm8k", "main", "test", True)
    assert (problem.answer, problem.where) == ("3", "openai/gsm8k[test]:1")
    assert dataset_digest("openai/gsm8k:main") == "huggingface:openai/gsm8k:main:test@hash of openai/gsm8k main"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ValueError("Config name is missing.\nPlease pick one among ['main']"), "Name one: a/b:CONFIG"),
        (ValueError("Bad split: test. Available splits: ['train']"), "Choose another with --split"),
        (ConnectionError("Couldn't reach 'a/b' on the Hub"), "Check the name and the connection, or give a file"),
    ],
)
def test_what_cannot_be_loaded(monkeypatch, tmp_path, error, advice):
    monkeypatch.chdir(tmp_path)
    use(monkeypatch, error)
    with pytest.raises(InputError) as caught:
        list(read_problems("a/b", bad_rows=[]))
    said = " ".join(str(error).split())
    assert caught.value.message == f"'a/b' is no file here, no built-in set, and from the hub it cannot be loaded ({said})"
    assert caught.value.advice == advice


def test_a_connection_that_breaks(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    use(monkeypatch, _BreakingStream([{"problem": "q"}]))
    stream = read_problems("a/b", bad_rows=[])
    assert next(stream).prompt == "q"
    with pytest.raises(InputError) as caught:
        next(stream)
    assert str(caught.value) == "a/b broke off after 1 rows (reset by peer). Run the same command again"
