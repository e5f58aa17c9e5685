"""Token counts are exactly those of `tokenizers`, whichever way they are found."""

from __future__ import annotations

import pickle
import runpy

import pytest
from conftest import REPOSITORY
from counting.tokenizers_made import GPT2, MARKS, TEXTS, made
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.counting import TokenCounter, open_counter
from tamis.counting.shared import load_fast
from tamis.demo import MODEL_FOLDER
from tamis.errors import InputError

CHECK = runpy.run_path(str(REPOSITORY / "benchmarks" / "check_token_counts.py"), run_name="check")


@pytest.fixture(scope="module", params=["qwen", "gpt2"])
def counter(request, tmp_path_factory) -> TokenCounter:
    folder = tmp_path_factory.mktemp("tokenizer")
    found = open_counter(made(folder, pattern=GPT2) if request.param == "gpt2" else made(folder))
    assert found.how == "fastokens"
    return found


def test_strings_made_to_find_a_difference(counter):
    for text in CHECK["strings"](1500, MARKS):
        assert counter.count(text) == counter.count_slowly(text), text
    for text in CHECK["long_strings"](MARKS, 60_000):
        assert counter.count(text) == counter.count_slowly(text), text[:40]


@settings(max_examples=200)
@given(st.lists(st.one_of(st.text(), st.text("a  \n\t'sS1.<|é\u0301中"), st.sampled_from((*MARKS, *TEXTS, "  ", "\n ")))))
def test_any_text(counter, parts):
    text = "".join(parts)
    assert counter.count(text) == counter.count_slowly(text)


def test_every_character_of_the_basic_plane(counter):
    every = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(every), 50):
        parts = [f"a{sign}{sign}b {sign}\u0301 1{sign}\n{sign}'{sign}  {sign}x" for sign in every[start : start + 50]]
        text = "".join(parts)
        if counter.count(text) != counter.count_slowly(text):
            wrong = [part for part in parts if counter.count(part) != counter.count_slowly(part)]
            pytest.fail(f"these differ: {wrong!a}")


def test_another_process_counts_the_same(counter):
    other = pickle.loads(pickle.dumps(counter))
    assert [other.count(text) for text in TEXTS] == [counter.count(text) for text in TEXTS]


def _lower(content):
    content["normalizer"] = {"type": "Lowercase"}


def _prefixed(content):
    content["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = True


def _stripping(content):
    content["added_tokens"][0]["lstrip"] = True


def _reversed(content):
    content["model"]["merges"].reverse()


def _unreached(content):
    for pair in (["Q", "Z"], ["Z", "W"], ["Q", "ZW"]):  # of QZW the pair QZ goes first
        content["model"]["merges"].append(pair)
        content["model"]["vocab"]["".join(pair)] = len(content["model"]["vocab"]) + 100


def _whole_words(content):
    content["model"]["ignore_merges"] = True
    content["model"]["vocab"]["Ġunlikely"] = 9999


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (_lower, "fastokens"),
        (_prefixed, "fastokens"),
        (_stripping, "fastokens"),
        (_reversed, "fastokens"),
        (_unreached, "tokenizers (fastokens: "),
        (_whole_words, "tokenizers (fastokens: "),
    ],
)
def test_an_odd_tokenizer_is_counted_as_exactly(tmp_path, change, how):
    counter = open_counter(made(tmp_path, change))
    assert counter.how.startswith(how)
    for text in (*TEXTS, "an unlikely QZW", " \n ".join(MARKS), *CHECK["strings"](100, MARKS, seed=3)):
        assert counter.count(text) == counter.count_slowly(text)


class _OffByOne:
    def __init__(self, path):
        pass

    def encode(self, text):
        return [0] * (len(text) + 1)


def test_a_probe_that_differs_turns_the_fast_way_off(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tamis.counting.counter.load_fast", _OffByOne)
    counter = open_counter(made(tmp_path))
    assert "disagrees" in counter.how
    assert counter.count(TEXTS[0]) == counter.count_slowly(TEXTS[0])


def test_a_text_that_the_fast_way_refuses_is_counted_slowly():
    counter, deep = open_counter(str(MODEL_FOLDER)), " " * 1_000_000
    with pytest.raises(ValueError, match="regex"):
        load_fast(MODEL_FOLDER / "tokenizer.json").encode(deep)
    assert counter.count(deep) == counter.count_slowly(deep)


def test_a_small_input_is_counted_without_a_proof(tmp_path, monkeypatch):
    monkeypatch.setattr("tamis.counting.probe._examine", _no_proof)
    counter = open_counter(made(tmp_path), few=True)
    assert counter.how == "tokenizers (the input is small)"
    assert counter.count(TEXTS[0]) > 1


@pytest.mark.parametrize("name", ["qwen2.5", "qwen3"])
def test_real_tokenizers_on_real_generations(shared_data, name):
    counter = open_counter(str(shared_data / "tokenizers" / name))
    assert counter.how == "fastokens"
    marks = [token.content for token in counter.reference().get_added_tokens_decoder().values()]
    texts = [text for path in sorted((shared_data / "generations").glob("*.jsonl")) for text in CHECK["real_texts"](path)]
    texts = [*texts[::197], *CHECK["strings"](300, marks, seed=2), "<think>\nso\n</think>\n\n42<|im_end|>"]
    assert [counter.count(text) for text in texts] == [counter.count_slowly(text) for text in texts]


@pytest.mark.parametrize(
    ("content", "words"), [(None, "has no tokenizer.json"), ("{", "is not a tokenizer.json"), ("{}", "is not a tokenizer.json")]
)
def test_no_tokenizer_is_one_line(tmp_path, content, words):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=words):
        open_counter(str(tmp_path))


def _no_proof(_: object) -> None:
    raise AssertionError("proved again")


@pytest.mark.parametrize("change", [lambda _: None, _whole_words])
def test_a_proof_is_kept_for_the_same_file_alone(tmp_path, monkeypatch, change):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = made(tmp_path, change)
    first = open_counter(path)
    with monkeypatch.context() as patch:
        patch.setattr("tamis.counting.probe._examine", _no_proof)
        again = open_counter(path)
        assert again.how == first.how
        assert [again.count(text) for text in (*TEXTS, *MARKS)] == [first.count(text) for text in (*TEXTS, *MARKS)]
        (tmp_path / "tokenizer.json").write_bytes((tmp_path / "tokenizer.json").read_bytes() + b" ")
        with pytest.raises(AssertionError, match="proved again"):
            open_counter(path)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"proof": 1}', b'{"proof'])
def test_a_damaged_or_foreign_proof_is_made_anew(tmp_path, monkeypatch, content):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = made(tmp_path)
    num = open_counter(path).count(TEXTS[0])
    (kept,) = (tmp_path / "cache").rglob("*.json")
    whole = kept.read_bytes()
    kept.write_bytes(content)
    assert open_counter(path).count(TEXTS[0]) == num
    assert kept.read_bytes() == whole


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert open_counter(made(tmp_path)).count("") == 0
