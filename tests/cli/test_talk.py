"""Talking to a model: at a terminal of the kernel's, keys and signals and all, and through a pipe."""

from __future__ import annotations

import io
import json
import signal
import sys
from pathlib import Path

import pytest
from cli import talking
from cli.commands import rows
from cli.talking import HOSTILE, WORDS, Model, Typist

from tamis.cli.talk import talk
from tamis.errors import EngineError
from tamis.prompts import PromptTemplate
from tamis.records import Sampling

CTRL_C, CTRL_D, UP, DELETE = "\x03", "\x04", "\x1b[A", "\x7f"


@pytest.fixture
def typist(tmp_path):
    with Typist([str(Path(talking.__file__))], tmp_path) as typist:
        typist.wait_for("Ctrl-D ends.")
        typist.wait_for("> ")
        yield typist


@pytest.fixture
def piped(monkeypatch, capsys):
    """A talk over these lines: exit code, stdout, stderr and the model."""

    def run(lines: str | bytes, model: Model | None = None, sampling: Sampling | None = None, system: str = ""):
        data = lines if isinstance(lines, bytes) else lines.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))
        model = model or Model()
        code = talk(model, sampling or Sampling(temperature=0.7), PromptTemplate("{problem}", system))
        return code, *capsys.readouterr(), model

    return run


# --- at a terminal ----------------------------------------------------------------------------------------------------


def test_an_answer_is_seen_while_it_is_drawn_and_ctrl_c_stops_it_alone(typist, tmp_path):
    typist.type("a long story\r")
    typist.wait_for("w0 w1 ")
    typist.type(CTRL_C)
    assert "w199" not in typist.wait_for("[stopped]")
    typist.type("still there?\r")
    typist.wait_for("你问：still there?（3）")  # the stopped part is one of three messages
    typist.type("/save talk.jsonl\r")
    typist.wait_for("[4 messages written to talk.jsonl]")
    typist.wait_for("> ")
    typist.type(CTRL_D)
    assert typist.end() == 0
    question, stopped, _, whole = rows(tmp_path / "talk.jsonl")
    assert question == {"role": "user", "content": "a long story"}
    assert stopped["finish_reason"] == "cut"
    assert WORDS.startswith(stopped["content"])
    assert len(WORDS) > len(stopped["content"]) > 5
    assert whole["finish_reason"] == "stop"


def test_chinese_is_typed_and_edited_and_comes_again_from_the_history(typist):
    typist.type("小明有问好" + DELETE + "题\r")
    typist.wait_for("你问：小明有问题（1）")
    typist.wait_for("> ")
    typist.type(UP + "吗\r")
    typist.wait_for("你问：小明有问题吗（3）")
    typist.type("/quit\r")
    assert typist.end() == 0


def test_what_a_model_says_does_not_reach_the_terminal_as_orders(typist):
    typist.type("be hostile\r")
    shown = typist.wait_for("done")
    answer = shown[shown.index("be hostile") + len("be hostile") :]
    assert "a␛[31mred␛]0;title␇ �5n�␍␈⟨U+202E⟩done" in answer
    for order in ("\x1b[31m", "\x1b]0", "\x07", "\x9b", "\x85", "\x08", "\u202e"):
        assert order in HOSTILE
        assert order not in answer


def test_ctrl_c_at_the_prompt_drops_the_line_and_says_how_to_end(typist):
    typist.type("half a question")
    typist.wait_for("half a question")
    typist.wait_for("Ctrl-D or /quit ends", pressing=CTRL_C)
    typist.wait_for("> ")
    typist.type("and now?\r")
    typist.wait_for("你问：and now?（1）")
    typist.wait_for("> ")
    typist.type("/quti\r")
    typist.wait_for("unknown command: /quti. Did you mean /quit?")
    typist.wait_for("> ")
    typist.type(CTRL_D)
    assert typist.end() == 0  # whoever sits there was told


def test_of_stopped_answers_the_finished_ones_vote(typist):
    typist.type("/sample 4 a slow vote\r")
    typist.wait_for("2/4 answers")
    typist.type(CTRL_C)
    typist.wait_for("[stopped: 2 of 4 answers were finished]")
    assert "2  8" in typist.wait_for("so it is")
    typist.wait_for("> ")
    typist.type("and?\r")
    typist.wait_for("你问：and?（3）")


