"""Rows -> problems: names of fields, ids, references, and every kind of bad row in one line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError, UsageError
from tamis.identity import content_id
from tamis.records import Message
from tamis.sources import Ids, read_problems


def write(folder, *rows, name="rows.jsonl"):
    path = folder / name
    lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


def read(path, **options):
    bad_rows = []
    return list(read_problems(path, bad_rows=bad_rows, **options)), bad_rows


def one(folder, row, **options):
    (problem,), bad_rows = read(write(folder, row), **options)
    assert bad_rows == []
    return problem


# --- what a row says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["problem", "question", "prompt", "input", "query"])
def test_names_of_the_question(tmp_path, name):
    problem = one(tmp_path, {name: "9减4等于几？", "level": 2})
    assert (problem.prompt, problem.answer, problem.metadata) == ("9减4等于几？", None, {"level": 2})
    assert problem.id == content_id("9减4等于几？")


def test_the_first_name_with_a_value_counts_and_the_others_are_kept(tmp_path):
    problem = one(tmp_path, {"query": "b", "problem": None, "question": "", "prompt": "a"})
    assert problem.prompt == "a"
    assert problem.metadata == {"query": "b", "problem": None, "question": ""}


@pytest.mark.parametrize("name", ["answer", "expected_answer", "target", "gold", "ground_truth"])
@pytest.mark.parametrize(
    ("value", "reference"),
    [
        ("42", "42"),
        (" x ", "x"),
        (7, "7"),
        (7.0, "7"),
        (0.5, "0.5"),
        (-3, "-3"),
        (["4"], "4"),
        (True, "True"),
        (None, None),
        ("", None),
    ],
)
def test_references(tmp_path, name, value, reference):
    assert one(tmp_path, {"problem": "q", name: value}).answer == reference


def test_math500_row(tmp_path):
    row = {
        "problem": "p",
        "solution": "so \\boxed{1}",
        "answer": "2",
        "subject": "Algebra",
        "level": 3,
        "unique_id": "test/1.json",
    }
    problem = one(tmp_path, row)
    assert (problem.id, problem.answer) == ("test/1.json", "2")
    assert problem.metadata == {"solution": "so \\boxed{1}", "subject": "Algebra", "level": 3}


def test_gsm8k_row_keeps_its_worked_solution(tmp_path):
    problem = one(tmp_path, {"question": "q", "answer": "16 - 3 = <<16-3=13>>13\n#### 1,300 "})
    assert problem.answer == "1,300"
    assert problem.metadata == {"answer": "16 - 3 = <<16-3=13>>13\n#### 1,300 "}


@pytest.mark.parametrize(
    ("solution", "reference"),
    [("\\boxed{1} then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"), ("no box", None), ("cut \\boxed{\\frac{1", None)],
)
def test_a_solution_alone_gives_its_box(tmp_path, solution, reference):
    problem = one(tmp_path, {"problem": "q", "solution": solution})
    assert (problem.answer, problem.metadata) == (reference, {"solution": solution})


@pytest.mark.parametrize(
    ("name", "value", "identity"), [("id", "a/1", "a/1"), ("unique_id", 7, "7"), ("idx", 0, "0"), ("problem_id", 7.0, "7")]
)
def test_ids(tmp_path, name, value, identity):
    problem = one(tmp_path, {"problem": "q", name: value})
    assert (problem.id, problem.metadata) == (identity, {})


def test_images(tmp_path):
    assert one(tmp_path, {"problem": "q", "image": "a.png"}).images == ("a.png",)
    assert one(tmp_path, {"problem": "q", "images": ["a.png", {"path": "b.png", "bytes": None}]}).images == ("a.png", "b.png")
    assert one(tmp_path, {"problem": "q", "images": []}).images == ()
    assert one(tmp_path, {"problem": "q", "image": "a.png"}).id == content_id("q", images=("a.png",))


@pytest.mark.parametrize("name", ["messages", "prompt"])
def test_messages(tmp_path, name):
    turns = [{"role": "system", "content": "短"}, {"role": "user", "content": [{"type": "text", "text": "1+"}, {"text": "1?"}]}]
    problem = one(tmp_path, {name: turns, "answer": 2})
    assert problem.prompt == ""
    assert problem.messages == (Message("system", "短"), Message("user", "1+1?"))
    assert problem.id == content_id("", problem.messages)


def test_a_question_goes_before_messages_which_may_hold_the_solution(tmp_path):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "the answer"}]
    problem = one(tmp_path, {"problem": "q", "messages": turns})
    assert (problem.prompt, problem.messages, problem.metadata) == ("q", (), {"messages": turns})


def test_own_names(tmp_path):
    row = {"problem": "no", "ask": "yes", "truth": "so \\boxed{5}", "name": "n1", "pics": "a.png", "id": 3}
    problem = one(tmp_path, row, fields={"question": "ask", "answer": "truth", "id": "name", "images": "pics"})
    assert (problem.prompt, problem.answer, problem.id, problem.images) == ("yes", "5", "n1", ("a.png",))
    assert problem.metadata == {"problem": "no", "truth": "so \\boxed{5}", "id": 3}


def test_limit_counts_problems_and_stops_reading(tmp_path):
    path = write(tmp_path, b"torn", {"problem": "a"}, {"problem": "b"}, b"torn too")
    problems, bad_rows = read(path, limit=2)
    assert [p.prompt for p in problems] == ["a", "b"]
    assert len(bad_rows) == 1


def test_reading_is_lazy(tmp_path):
    bad_rows = []
    stream = read_problems(write(tmp_path, {"problem": "a"}, b"torn", {"problem": "b"}), bad_rows=bad_rows)
    assert next(stream).prompt == "a"
    assert bad_rows == []


# --- ids -----------------------------------------------------------------------------------------------------------


def test_repeated_questions_without_ids_count_up(tmp_path):
    problems, bad_rows = read(write(tmp_path, *[{"problem": "a"}] * 3, {"problem": "b"}, {"problem": "a"}))
    first = content_id("a")
    assert [p.id for p in problems] == [first, f"{first}-2", f"{first}-3", content_id("b"), f"{first}-4"]
    assert bad_rows == []


def test_a_question_with_two_references_keeps_both_rows(tmp_path):
    rows = [{"problem": "a", "answer": 1}, {"problem": "a", "answer": 2}]
    for order in (rows, rows[::-1]):
        problems, bad_rows = read(write(tmp_path, *order))
        assert {p.id for p in problems} == {content_id("a"), content_id("a") + "-2"}
        assert {p.answer for p in problems} == {"1", "2"}
        assert bad_rows == []


question = st.sampled_from(["a", "b", "三加四？", "d"])
row = question.map(lambda text: {"problem": text, "answer": f"of {text}", "note": text}) | st.integers(0, 9).map(
    lambda number: {"id": number, "problem": f"q{number}", "answer": number}
)


@given(st.lists(row, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_order_never_changes_the_problems(tmp_path_factory, rows, random):
    folder = tmp_path_factory.mktemp("order")
    shuffled = random.sample(rows, len(rows))
    results = []
    for order in (rows, shuffled):
        problems, bad_rows = read(write(folder, *order))
        assert len({p.id for p in problems}) == len(problems)
        results.append(({(p.id, p.prompt, p.answer) for p in problems}, len(bad_rows)))
    assert results[0] == results[1]


@given(st.lists(row, min_size=1, max_size=8), st.lists(row, max_size=8))
def test_more_rows_never_change_the_earlier_ones(tmp_path_factory, rows, more):
    folder = tmp_path_factory.mktemp("more")
    before, _ = read(write(folder, *rows))
    after, _ = read(write(folder, *rows, *more))
    assert after[: len(before)] == before


# --- bad rows ------------------------------------------------------------------------------------------------------

GOOD = {"problem": "good"}

BAD = {
    "torn": (b'{"problem": "a", "ans', "", "torn or invalid JSON (Unterminated string starting at column 18)"),
    "no object": (b"[1, 2]", "", "a list, not an object"),
    "a number": (b"7", "", "a number, not an object"),
    "text after": (b'{"problem": "a"} x', "", "torn or invalid JSON (Extra data at column 18)"),
    "NaN": (b'{"problem": "a", "answer": NaN}', "", "invalid JSON (NaN is not a JSON number)"),
    "Infinity": (b'{"problem": "a", "x": -Infinity}', "", "invalid JSON (-Infinity is not a JSON number)"),
    "bad UTF-8": (b'{"problem": "\xff\xfe"}', "", "not UTF-8 (byte 0xff at byte 14 of the line)"),
    "half a surrogate": (
        b'{"problem": "\\ud800"}',
        "",
        "invalid JSON (half a surrogate pair, or a number out of range)",
    ),
    "number out of range": (
        b'{"problem": "a", "x": 1e999}',
        "",
        "invalid JSON (half a surrogate pair, or a number out of range)",
    ),
    "too deep": (b'{"problem": ' + b"[" * 100_000, "", "invalid JSON (nested too deeply)"),
    "zero bytes": (b"\x00\x00\x00", "", "torn or invalid JSON (Expecting value at column 1)"),
    "no question": (
        {"text": "a", "等级": 1},
        "question",
        "none of the fields problem, question, prompt, input, query, messages; the row has 'text', '等级'",
    ),
    "empty question": ({"question": ""}, "question", "is empty"),
    "null question": ({"question": None, "answer": 1}, "question", "is empty"),
    "blank question": ({"problem": " \n "}, "problem", "is empty"),
    "number": ({"problem": 7}, "problem", "is a number, not text"),
    "boolean": ({"problem": True}, "problem", "is a boolean, not text"),
    "object": ({"problem": {"text": "a"}}, "problem", "is an object, not text"),
    "list of texts": ({"problem": ["a"]}, "problem[0]", "needs a role and a content, both text"),
    "message without content": ({"messages": [{"role": "user"}]}, "messages[0]", "needs a role and a content, both text"),
    "no messages": ({"messages": []}, "messages", "is empty"),
    "answered messages": (
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        "messages",
        "ends with the assistant's turn: nothing is left to answer",
    ),
    "object as answer": ({"problem": "a", "answer": {"x": 1}}, "answer", "is an object, not text or a number"),
    "two answers": ({"problem": "a", "gold": [1, 2]}, "gold", "is a list, not text or a number"),
    "blank answer": ({"problem": "a", "answer": "  "}, "answer", "is blank"),
    "nothing after hashes": ({"problem": "a", "answer": "so ####"}, "answer", "nothing follows ####"),
    "list as id": ({"problem": "a", "id": [[1]]}, "id", "is a list, not text or a number"),
    "picture bytes": ({"problem": "a", "image": {"bytes": "xx", "path": None}}, "image", "needs paths of pictures, as text"),
    "picture number": ({"problem": "a", "images": [1]}, "images", "needs paths of pictures, as text"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_and_the_rest_goes_on(tmp_path, case):
    line, field, reason = BAD[case]
    path = write(tmp_path, GOOD, line, {"problem": "后"})
    problems, bad_rows = read(path)
    assert [p.prompt for p in problems] == ["good", "后"]
    (bad,) = bad_rows
    assert (bad.where, bad.field, bad.reason) == (f"{path}:2", field, reason)
    assert str(bad) == ": ".join(part for part in (f"{path}:2", field, reason) if part)


def test_a_repeated_id_is_bad(tmp_path):
    path = write(tmp_path, {"id": 1, "problem": "a"}, {"id": "1", "problem": "b"}, {"id": 2, "problem": "c"})
    problems, bad_rows = read(path)
    assert [p.prompt for p in problems] == ["a", "c"]
    assert [str(bad) for bad in bad_rows] == [f"{path}:2: id: the id '1' was given to an earlier row"]


def test_a_row_without_a_field_the_user_named_is_bad(tmp_path):
    path = write(tmp_path, {"problem": "a", "gold": "1"}, {"problem": "b", "truth": None})
    problems, bad_rows = read(path, fields={"answer": "truth"})
    assert [(p.prompt, p.answer) for p in problems] == [("b", None)]
    assert [str(bad) for bad in bad_rows] == [f"{path}:1: truth: there is no such field; the row has 'problem', 'gold'"]


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_bad_rows_of_tables(tmp_path, name):
    separator = b"," if name.endswith("csv") else b"\t"
    lines = [b"problem|answer", b"good|1", b"few", b"a|1|2", b"|3", b"\xff|4", '"引|号"|5'.encode(), b"good too|6"]
    path = write(tmp_path, *[line.replace(b"|", separator) for line in lines], name=name)
    problems, bad_rows = read(path)
    assert [p.answer for p in problems] == ["1", "5", "6"]
    assert [str(bad).removeprefix(f"{path}:") for bad in bad_rows] == [
        "3: 1 cells under 2 column names",
        "4: 3 cells under 2 column names",
        "5: problem: is empty",
        "6: not UTF-8 (byte 0xff at byte 1 of the line)",
    ]


def test_bad_lines_of_plain_text(tmp_path):
    path = write(tmp_path, b"good", b"\xe4\xb8", b"\xe5\xa5\xbd", name="rows.txt")
    problems, bad_rows = read(path)
    assert [p.prompt for p in problems] == ["good", "好"]
    assert [bad.where for bad in bad_rows] == [f"{path}:2"]


# --- what stops everything -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.tsv", "rows.txt"])
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(str(tmp_path / name))
    assert str(caught.value) == f"{tmp_path / name} holds no rows. Give a file with one problem a row"


def test_a_table_of_column_names_only(tmp_path):
    with pytest.raises(InputError, match="holds no rows"):
        read(write(tmp_path, b"problem,answer", name="rows.csv"))


def test_no_good_row(tmp_path):
    path = write(tmp_path, {"problem": ""}, b"torn")
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == (
        f"none of the 2 rows of {path} can be used; the first is {path}:1: problem: is empty. Correct the file"
    )


@pytest.mark.parametrize("content", [b'[\n{"problem": "a"}\n]', b'[{"problem": "a"}]', b'{\n"problem": "a"\n}'])
def test_json_that_is_not_lines(tmp_path, content):
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(str(path))
    assert str(caught.value) == f"{path} is not one JSON object a line. Make it so with: jq -c '.[]' rows.json > rows.jsonl"


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.txt"])
def test_utf16(tmp_path, name):
    (tmp_path / name).write_bytes('{"problem": "问"}'.encode("utf-16"))
    with pytest.raises(InputError) as caught:
        read(str(tmp_path / name))
    assert str(caught.value) == f"{tmp_path / name} is UTF-16. Save it as UTF-8"


def test_headers_that_cannot_be(tmp_path):
    path = write(tmp_path, b"problem,answer,answer", b"a,1,2", name="rows.csv")
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"{path}:1: two columns are named 'answer'. Rename one of them"
    path = write(tmp_path, b"problem,\xff", b"a,1", name="rows.csv")
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == f"{path}:1: the header is not UTF-8 (byte 0xff at byte 9 of the line). Save the file as UTF-8"


def test_misuse(tmp_path):
    path = write(tmp_path, GOOD)
    with pytest.raises(UsageError, match="a limit of 0 problems leaves nothing to do"):
        read(path, limit=0)
    with pytest.raises(UsageError, match=r"unknown field role 'reference'\. Use one of: question, answer, id, images"):
        read(path, fields={"reference": "gold"})


@pytest.mark.parametrize("repeated", [False, True])
def test_a_second_walk_gives_the_same_without_telling_ids_apart(tmp_path, monkeypatch, repeated):
    rows = ['{"question": "a"}', '{"question": "b"}', '{"id": "x", "question": "c"}'] + ['{"question": "a"}'] * repeated
    (tmp_path / "p.jsonl").write_text("\n".join(rows))
    ids = Ids()
    first = list(read_problems(str(tmp_path / "p.jsonl"), bad_rows=[], ids=ids))
    assert len({problem.id for problem in first}) == len(rows)
    assert ids.are_distinct == (not repeated)
    if not repeated:
        monkeypatch.setattr("tamis.sources.problems.Seen.add", None)  # nothing is kept
    assert list(read_problems(str(tmp_path / "p.jsonl"), bad_rows=[], ids=ids)) == first
