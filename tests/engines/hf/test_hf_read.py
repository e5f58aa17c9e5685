"""Reading and asking against plain forward passes of the same model, and against drawing."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
import torch
from engines.hf.test_hf_reference import plain_statistics
from engines.hf.tiny_models import CONTEXT, PROMPTS, SIZES, draw, model_folder, request, samples_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from tamis.engines.base import Reader
from tamis.engines.chains import chain_row
from tamis.engines.hf import HFEngine
from tamis.engines.hf.ask import Asker
from tamis.engines.hf.forward import Forward
from tamis.engines.hf.load import load
from tamis.engines.hf.read import SampleReader
from tamis.errors import EngineError
from tamis.records import Failure, Image, Message, Prompt, Question, Reading, Sample, Sampling, TokenStats
from tamis.steps import split_steps, step_ids

TEXTS = (
    "Step 1: the sum is 3.\n\nStep 2: 中文字符 and the thé.\n\nStep 3: done, \\boxed{3}",
    "x",
    "",
    "one line without any steps, longer than a window of twelve 🙂",
    "第一步：相加得五。\n第二步：再乘以二。",
    "half\n\n<|end|>\n\nthe word of a special token",
)
PROMPT = Prompt((Message("user", "What is 2 + 3?"),))


def sample(i, text, **fields):
    return Sample(f"k{i}", "p", i, i, Sampling(), (text,) if text else (), **fields)


SAMPLES = tuple(sample(i, text) for i, text in enumerate(TEXTS))


def everything(stream):
    """What an engine yields, by key."""

    async def collect():
        return {item.key: item async for item in stream}

    return asyncio.run(collect())


async def one_by_one(*items):
    for item in items:
        yield item


def read(engine, *readings):
    return everything(engine.read(one_by_one(*readings)))


def ask(engine, *groups):
    return everything(engine.ask(one_by_one(*groups)))


def loaded_model(folder):
    return load(str(folder), "cpu", "auto", trust_remote_code=False)


def plain(folder):
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def token_ids(tokenizer, *pieces):
    return [i for piece in pieces for i in tokenizer(piece, add_special_tokens=False).input_ids]


def close(a, b, tolerance=1e-4):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    assert (np.isnan(a) == np.isnan(b)).all()
    assert np.nanmax(np.abs(a - b) / (1 + np.abs(b)), initial=0) < tolerance


# --- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_reading_equals_a_plain_forward_under_the_generation_prompt(kind):
    folder = model_folder(kind, template=True)
    model, tokenizer = plain(folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 2 + 3?"}], add_generation_prompt=True, return_dict=False
    )
    reader = SampleReader(loaded_model(folder), hidden=True)
    found = {s.key: s for s in reader(Reading(PROMPT, SAMPLES))}
    assert found.keys() == {s.key for s in SAMPLES}
    for given in SAMPLES:
        got = found[given.key]
        ids = token_ids(tokenizer, given.text)
        assert (got.error, got.parts, got.prompt_tokens, got.completion_tokens) == (None, given.parts, len(prompt), len(ids))
        assert got.stats.ids.tolist() == ids
        assert got.stats.vocab_size == 272
        assert (np.diff(got.stats.starts) >= 0).all()
        assert (got.stats.starts <= len(given.text)).all()
        if not ids:
            assert got.stats.values.shape == (0, 9)
            continue
        with torch.inference_mode():
            out = model(torch.tensor([prompt + ids]), output_hidden_states=True)
        produced = slice(len(prompt) - 1, -1)
        close(got.stats.values, plain_statistics(out.logits[0, produced], torch.tensor(ids)), 2e-5)
        states = torch.stack([state[0, produced] for state in out.hidden_states]).double().numpy()  # (L + 1, T, d)
        steps = split_steps(given.text)
        of = step_ids(got.stats.starts, steps)
        rows = [chain_row(states.mean(1))]
        for step in range(len(steps)):
            inside = states[:, of == step]
            rows.append(chain_row(inside.mean(1)) if inside.shape[1] else np.full_like(rows[0], np.nan))
        close(got.chain.values, np.stack(rows))


def test_reading_gives_what_drawing_gave(engine):
    items = [request(text, n=3, stop=("e",), max_tokens=40) for text in PROMPTS]
    drawn = draw(engine, items)
    read_again = read(engine, *(Reading(item.prompt, tuple(samples_of(drawn, item))) for item in items))
    assert read_again.keys() == drawn.keys()
    for key, before in drawn.items():
        after = read_again[key]
        assert after.to_json() == before.to_json()
        assert np.array_equal(after.stats.ids, before.stats.ids)
        assert np.array_equal(after.stats.starts, before.stats.starts)
        close(after.stats.values, before.stats.values)
        if len(before.stats):
            close(after.chain.values, before.chain.values)


def test_chunks_of_any_size_give_the_same():
    """Also of a vocabulary so large that a CPU takes its rows one by one."""
    engine = HFEngine(model_folder(vocab_size=20_000), batch_size=4, device="cpu")
    expected = read(engine, Reading(PROMPT, SAMPLES))
    loaded = loaded_model(model_folder(vocab_size=20_000))
    reader = SampleReader(loaded, hidden=False)
    reader._forward.token_limit, reader._forward._logit_rows = 1, 3
    for got in reader(Reading(PROMPT, SAMPLES)):
        close(got.stats.values, expected[got.key].stats.values)


def test_what_cannot_be_read_says_why_and_the_rest_is_read(engine):
    failed = sample(0, "", error=Failure("engine", "was not drawn"))
    foreign = TokenStats(np.zeros((1, 9), np.float32), np.array([271 + 5], np.int32), np.zeros(1, np.int32), 272)
    others = TokenStats(np.zeros((1, 9), np.float32), np.array([5], np.int32), np.zeros(1, np.int32), 1000)
    samples = (
        failed,
        sample(1, "x" * CONTEXT),
        replace(sample(2, "x"), parts=("x", Image("a.png"))),
        sample(3, "y", stats=foreign),
        sample(4, "of another vocabulary: read by its text", stats=others),
    )
    unreadable = replace(sample(5, "z"), key="other")
    found = read(engine, Reading(PROMPT, samples), Reading(replace(PROMPT, images=("a.png",)), (unreadable,)))
    assert found["k0"] is failed
    messages = {key: item.error.message for key, item in found.items() if item.error and item is not failed}
    assert messages == {
        "k1": f"prompt and answer have {CONTEXT + 14} tokens, the model's context holds {CONTEXT}",
        "k2": "the hf engine reads no images",
        "other": "a model of type qwen2 takes no images",
    }
    assert all(found[key].error.boundary == "input" for key in messages)
    assert found["k1"].text == "x" * CONTEXT
    assert len(found["k3"].stats) == 1  # ids that are another tokenizer's: read by its text
    assert len(found["k4"].stats) == found["k4"].completion_tokens > 30
    assert ask(engine) == read(engine) == {}


def test_a_model_that_computes_nonsense_is_told_of():
    engine = HFEngine(model_folder("llama"), batch_size=4, device="cpu")
    with torch.no_grad():
        engine._loaded.model.base_model.embed_tokens.weight[token_ids(engine._loaded.tokenizer, "x")] = torch.nan
    found = read(engine, Reading(PROMPT, (sample(0, "x y"), sample(1, "y"))))
    assert found["k0"].error == Failure("engine", "the model gave logits that are not numbers (NaN or infinite)")
    assert found["k1"].error is None
    (verdict,) = ask(engine, [Question("q", "x", ("y",), "?", ("A", "B"))]).values()
    assert verdict.error == found["k0"].error


# --- asking ------------------------------------------------------------------------------------------------------------

TAIL = "\n\nIs it right? (A) or (B)"


def questions(options=("A", "B")):
    parts = [tuple(text[k : k + 9] for k in range(0, len(text), 9)) for text in TEXTS]
    return [Question(f"q{i}", "Problem: 2 + 3\nSolution: ", p, f"{TAIL}{i}", options) for i, p in enumerate(parts)]


def expected_values(folder, question, *, template):
    """By a plain forward of lead, parts and tail for each part."""
    model, tokenizer = plain(folder)
    lead, tail = (f"<|user|>{question.lead}", f"{question.tail}<|answer|>") if template else (question.lead, question.tail)
    first, second = (token_ids(tokenizer, option)[0] for option in question.options)
    values = []
    for k in range(len(question.parts)):
        ids = token_ids(tokenizer, lead, *question.parts[: k + 1], tail)
        with torch.inference_mode():
            p = model(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
        mass = float(p[first] + p[second])
        values.append(float(p[first]) / mass if mass >= 1e-3 else np.nan)
    return values


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_answers_equal_those_of_plain_forwards(kind):
    """Every kind of mask, with a window shorter than the text; bloom cannot see trees."""
    folder = model_folder(kind, template=True, scale=2.0)
    engine = HFEngine(folder, batch_size=4, device="cpu")
    assert isinstance(engine, Reader)
    found = ask(engine, questions(), [replace(questions()[0], key="other", lead="Another: ")])
    num_values = 0
    for question in [*questions(), replace(questions()[0], key="other", lead="Another: ")]:
        assert found[question.key].error is None
        expected = expected_values(folder, question, template=True)
        close(found[question.key].values, expected)
        num_values += np.isfinite(expected).sum()
    assert num_values > 10
    assert Asker(loaded_model(folder))._sees_trees == (kind != "bloom")


def test_long_texts_without_a_template_are_answered_in_pieces():
    folder = model_folder("gemma2", scale=2.0)
    asker = Asker(loaded_model(folder))
    tokens = []
    states = asker._forward.states

    def counted(cache, rows):
        tokens.extend(len(row.ids) for row in rows)
        return states(cache, rows)

    asker._forward.states = counted
    asker._forward.token_limit = 70
    found = {verdict.key: verdict for verdict in asker(questions())}
    assert max(tokens) <= 70
    for question in questions():
        close(found[question.key].values, expected_values(folder, question, template=False))


def test_what_cannot_be_asked_says_why(engine):
    good = questions()[0]
    group = [
        replace(good, key="long", parts=("x" * CONTEXT,)),
        replace(good, key="lead", lead="of another problem"),
        replace(good, key="tail", tail=""),
        replace(good, key="same", options=("the", "the end")),
        replace(good, key="none", parts=()),
        good,
    ]
    found = ask(engine, group)
    around = len(token_ids(engine._loaded.tokenizer, good.lead, good.tail))
    assert {key: verdict.error.message for key, verdict in found.items() if verdict.error} == {
        "long": f"question and text have {CONTEXT + around} tokens, the model's context holds {CONTEXT}",
        "lead": "its lead is not the group's",
        "tail": "the tail has no tokens",
        "same": "the first tokens of the options the and the end do not differ",
    }
    assert all(not verdict.values for verdict in found.values() if verdict.error)
    assert found["none"].values == ()
    assert len(found["q0"].values) == len(good.parts)


def test_an_answer_counts_every_way_it_may_begin():
    folder = model_folder(scale=2.0)
    asker = Asker(loaded_model(folder))
    (the, end) = (token_ids(asker._loaded.tokenizer, word)[0] for word in ("the", "end"))
    assert asker._first_tokens("the") == {the, *token_ids(asker._loaded.tokenizer, " ")}
    tree = asker._tree(replace(questions()[0], options=("the", "end")), 0)
    assert tree.options.tolist() == [[the, -1, -1], [end, -1, -1]]  # the blank begins both, and tells nothing


def test_a_model_that_says_neither_gives_no_number(engine, monkeypatch):
    (before,) = ask(engine, questions()[:1]).values()
    assert np.isfinite(before.values).any()
    monkeypatch.setattr("tamis.engines.hf.ask.LEAST_MASS", 1.1)
    (after,) = ask(engine, questions()[:1]).values()
    assert after.error is None
    assert np.isnan(after.values).all()
    assert len(after.values) == len(before.values)


# --- memory, precision, threads ------------------------------------------------------------------------------------------


def out_of_memory_above(monkeypatch, most):
    """Let a pass run out of memory when it has more than so many positions."""
    states = Forward.states

    def limited(self, cache, rows):
        if len(rows) * max(len(row.ids) for row in rows) > most:
            raise torch.OutOfMemoryError("out of memory")
        return states(self, cache, rows)

    monkeypatch.setattr(Forward, "states", limited)


def test_running_out_of_memory_takes_smaller_chunks_and_loses_nothing(engine, monkeypatch):
    samples, group = SAMPLES[1:], [replace(q, parts=q.parts[:2]) for q in questions()]
    plenty, answers = read(engine, Reading(PROMPT, samples)), ask(engine, group)
    out_of_memory_above(monkeypatch, 120)
    scarce = read(engine, Reading(PROMPT, samples))
    for key, expected in plenty.items():
        close(scarce[key].stats.values, expected.stats.values)
    for key, verdict in ask(engine, group).items():
        close(verdict.values, answers[key].values)


def test_a_sample_for_which_there_is_no_memory_fails_alone(engine, monkeypatch):
    out_of_memory_above(monkeypatch, 40)
    found = read(engine, Reading(PROMPT, SAMPLES))
    failure = Failure("engine", "out of memory with this sample alone in the batch")
    lengths = {s.key: len(token_ids(engine._loaded.tokenizer, s.text)) for s in SAMPLES}
    assert {key for key, item in found.items() if item.error == failure} == {key for key, n in lengths.items() if n > 40}
    assert {key for key, item in found.items() if item.error is None} == {key for key, n in lengths.items() if n <= 40}


def test_half_precision_stays_near_full():
    folder = model_folder(scale=1.0, template=True)
    half, full = (HFEngine(folder, batch_size=4, device="cpu", dtype=name) for name in ("bfloat16", "float32"))
    a, b = (read(engine, Reading(PROMPT, SAMPLES)) for engine in (half, full))
    for key, expected in b.items():
        np.testing.assert_allclose(a[key].stats.column("entropy"), expected.stats.column("entropy"), rtol=0.05)
    a, b = (ask(engine, questions()) for engine in (half, full))
    for key, expected in b.items():
        np.testing.assert_allclose(a[key].values, expected.values, atol=0.05)


def test_the_loop_stays_free_and_an_end_leaves_no_thread_at_work(monkeypatch):
    folder = model_folder()
    engine = HFEngine(folder, batch_size=4, device="cpu")
    started, release, at_work = threading.Event(), threading.Event(), threading.Event()
    states = Forward.states

    def slow(self, cache, rows):
        at_work.set()
        started.set()
        assert release.wait(10)
        at_work.clear()
        return states(self, cache, rows)

    async def scenario():
        release.set()
        async with aclosing(engine.read(one_by_one(Reading(PROMPT, SAMPLES)))) as found:
            await anext(found)  # and closed with samples unread
        release.clear()
        monkeypatch.setattr(Forward, "states", slow)
        task = asyncio.create_task(anext(engine.ask(one_by_one(questions()))))
        assert await asyncio.to_thread(started.wait, 10)  # the loop goes on while the model works
        task.cancel()
        await asyncio.sleep(0)
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not at_work.is_set()

    asyncio.run(scenario())


def test_a_broken_or_closed_engine_is_an_error(monkeypatch):
    engine = HFEngine(model_folder(), batch_size=4, device="cpu")
    monkeypatch.setattr(Forward, "states", lambda *_: 1 / 0)
    with pytest.raises(EngineError, match="cannot read texts with a model of type qwen2"):
        read(engine, Reading(PROMPT, SAMPLES))
    engine.close()
    for call in (engine.read, engine.ask):
        with pytest.raises(EngineError, match="closed"):
            everything(call(one_by_one()))