def test_when_the_engine_breaks_the_conversation_can_still_be_saved(tmp_path):
    with Typist([str(Path(talking.__file__)), "1"], tmp_path) as typist:
        typist.wait_for("> ")
        typist.type("first\r")
        typist.wait_for("你问：first（1）")
        typist.wait_for("> ")
        typist.type("second\r")
        typist.wait_for("the scripted engine broke after 1 samples")
        typist.wait_for("> ")
        typist.type("/save talk.jsonl\r")
        typist.wait_for("[2 messages written to talk.jsonl]")
        typist.type("/quit\r")
        assert typist.end() == 0
    assert [row["content"] for row in rows(tmp_path / "talk.jsonl")] == ["first", "你问：first（1）"]


def test_a_scheduler_ends_it(typist):
    typist.type("a long story\r")
    typist.wait_for("w0")
    typist.process.send_signal(signal.SIGTERM)
    assert typist.end() == 130


def test_the_embedded_model_streams_is_stopped_and_says_when_a_conversation_is_too_long(tmp_path):
    pytest.importorskip("torch")
    wild = ("--temperature", "9", "--top-p", "1", "--top-k", "0", "--max-new-tokens", "1500", "--max-length", "60")
    with Typist(["-m", "tamis", "solve", "--interactive", *wild], tmp_path) as typist:
        typist.wait_for("> ")
        typist.type("计算：3 + 4。\r")
        typist.wait_for("计算：3 + 4。\r\n")
        typist.wait_for(" ")  # of noise, hundreds of tokens before its end
        typist.type(CTRL_C)
        typist.wait_for("[stopped]")
        typist.wait_for("> ")
        typist.type("/temperature 0\r")
        typist.wait_for("> ")
        typist.type("计算：2 + 3。\r")
        typist.wait_for("no answer: the prompt has")
        typist.wait_for("The model is shown 1 earlier turn too: /reset forgets them")
        typist.wait_for("> ")
        typist.type("/reset\r")
        typist.wait_for("[1 turn forgotten]")
        typist.wait_for("> ")
        typist.type("计算：2 + 3。\r")
        typist.wait_for("2 + 3 = 5")
        typist.wait_for("> ")
        typist.type(CTRL_D)
        assert typist.end() == 0


# --- through a pipe ---------------------------------------------------------------------------------------------------


def test_answers_alone_go_to_stdout_and_each_question_is_asked_after_the_turns_before(piped):
    code, out, err, model = piped("一\n\n二\n/reset\n三", system="Be brief.")
    assert (code, out) == (0, "你问：一（2）\n你问：二（4）\n你问：三（2）\n")
    assert err == "[2 turns forgotten]\n"
    first, second, third = (request.prompt.messages for request in model.asked)
    assert [(m.role, m.content) for m in second] == [
        ("system", "Be brief."),
        ("user", "一"),
        ("assistant", "你问：一（2）"),
        ("user", "二"),
    ]
    assert [m.content for m in first + third] == ["Be brief.", "一", "Be brief.", "三"]


def test_the_same_talk_says_the_same_and_a_question_asked_again_is_drawn_anew(piped):
    seeds = [[r.draws[0].seed for r in piped("again\n/reset\nagain\n")[-1].asked] for _ in range(2)]
    assert seeds[0] == seeds[1]
    assert seeds[0][0] != seeds[0][1]


def test_sampling_votes_keeps_the_winner_and_replaces_the_answer_before(piped, tmp_path):
    path = tmp_path / "talk.jsonl"
    code, out, _, model = piped(f"vote!\n/sample 5\nso?\n/sample 3 no number\n/save {path}\n")
    assert code == 0
    votes = "   4  8\n   1  7\n\nso it is \\boxed{8}\n"
    first = "   3  (no answer can be read off, the first is kept)\n\n你问：no number（5）\n"
    assert out == "so it is \\boxed{8}\n" + votes + "你问：so?（3）\n" + first
    assert [len(request.draws) for request in model.asked[1:2]] == [5]
    assert [message.content for message in model.asked[1].prompt.messages] == ["vote!"]
    written = rows(path)
    assert [row["role"] for row in written] == ["user", "assistant"] * 3
    assert written[1] | {"sampling": 0} == {
        "role": "assistant",
        "content": "so it is \\boxed{8}",
        "finish_reason": "stop",
        "sampling": 0,
        "n": 5,
        "votes": {"8": 4.0, "7": 1.0},
    }


