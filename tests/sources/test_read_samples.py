"""Samples made elsewhere -> pools: both layouts, any order, every bad row named."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError, UsageError
from tamis.identity import content_id, sample_keys
from tamis.records import Failure, Message, Prompt, Sample, Sampling
from tamis.sources import read_samples


def write(folder, *rows, name="samples.jsonl"):
    path = folder / name
    lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path, **options):
    bad_rows = []
    return list(read_samples(path, bad_rows=bad_rows, **options)), bad_rows


def texts(pools):
    return {pool.problem.id: [sample.text for sample in pool.samples] for pool in pools}


# --- layouts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["samples", "generations", "responses", "candidates", "completions", "outputs", "gen"])
@pytest.mark.parametrize("element", [None, "text", "generation", "response", "output", "completion"])
def test_a_list_a_row(tmp_path, name, element):
    drawn = ["一", "two"] if element is None else [{element: "一"}, {element: "two"}]
    (pool,), bad_rows = read(write(tmp_path, {"id": "p", "problem": "q？", "gold": 3, name: drawn, "level": 2}))
    assert bad_rows == []
    assert (pool.problem.id, pool.problem.prompt, pool.problem.answer) == ("p", "q？", "3")
    assert pool.problem.metadata == {"level": 2}
    assert [sample.text for sample in pool.samples] == ["一", "two"]
    assert [sample.index for sample in pool.samples] == [0, 1]
    keys = sample_keys("p", Prompt((Message("user", "q？"),)), Sampling(), range(2))
    assert [sample.key for sample in pool.samples] == keys
    assert {sample.problem_id for sample in pool.samples} == {"p"}


@pytest.mark.parametrize("name", ["gen", "generation", "response", "output", "text", "completion", "samples"])
def test_a_text_a_row(tmp_path, name):
    rows = [{"question": q, "answer": "1", name: t} for q, t in [("a", "x"), ("a", "y"), ("b", "z")]]
    pools, bad_rows = read(write(tmp_path, *rows))
    assert bad_rows == []
    assert texts(pools) == {content_id("a"): ["x", "y"], content_id("b"): ["z"]}
    assert [pool.problem.answer for pool in pools] == ["1", "1"]


@pytest.mark.parametrize("name", ["samples.jsonl", "samples.jsonl.gz", "samples.csv"])
def test_rows_of_a_problem_need_not_stand_together(tmp_path, name):
    order = [("b", "1"), ("a", "2"), ("b", "3"), ("丙", "4"), ("a", "5"), ("b", "6")]
    rows = [{"question": q, "response": t} for q, t in order]
    if name.endswith("csv"):
        rows = [b"question,response", *[f"{q},{t}".encode() for q, t in order]]
    pools, bad_rows = read(write(tmp_path, *rows, name=name))
    assert [pool.problem.prompt for pool in pools] == ["b", "a", "丙"]
    assert [[sample.text for sample in pool.samples] for pool in pools] == [["1", "3", "6"], ["2", "5"], ["4"]]
    assert bad_rows == []


def test_lists_of_several_runs_are_joined(tmp_path):
    rows = [{"id": i, "problem": f"q{i}", "samples": [f"{run}{i}{k}" for k in range(2)]} for run in "xy" for i in range(2)]
    pools, _ = read(write(tmp_path, *rows))
    assert texts(pools) == {"0": ["x00", "x01", "y00", "y01"], "1": ["x10", "x11", "y10", "y11"]}
    assert len({sample.key for pool in pools for sample in pool.samples}) == 8


def test_a_folder_of_samples(tmp_path):
    write(tmp_path, {"id": 1, "question": "q", "gen": "x"}, name="run_test_1.jsonl")
    write(tmp_path, {"id": 1, "question": "q", "gen": "y"}, name="run_2.jsonl")
    assert texts(read(tmp_path)[0]) == {"1": ["y", "x"]}


def test_ids_that_name_samples_do_not_tear_problems_apart(tmp_path):
    rows = [{"id": number, "question": q, "gen": str(number)} for number, q in enumerate("aab")]
    pools, _ = read(write(tmp_path, *rows))
    assert texts(pools) == {content_id("a"): ["0", "1"], content_id("b"): ["2"]}
    rows[2]["id"] = 0  # now an id repeats: they name problems after all
    pools, bad_rows = read(write(tmp_path, *rows))
    assert texts(pools) == {"0": ["0"], "1": ["1"]}
    assert [bad.field for bad in bad_rows] == ["question"]


def test_the_problem_id_goes_before_the_id_of_a_sample(tmp_path):
    rows = [{"id": number, "problem_id": "p", "gen": "x"} for number in range(2)]
    (pool,), _ = read(write(tmp_path, *rows))
    assert (pool.problem.id, pool.problem.prompt, len(pool.samples)) == ("p", "", 2)


def test_labels_are_not_looked_at(tmp_path):
    drawn = [{"text": "x", "answer": "wrong", "correct": True, "label_by": "them"}]
    (pool,), _ = read(write(tmp_path, {"problem": "q", "gold": "1", "answer": "theirs", "samples": drawn}))
    assert pool.problem.answer == "1"
    assert pool.grades == ()
    kept = json.dumps(pool.samples[0].to_json())
    assert not [label for label in ("theirs", "wrong", "label_by", "correct") if label in kept]


def test_metadata_is_what_all_rows_agree_on(tmp_path):
    rows = [{"question": "q", "gen": t, "level": 2, "correct": t == "x", "seed": t} for t in "xy"]
    (pool,), _ = read(write(tmp_path, *rows))
    assert pool.problem.metadata == {"level": 2}


def test_own_names(tmp_path):
    row = {"ask": "q", "truth": "so #### 4", "nr": 9, "outs": [{"body": "x", "text": "no"}], "samples": ["no"]}
    fields = {"question": "ask", "answer": "truth", "id": "nr", "samples": "outs", "text": "body"}
    (pool,), _ = read(write(tmp_path, row), fields=fields)
    assert (pool.problem.id, pool.problem.prompt, pool.problem.answer) == ("9", "q", "4")
    assert [sample.text for sample in pool.samples] == ["x"]
    (pool,), _ = read(write(tmp_path, {"question": "q", "body": "y", "gen": "no"}), fields={"text": "body"})
    assert [sample.text for sample in pool.samples] == ["y"]
    (pool,), _ = read(write(tmp_path, {"question": "q", "outputs": [{"body": "z"}]}), fields={"text": "body"})
    assert [sample.text for sample in pool.samples] == ["z"]
    (pool,), _ = read(write(tmp_path, {"generation": "the question", "completion": "w"}), fields={"question": "generation"})
    assert (pool.problem.prompt, pool.samples[0].text) == ("the question", "w")


# --- what is said of a sample --------------------------------------------------------------------------------------


def test_finish_reasons_and_counts(tmp_path):
    drawn = [
        {"text": "a", "finish_reason": "length", "completion_tokens": 5, "prompt_tokens": 9},
        {"text": "b", "finish_reason": "stop", "num_tokens": 6},
        {"text": "c", "truncated": True, "output_tokens": "x"},
        {"text": "", "finish_reason": None},
    ]
    (pool,), _ = read(write(tmp_path, {"question": "q", "samples": drawn, "prompt_tokens": 3, "num_tokens": 99}))
    said = [(s.finish_reason, s.completion_tokens, s.prompt_tokens, s.text, s.error) for s in pool.samples]
    assert said == [
        ("length", 5, 9, "a", None),
        ("stop", 6, 3, "b", None),
        ("length", 0, 3, "c", None),
        ("stop", 0, 3, "", None),
    ]


def test_what_parallel_lists_and_rows_say(tmp_path):
    row = {"question": "q", "responses": ["a", "b"], "finish_reason": ["length", "stop"], "num_tokens": [4, 5]}
    (pool,), _ = read(write(tmp_path, row))
    assert [(s.finish_reason, s.completion_tokens) for s in pool.samples] == [("length", 4), ("stop", 5)]
    assert pool.problem.metadata == {}
    lines = [b"question,response,truncated,completion_tokens", b"q,x,True,12", b"q,y,False,"]
    (pool,), _ = read(write(tmp_path, *lines, name="samples.csv"))
    assert [(s.finish_reason, s.completion_tokens) for s in pool.samples] == [("length", 12), ("stop", 0)]


@pytest.mark.parametrize(
    ("element", "message"),
    [
        (None, "no text"),
        (7, "the text is a number"),
        ({"text": None}, "no text"),
        ({"text": ["x"]}, "the text is a list"),
        ({"answer": "5"}, "no text"),
        ({"text": None, "error": "timeout"}, "timeout"),
    ],
)
def test_a_sample_without_text_is_a_failure_and_its_siblings_go_on(tmp_path, element, message):
    (pool,), bad_rows = read(write(tmp_path, {"question": "q", "samples": ["a", element, "乙"]}))
    assert bad_rows == []
    assert [sample.text for sample in pool.samples] == ["a", "", "乙"]
    assert [sample.error for sample in pool.samples] == [None, Failure("input", message), None]
    assert [sample.finish_reason for sample in pool.samples] == ["stop", "error", "stop"]


def test_a_row_whose_one_text_is_null_is_a_failure(tmp_path):
    (pool,), _ = read(write(tmp_path, {"question": "q", "response": None}, {"question": "q", "response": "x"}))
    assert [sample.error for sample in pool.samples] == [Failure("input", "no text"), None]


# --- our own files -------------------------------------------------------------------------------------------------


def own(problem_id, index, text, **more):
    sampling = Sampling(temperature=0.7, seed=5)
    (key,) = sample_keys(problem_id, Prompt((Message("user", f"template of {problem_id}"),)), sampling, [index])
    return Sample(key, problem_id, index, seed=1000 + index, sampling=sampling, parts=(text,) if text else (), **more)


def test_candidates_that_tamis_wrote_come_back_whole(tmp_path):
    samples = [
        own("p1", 0, "答案是 \\boxed{3}", finish_reason="length", completion_tokens=7, prompt_tokens=4, seconds=0.5),
        own("p1", 1, "", finish_reason="error", error=Failure("engine", "out of memory")),
    ]
    row = {"id": "p1", "question": "q", "reference": "3", "candidates": [sample.to_json() for sample in reversed(samples)]}
    (pool,), bad_rows = read(write(tmp_path, row))
    assert bad_rows == []
    assert (pool.problem.id, pool.problem.prompt, pool.problem.answer) == ("p1", "q", "3")
    assert [sample.to_json() for sample in pool.samples] == [sample.to_json() for sample in samples]


def test_damaged_candidates_are_read_as_anybodys(tmp_path):
    good, broken = own("p", 0, "x").to_json(), own("p", 1, "y", finish_reason="length").to_json()
    del broken["seed"]
    (pool,), _ = read(write(tmp_path, {"id": "p", "question": "q", "candidates": [good, broken]}))
    assert [(s.text, s.finish_reason, s.index) for s in pool.samples] == [("x", "stop", 0), ("y", "length", 1)]
    assert good["key"] not in {sample.key for sample in pool.samples}
    (pool,), _ = read(write(tmp_path, {"id": "p", "question": "q", "candidates": [good, good]}))
    assert len({sample.key for sample in pool.samples}) == 2
    (pool,), _ = read(write(tmp_path, {"id": "p", "question": "q", "candidates": [{**good, "text": 5}]}))
    assert pool.samples[0].error == Failure("input", "the text is a number")


# --- order ---------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sampled_from("abc丁"), st.text(max_size=3)), min_size=1, max_size=15),
    st.randoms(use_true_random=False),
)
def test_order_never_changes_what_a_pool_holds(tmp_path_factory, rows, random):
    folder = tmp_path_factory.mktemp("order")
    contents = []
    for order in (rows, random.sample(rows, len(rows)), sorted(rows)):
        pools, bad_rows = read(write(folder, *[{"question": q, "gold": q, "response": t} for q, t in order]))
        assert bad_rows == []
        assert [p.problem.prompt for p in pools] == list(dict.fromkeys(q for q, _ in order))
        assert [s.index for p in pools for s in p.samples] == [i for p in pools for i in range(len(p.samples))]
        problems = {replace(p.problem, where="", metadata={}).id: (p.problem.prompt, p.problem.answer) for p in pools}
        contents.append((problems, {p.problem.id: Counter(s.text for s in p.samples) for p in pools}))
        assert sum(len(p.samples) for p in pools) == len(rows)
    assert contents[0] == contents[1] == contents[2]


# --- bad rows ------------------------------------------------------------------------------------------------------

NAMES = "samples, generations, responses, candidates, completions, outputs, gen, generation, response, output, text, completion"

BAD = {
    "torn": (b'{"question": "q", "samp', "", "torn or invalid JSON (Unterminated string starting at column 19)"),
    "no object": (b'"text"', "", "text, not an object"),
    "bad UTF-8": (b'{"question": "\xe4"}', "", "not UTF-8 (byte 0xe4 at byte 15 of the line)"),
    "no samples": (
        {"question": "q"},
        "samples",
        f"none of the fields {NAMES}",
    ),
    "empty list": ({"question": "q", "samples": []}, "samples", "an empty list"),
    "nobody's": ({"gold": 1, "samples": ["x"]}, "question", "neither an id nor a question"),
    "question of a wrong type": ({"question": 5, "samples": ["x"]}, "question", "is a number, not text"),
    "id of a wrong type": ({"id": {}, "samples": ["x"]}, "id", "is an object, not text or a number"),
    "another reference": (
        {"id": "good", "gold": "2", "samples": ["x"]},
        "answer",
        "differs from {path}:1, a row of the same problem",
    ),
    "another question": (
        {"id": "good", "problem": "z", "samples": ["x"]},
        "question",
        "differs from {path}:1, a row of the same problem",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_once_and_the_rest_goes_on(tmp_path, case):
    line, field, reason = BAD[case]
    good = {"id": "good", "problem": "好", "gold": "1", "samples": ["a"]}
    path = write(tmp_path, good, line, {"id": "also", "samples": ["b"]}, good)
    pools, bad_rows = read(path)
    assert texts(pools) == {"good": ["a", "a"], "also": ["b"]}
    assert [str(bad) for bad in bad_rows] == [
        ": ".join(part for part in (f"{path}:2", field, reason.format(path=path)) if part)
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "{path} holds no rows. Give a file with one problem a row"),
        (
            "a.jsonl",
            b'{"question": "q"}\n',
            "none of the 1 rows of {path} can be used; the first is {path}:1: samples: none of the fields "
            f"{NAMES}. Correct the file",
        ),
        ("a.jsonl", b"[1]\n", "{path} is not one JSON object a line. Make it so with: jq -c '.[]' a.jsonl > rows.jsonl"),
        (
            "a.bin",
            b"x",
            "{path}: the end of the name does not say what the file is. "
            "Readable are .jsonl, .csv, .tsv, .txt (each also as .gz or .zst) and .parquet",
        ),
        (
            "a.jsonl.gz",
            b"x",
            "{path} is not a gzip file (Not a gzipped file (b'x')). "
            "Check that it was copied whole and that its name tells what it is",
        ),
        ("missing", None, "no such file: {path}. Check the path"),
    ],
)
def test_what_stops_everything(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_samples(path, bad_rows=[])
    assert str(caught.value) == message.format(path=path)


def test_misuse(tmp_path):
    with pytest.raises(UsageError, match="unknown field role 'texts'"):
        read_samples(write(tmp_path, {"question": "q", "gen": "x"}), fields={"texts": "gen"}, bad_rows=[])
