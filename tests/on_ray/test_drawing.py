"""Samples drawn by several workers are those of one process, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import ray
from on_ray import engines
from sample.runs import contents, draw, problems

from tamis.engines.base import Engine
from tamis.engines.ray import RayEngine
from tamis.engines.ray.place import Place
from tamis.errors import EngineError
from tamis.records import Pool, Sampling
from tamis.store import RunFolder

SAMPLING = Sampling(n=3)
NUM = 24


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("one") / "run"
    draw(folder, problems(NUM), SAMPLING, engine=engines.plain())
    return contents(folder)


@pytest.fixture
def engine() -> Iterator[RayEngine]:
    made = RayEngine(engines.plain, 2)
    yield made
    made.close()


def kill(place: Place) -> None:
    """SIGKILL to the process of a worker that is loaded."""
    ray.get(place.loading)
    os.kill(ray.get(place.worker.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)


def test_samples_are_those_of_one_process(tmp_path, engine, expected):
    assert isinstance(engine, Engine)
    assert engine.describe() == {"engine": "scripted", "workers": 2}
    progress = draw(tmp_path / "run", problems(NUM), SAMPLING, engine=engine)
    assert contents(tmp_path / "run") == expected
    assert progress.samples_done + progress.samples_failed == NUM * 3
    assert not progress.samples_repeated


def test_abandoned_and_resumed_by_the_same_workers(tmp_path, engine, expected):
    draw(tmp_path / "run", problems(NUM), SAMPLING, engine=engine, stop_after=4)
    assert 12 <= len(contents(tmp_path / "run")) < NUM * 3
    draw(tmp_path / "run", problems(NUM), SAMPLING, engine=engine)
    assert contents(tmp_path / "run") == expected


@pytest.mark.parametrize("at_once", [1, 8])
def test_workers_killed_in_the_middle(tmp_path, engine, expected, at_once):
    places, finished = list(engine._places), []

    def on_pool(pool: Pool) -> None:
        finished.append(pool.problem.id)
        if len(finished) in (2, 9):
            kill(places[len(finished) % 2])

    progress = draw(tmp_path / "run", problems(NUM), SAMPLING, engine=engine, on_pool=on_pool, max_problems_in_flight=at_once)
    assert contents(tmp_path / "run") == expected
    assert progress.samples_done + progress.samples_failed == NUM * 3
    assert len(set(finished)) == len(finished) == NUM


def test_all_workers_killed_between_two_streams(tmp_path, engine, expected):
    draw(tmp_path / "run", problems(5), SAMPLING, engine=engine)
    for place in engine._places:
        kill(place)
    draw(tmp_path / "run", problems(NUM), SAMPLING, engine=engine)
    assert contents(tmp_path / "run") == expected


def test_a_problem_that_kills_whoever_draws_it(tmp_path):
    engine = RayEngine(engines.deadly, 2)
    progress = draw(tmp_path / "run", problems(8), Sampling(n=2), engine=engine)
    engine.close()
    with RunFolder.read(tmp_path / "run") as run:
        failed = [(s.problem_id, s.error.message) for s in run.samples() if s.error]
        texts = {s.problem_id for s in run.samples() if s.text == str(s.seed)}
    assert len(failed) == 2
    assert {(name, message.partition(",")[0]) for name, message in failed} == {("p3", "3 workers died while they drew it")}
    assert texts == {f"p{number}" for number in range(8)} - {"p3"}
    assert progress.samples_failed == 2


def test_a_draw_that_the_engine_ends_without(tmp_path):
    engine = RayEngine(engines.forgetful, 2)
    progress = draw(tmp_path / "run", problems(4), SAMPLING, engine=engine)
    engine.close()
    with RunFolder.read(tmp_path / "run") as run:
        lost = [s.problem_id for s in run.samples() if s.error and "without this sample" in s.error.message]
    assert lost == ["p1"] * 3
    assert progress.problems_finished == 4


def test_an_engine_that_breaks_ends_the_run(tmp_path):
    engine = RayEngine(engines.broken, 2)
    with pytest.raises(EngineError, match="broke after 5 samples"):
        draw(tmp_path / "run", problems(40), SAMPLING, engine=engine)
    engine.close()
    assert len(contents(tmp_path / "run")) >= 5


def test_models_that_do_not_load():
    with pytest.raises(EngineError, match="3 workers died while they loaded the model"):
        RayEngine(engines.dying, 1)


def test_an_error_in_the_source_is_raised(tmp_path, engine):
    def source():
        yield from problems(3)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        draw(tmp_path / "run", source(), SAMPLING, engine=engine)
    assert len(contents(tmp_path / "run")) == 9