def test_of_several_answers_each_the_vote_is_taken(piped):
    code, out, _, model = piped("vote!\n", sampling=Sampling(n=3))
    assert (code, out) == (0, "   2  8\n   1  7\n\nso it is \\boxed{8}\n")
    assert [draw.index for draw in model.asked[0].draws] == [0, 1, 2]


def test_the_temperature_is_set_for_what_follows(piped):
    code, _, err, model = piped("a\n/temperature 0\n/temperature\n/sample 3\nb\n/temperature hot\n/temperature -1\n")
    assert code == 3
    assert err.splitlines() == [
        "[temperature 0]",
        "[temperature 0]",
        "at temperature 0 all answers are the same. Set one first: /temperature 0.7",
        "the temperature cannot be hot. It must be 0 (greedy) or more",
        "the temperature cannot be -1. It must be 0 (greedy) or more",
    ]
    assert [request.sampling.temperature for request in model.asked] == [0.7, 0.0]


def test_nothing_is_written_over(piped, tmp_path):
    there, new = tmp_path / "there.jsonl", tmp_path / "new.jsonl"
    there.write_text("mine")
    code, _, err, _ = piped(f"a\n/save {there}\n/save {new}\nb\n/save {new}\n/save\n/save {tmp_path}\n/save {there}/x\n")
    assert code == 3
    assert there.read_text() == "mine"
    assert [row["content"] for row in rows(new)] == ["a", "你问：a（1）", "b", "你问：b（3）"]
    lines = err.splitlines()
    assert lines[:4] == [
        f"{there} exists already. Nothing is written over it; name another file",
        f"[2 messages written to {new}]",
        f"[4 messages written to {new} again]",
        "/save needs a file. For example /save talk.jsonl",
    ]
    assert lines[4] == f"{tmp_path} exists already. Nothing is written over it; name another file"
    assert lines[5].startswith(f"cannot write {there}/x: ")


def test_a_line_that_cannot_be_done_is_told_and_the_rest_goes_on(piped):
    lines = b"/sample\n/sample 1\n/sample 8\n/sapmle 3\n/xyzzy\n/2 of 8?\n /help me\n" + b"caf\xe9\n" + "é\n".encode()
    code, out, err, _ = piped(lines)
    assert code == 3
    assert out == "你问：/2 of 8?（1）\n你问：/help me（3）\n你问：é（5）\n"
    assert err.splitlines() == [
        "/sample takes a number from 2 to 256. For example /sample 8",
        "/sample takes a number from 2 to 256. For example /sample 8",
        "nothing was asked yet. Ask, or write it behind the number: /sample 8 QUESTION",
        "unknown command: /sapmle. Did you mean /sample?",
        "unknown command: /xyzzy. See /help",
        "this line is not text in UTF-8. It was not asked",
    ]


def test_an_answer_that_fails_is_told_and_its_question_is_not_kept(piped):
    code, out, err, _ = piped("first\nfail\nnext\n/reset\nfail\n/sample 2 fail\n")
    assert code == 3
    assert out == "你问：first（1）\n你问：next（3）\n"
    why = "the prompt has 3000 tokens, the model's context holds 2048"
    assert err.splitlines() == [
        f"no answer: {why}. The model is shown 1 earlier turn too: /reset forgets them",
        "[2 turns forgotten]",
        f"no answer: {why}",
        f"2 failed: {why}",
        "[nothing to vote on; the conversation is as it was]",
    ]


def test_an_answer_cut_at_the_limit_says_so(piped):
    code, out, err, _ = piped("abcdefgh\n", sampling=Sampling(max_tokens=5))
    assert (code, out, err) == (0, "你问：ab\n", "[cut off at the limit of tokens]\n")


def test_a_broken_engine_ends_a_piped_talk(piped):
    with pytest.raises(EngineError, match="broke after 1"):
        piped("a\nb\nc\n", Model(break_after=1))


def test_help_names_every_command(piped):
    _, out, err, _ = piped("/help\n")
    assert out == ""
    for command in ("/help", "/reset", "/sample N", "/temperature", "/save FILE", "/quit", "Ctrl-C"):
        assert command in err


def test_saved_lines_hold_what_was_sent_and_what_was_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"1+1?\n/save {tmp_path}/t.jsonl\n"))
    assert talk(Model(), Sampling(), PromptTemplate("Q: {problem}\nA:", "Compute.")) == 0
    system, question, _ = (json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines())
    assert system == {"role": "system", "content": "Compute."}
    assert question == {"role": "user", "content": "Q: 1+1?\nA:", "question": "1+1?"}
