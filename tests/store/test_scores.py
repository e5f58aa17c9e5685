"""The scores folder: verdicts that are never lost or doubled, and pools filled with what is known."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import make_pool

from tamis.engines.scripted import random_stats
from tamis.errors import RunFolderError
from tamis.identity import pool_keys, text_key
from tamis.records import EmbeddingChain, Failure, Verdict
from tamis.store import READINGS, RunFolder, ScoreFolder, VerdictFolder, verdict_keys

WHO = {"model": "m", "wording": "w"}


@pytest.fixture
def pool():
    return make_pool([0, 1, -1], failed=[2])


def fill(folder, asked, pool, values):
    with VerdictFolder.open(folder / asked, WHO) as verdicts:
        for key, numbers in zip(verdict_keys(asked, pool), values, strict=True):
            verdicts.append(Verdict(key, numbers))


def test_verdicts_come_back(tmp_path, pool):
    fill(tmp_path, "self-eval", pool, [(0.25, math.nan), (0.5,), (0.75,)])
    with ScoreFolder(tmp_path) as scores:
        first, second, failed = scores.fill(pool).samples
    assert first.verdicts["self-eval"][0] == 0.25
    assert math.isnan(first.verdicts["self-eval"][1])
    assert second.verdicts == {"self-eval": (0.5,)}
    assert not failed.verdicts  # a failed sample has nothing to be judged


def test_a_changed_text_has_no_verdict(tmp_path, pool):
    fill(tmp_path, "p-true", pool, [(0.1,), (0.2,), (0.3,)])
    changed = replace(pool, samples=(replace(pool.samples[0], parts=("other",)), *pool.samples[1:]))
    with ScoreFolder(tmp_path) as scores:
        first, second, _ = scores.fill(changed).samples
    assert not first.verdicts
    assert second.verdicts == {"p-true": (0.2,)}


def test_answers_judged_together_lose_their_verdicts_when_one_more_comes(tmp_path):
    small, large = make_pool([0, 1]), make_pool([0, 1, 1])
    fill(tmp_path, "usc", small, [(1.0,), (0.0,)])
    with ScoreFolder(tmp_path) as scores:
        assert [s.verdicts for s in scores.fill(small).samples] == [{"usc": (1.0,)}, {"usc": (0.0,)}]
        assert not any(s.verdicts for s in scores.fill(large).samples)
    assert not set(pool_keys(small)) & set(pool_keys(large))


def test_readings_fill_only_what_is_missing(tmp_path, pool):
    drawn, bare, _ = pool.samples
    own = random_stats(drawn.text, 1)
    read = [replace(s, key=text_key(s), stats=random_stats(s.text, 2)) for s in (drawn, bare)]
    chain = EmbeddingChain(np.arange(8, dtype=np.float32).reshape(2, 4))
    with RunFolder.open(tmp_path / READINGS, WHO) as folder:
        for sample in read:
            folder.append(replace(sample, chain=chain))
    with ScoreFolder(tmp_path) as scores:
        first, second, _ = scores.fill(replace(pool, samples=(replace(drawn, stats=own), *pool.samples[1:]))).samples
    assert first.stats is own
    np.testing.assert_array_equal(first.chain.values, chain.values)
    np.testing.assert_array_equal(second.stats.values, read[1].stats.values)


def test_another_asker_is_refused_or_goes_beside_and_the_newest_is_read(tmp_path, pool):
    fill(tmp_path, "judge", pool, [(0.1,), (0.2,), (0.3,)])
    with pytest.raises(RunFolderError, match="model: m -> n"):
        VerdictFolder.open(tmp_path / "judge", {**WHO, "model": "n"})
    with VerdictFolder.open(tmp_path / "judge", {**WHO, "model": "n"}, fork=True) as fork:
        fork.append(Verdict(text_key(pool.samples[0]), (0.9,)))
        assert fork.path.name == "judge-2"
    with ScoreFolder(tmp_path) as scores:
        assert scores.fill(pool).samples[0].verdicts == {"judge": (0.9,)}


def test_a_failed_question_is_owed_again(tmp_path, pool):
    key = text_key(pool.samples[0])
    with VerdictFolder.open(tmp_path / "p-true", WHO) as folder:
        folder.append(Verdict(key, (), Failure("engine", "broke")))
        assert key not in folder
        folder.append(Verdict(key, (0.5,)))
        assert folder.get(key) == (0.5,)


@given(cut=st.integers(0, 10**6))
def test_a_kill_at_any_byte_loses_no_finished_verdict(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("verdicts")
    keys = [f"{number:016x}" for number in range(5)]
    with VerdictFolder.open(folder / "x", WHO) as verdicts:
        for number, key in enumerate(keys):
            verdicts.append(Verdict(key, (number / 4, math.nan)))
    journal = folder / "x" / "verdicts.jsonl"
    size = journal.stat().st_size
    whole = journal.read_bytes()[: cut % (size + 1)].count(b"\n")
    os.truncate(journal, cut % (size + 1))
    with VerdictFolder.open(folder / "x", WHO) as verdicts:
        assert [key in verdicts for key in keys] == [number < whole for number in range(5)]
        for key in keys[whole:]:
            verdicts.append(Verdict(key, (0.5,)))
    with VerdictFolder.read(folder / "x") as verdicts:
        assert [verdicts.get(key)[0] for key in keys] == [n / 4 if n < whole else 0.5 for n in range(5)]
