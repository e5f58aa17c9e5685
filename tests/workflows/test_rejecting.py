from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from workflows import rejections
from workflows.rejections import ALL, ARMS, PROMPTS, config, draw_text, judge_text, plain, run, write_images

from tamis.config import Arm, ModelSettings
from tamis.engines.scripted import ScriptedEngine
from tamis.engines.scripted_server import ScriptedServer
from tamis.errors import EngineError, RunFolderError, UsageError
from tamis.records import Failure
from tamis.store import RunFolder, ScoreFolder, VerdictFolder
from tamis.workflows import rejecting


class Engines:
    """Opens scripted engines by the name of the model, and keeps them to be looked at."""

    def __init__(self):
        self.scripts = {"generator": draw_text, "judge": judge_text, "other-judge": lambda *_: '{"score": 50}'}
        self.delays = {}
        self.num_at_once = 16
        self.opened = []

    def open(self, settings, **_):
        name = settings.model
        delay = self.delays.get(name, 0.0)
        engine = ScriptedEngine(self.scripts[name], delay=delay, max_draws_in_flight=self.num_at_once)
        self.opened.append((name, engine))
        return engine

    def num_draws(self, name):
        return sum(engine.num_draws for opened, engine in self.opened if opened == name)


@pytest.fixture
def engines(monkeypatch):
    found = Engines()
    monkeypatch.setattr(rejecting, "open_model", found.open)
    return found


@pytest.fixture
def images(tmp_path):
    return write_images(tmp_path / "images", 12)


def rows(results):
    return [plain(result) for result in results]


# --- what comes of a run ---------------------------------------------------------------------------------------------


def test_the_best_is_kept_and_accepted_from_the_threshold_on(engines, images, tmp_path):
    found = run(config(tmp_path / "out"), images)
    assert [result.problem.id for result in found] == [path.name for path in sorted(images.iterdir())]
    for result in found:
        scores = [candidate.judgement.score for candidate in result.candidates]
        assert scores == [float(c.sample.text.split("quality ")[1][:-1]) for c in result.candidates]  # not what it boasts of
        assert result.best is result.candidates[scores.index(max(scores))]
        assert result.is_accepted == (max(scores) >= 60)
        assert len({candidate.sample.seed for candidate in result.candidates}) == 4
        assert {candidate.prompt_text for candidate in result.candidates} <= set(PROMPTS.values())
    assert 0 < sum(result.is_accepted for result in found) < 12


def test_the_judge_sees_the_image_and_all_candidates_at_once(engines, images, tmp_path):
    seen = []

    def judge(request, draw):
        seen.append(request)
        return judge_text(request, draw)

    engines.scripts["judge"] = judge
    found = run(config(tmp_path / "out", grading_template=ALL), images)
    assert len(seen) == 12
    assert {request.prompt.images for request in seen} == {(str(path),) for path in images.iterdir()}
    for result, reply in zip(found, seen, strict=True):
        assert all(candidate.judgement.score is not None for candidate in result.candidates)
        tokens = [candidate.grading_tokens for candidate in result.candidates]
        assert sum(prompt for prompt, _ in tokens) == len(reply.prompt.text)


@pytest.mark.parametrize("strategy", ["random", "grid", "adaptive"])
@pytest.mark.parametrize("stop_early", [False, True])
def test_results_do_not_depend_on_concurrency_or_order(engines, images, tmp_path, strategy, stop_early):
    settings = {"strategy": strategy, "stop_early": stop_early}
    one_by_one = run(config(tmp_path / "one", max_in_flight=1, **settings), images)
    engines.num_at_once = 3
    engines.delays = {"generator": 0.004, "judge": 0.002}
    at_once = run(config(tmp_path / "many", max_in_flight=16, **settings), images)
    assert rows(one_by_one) == rows(at_once)
    if stop_early:
        for result in at_once:
            *before, last = [candidate.judgement.score for candidate in result.candidates]
            assert all(score < 60 for score in before)
            assert last >= 60 or len(before) == 3


# --- going on --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", [rejections.ONE, ALL])
def test_what_is_finished_is_not_paid_for_again(engines, images, tmp_path, template):
    asked = config(tmp_path / "out", grading_template=template, max_in_flight=2)
    run(asked, images, stop_after=5)
    paid = [engines.num_draws(name) for name in ("generator", "judge")]
    assert paid[0] < 48
    found = run(asked, images)
    assert rows(found) == rows(run(config(tmp_path / "fresh", grading_template=template), images))
    journals = [RunFolder.read(tmp_path / "out" / path) for path in ("", "scores/judge/replies")]
    assert [folder.num_finished for folder in journals] == [48, 48 if template != ALL else 12]
    engines.opened.clear()
    assert rows(run(asked, images)) == rows(found)
    assert engines.opened == []  # no model is loaded for nothing


def test_killed_again_and_again_it_gives_what_one_run_gives(tmp_path):
    images = write_images(tmp_path / "images", 8)
    program = [sys.executable, str(Path(rejections.__file__))]
    with ScriptedServer(rejections.text_of) as generator, ScriptedServer(rejections.judge_of) as judge:
        urls = [generator.base_url, judge.base_url]
        settings = [ModelSettings("scripted", "http", base_urls=(url,), api_key="") for url in urls]
        whole = {"generator": settings[0], "judge": settings[1], "stop_early": True, "strategy": "adaptive"}
        expected = rows(run(config(tmp_path / "whole", **whole), images))
        num_paid = generator.counts.num_requests, judge.counts.num_requests
        journals = [tmp_path / "out" / name for name in ("samples.jsonl", "scores/judge/replies/samples.jsonl")]
        rng = random.Random(3)
        for _ in range(4):
            process = subprocess.Popen([*program, str(tmp_path / "out"), str(images), *urls])
            start = sum(path.stat().st_size for path in journals if path.exists())
            grown = rng.randrange(1, 1500)
            while process.poll() is None and sum(p.stat().st_size for p in journals if p.exists()) < start + grown:
                time.sleep(0.001)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        found = rows(run(config(tmp_path / "out", **whole), images))
    assert found == expected
    assert (tmp_path / "out" / "samples.jsonl").read_bytes().count(b"\n") <= num_paid[0]


def test_a_grown_grid_and_another_strategy_use_what_is_there(engines, images, tmp_path):
    run(config(tmp_path / "out", num_candidates=2), images)
    run(config(tmp_path / "out", num_candidates=4), images)
    assert engines.num_draws("generator") == 48
    run(config(tmp_path / "out", num_candidates=6, strategy="grid"), images)
    assert engines.num_draws("generator") == 72  # all arms once: of these 48 were there
    more = (*ARMS, Arm("third", 0.2, 0.9, 0))
    run(config(tmp_path / "out", num_candidates=7, strategy="grid", arms=more, prompts={**PROMPTS, "third": "?"}), images)
    assert engines.num_draws("generator") == 84


def test_another_prompt_under_the_same_key_is_refused(engines, images, tmp_path):
    run(config(tmp_path / "out"), images)
    with pytest.raises(RunFolderError, match=r"prompts\.full: Describe the image.* -> Say it"):
        run(config(tmp_path / "out", prompts={**PROMPTS, "full": "Say it"}), images)


def test_a_replaced_image_is_another(engines, images, tmp_path):
    run(config(tmp_path / "out"), images)
    first, second, *_ = sorted(images.iterdir())
    first.write_bytes(second.read_bytes())
    run(config(tmp_path / "out"), images)
    assert engines.num_draws("generator") == 48 + 4


# --- judging anew ----------------------------------------------------------------------------------------------------


def test_a_threshold_alone_needs_no_call(engines, images, tmp_path):
    low = run(config(tmp_path / "out", threshold=40.0), images)
    engines.opened.clear()
    high = run(config(tmp_path / "out", threshold=75.0), images)
    assert engines.opened == []
    assert sum(r.is_accepted for r in high) < sum(r.is_accepted for r in low)
    for result in high:
        assert result.is_accepted == (result.best.judgement.score >= 75)


@pytest.mark.parametrize("stop_early", [False, True])
def test_another_judge_draws_nothing(engines, images, tmp_path, stop_early):
    asked = config(tmp_path / "out", strategy="adaptive", stop_early=stop_early)
    before = run(asked, images)
    drawn = engines.num_draws("generator")
    other = replace(asked, judge=ModelSettings("other-judge", "scripted"))
    with pytest.raises(RunFolderError, match=r"model: judge -> other-judge\. Add --rejudge"):
        run(other, images)
    after = run(replace(other, rejudge=True, threshold=50.0), images)
    assert engines.num_draws("generator") == drawn
    assert engines.num_draws("other-judge") == drawn
    keys = [{candidate.sample.key for candidate in result.candidates} for result in after]
    assert keys == [{candidate.sample.key for candidate in result.candidates} for result in before]
    assert all(result.is_accepted and result.best is result.candidates[0] for result in after)
    engines.opened.clear()
    raised = run(replace(asked, rejudge=True, threshold=99.0), images)  # the first judge again
    assert engines.opened == []
    assert not any(result.is_accepted for result in raised)


def test_verdicts_are_what_other_commands_read(engines, images, tmp_path):
    found = run(config(tmp_path / "out"), images)
    with ScoreFolder(tmp_path / "out" / "scores") as scores, VerdictFolder.read(tmp_path / "out/scores/judge") as verdicts:
        from tamis.records import Pool

        for result in found:
            samples = tuple(candidate.sample for candidate in result.candidates)
            filled = scores.fill(Pool(result.problem, samples))
            said = [sample.verdicts["judge"][0] for sample in filled.samples]
            assert said == [candidate.judgement.score / 100 for candidate in result.candidates]
        assert verdicts.path.name == "judge"


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_judge_without_a_score_is_told_why_once(engines, images, tmp_path):
    def judge(request, draw):
        text = request.prompt.text
        if "quality 3" in text or "quality 4" in text:
            return "Score: 870/100"
        return judge_text(request, draw) if "attempt 2" in text and "no score from 0 to 100" in text else "Rather good."

    engines.scripts["judge"] = judge
    found = run(config(tmp_path / "out"), images)
    candidates = [candidate for result in found for candidate in result.candidates]
    assert engines.num_draws("judge") == 2 * len(candidates)
    ungraded = [c for c in candidates if c.judgement.score is None]
    assert 0 < len(ungraded) < len(candidates)
    assert {(c.judgement.reason, c.judgement.explanation) for c in ungraded} == {
        ("judge_failed", "the judge's reply has no score from 0 to 100")
    }
    assert all("quality 3" in c.sample.text or "quality 4" in c.sample.text for c in ungraded)

    engines.opened.clear()
    run(config(tmp_path / "out"), images)
    assert engines.opened == []
    engines.scripts["judge"] = lambda *_: '{"explanation": "at last", "score": 7.5}'
    found = run(config(tmp_path / "out", retry_failed=True), images)
    assert engines.num_draws("judge") == len(ungraded)
    assert engines.num_draws("generator") == 0
    candidates = [candidate for result in found for candidate in result.candidates]
    assert sum(c.judgement.score == 7.5 and c.judgement.explanation == "at last" for c in candidates) == len(ungraded)


def test_those_left_out_of_a_joint_reply_are_asked_for_once_more(engines, images, tmp_path):
    engines.scripts["judge"] = lambda _, draw: (
        "Answer 1: Score: 10\nAnswer 2: Score: 20" if draw.index == 0 else '{"grades": [{"number": 3, "score": 30}]}'
    )
    notes = []
    found = run(config(tmp_path / "out", grading_template=ALL), images, look=lambda r: notes.extend(r.bad_rows))
    assert engines.num_draws("judge") == 2 * 12
    for result in found:
        assert [candidate.judgement.score for candidate in result.candidates] == [10, 20, 30, None]
    assert len(notes) == 12
    assert notes[0].reason == "ungraded: the judge's reply has no score from 0 to 100 for it"


def test_failures_are_owed_again_and_ungraded_is_not_zero(engines, images, tmp_path):
    engines.scripts["generator"] = lambda request, draw: (
        Failure("engine", "busy") if draw.seed % 3 == 0 else "" if draw.seed % 3 == 1 else draw_text(request, draw)
    )
    engines.scripts["judge"] = lambda *_: Failure("engine", "too large")
    notes = []
    found = run(config(tmp_path / "out"), images, look=lambda r: notes.extend(r.bad_rows))
    for candidate in (candidate for result in found for candidate in result.candidates):
        if candidate.sample.error:
            assert candidate.judgement is None
        else:
            assert candidate.judgement.score is None
            assert candidate.judgement.reason == ("engine_error" if candidate.sample.text else "empty")
    assert all(result.best is None and not result.is_accepted for result in found)
    assert {row.reason for row in notes[:-1]} == {
        "engine: busy",
        "ungraded: it says nothing",
        "ungraded: the judge failed: too large",
    }
    num_said = sum(bool(c.sample.text) for result in found for c in result.candidates)
    assert f"none of {num_said} candidates has a score" in str(notes[-1])
    engines.scripts |= {"generator": draw_text, "judge": judge_text}
    found = run(config(tmp_path / "out"), images)
    assert all(c.judgement.score is not None for result in found for c in result.candidates if c.sample.text)


def test_a_broken_engine_ends_the_run_and_loses_nothing(engines, images, tmp_path, monkeypatch):
    broken = ScriptedEngine(draw_text, break_after=10)
    monkeypatch.setattr(rejecting, "open_model", lambda s, **_: broken if s.model == "generator" else engines.open(s))
    with pytest.raises(EngineError, match="broke after 10"):
        run(config(tmp_path / "out"), images)
    with RunFolder.read(tmp_path / "out") as folder:
        assert folder.num_finished == 10
    monkeypatch.setattr(rejecting, "open_model", engines.open)
    found = run(config(tmp_path / "out"), images)
    assert engines.num_draws("generator") == 38
    assert rows(found) == rows(run(config(tmp_path / "fresh"), images))


# --- a larger limit --------------------------------------------------------------------------------------------------


def test_what_was_cut_off_is_drawn_again_under_a_larger_limit(engines, images, tmp_path):
    long = {}
    engines.scripts["generator"] = lambda request, draw: (
        draw_text(request, draw) + (" and so on" * 10 if long.setdefault(draw.key, draw.seed % 2) else "")
    )
    short = config(tmp_path / "out", max_tokens=60)
    before = run(short, images)
    cut = {c.sample.key for result in before for c in result.candidates if c.sample.truncated}
    assert 0 < len(cut) < 48
    longer = replace(short, max_tokens=500)
    with pytest.raises(RunFolderError, match="Add --extend-truncated"):
        run(longer, images)
    engines.opened.clear()
    after = run(replace(longer, extend_truncated=True), images)
    assert engines.num_draws("generator") == engines.num_draws("judge") == len(cut)
    for old, new in zip(before, after, strict=True):
        for was, now in zip(old.candidates, new.candidates, strict=True):
            assert not now.sample.truncated
            assert now.sample.text.startswith(was.sample.text)
            assert (now.sample.text == was.sample.text) == (was.sample.key not in cut)
    engines.opened.clear()
    assert rows(run(replace(longer, extend_truncated=True), images)) == rows(after)
    assert rows(run(short, images)) == rows(after)
    assert engines.opened == []


def test_an_extension_that_fails_keeps_what_is_there(engines, images, tmp_path):
    before = run(config(tmp_path / "out", max_tokens=5), images)
    engines.scripts["generator"] = lambda *_: Failure("engine", "the prompt is too long")
    notes = []
    longer = config(tmp_path / "out", max_tokens=50, extend_truncated=True)
    after = run(longer, images, look=lambda r: notes.extend(r.bad_rows))
    assert [plain(result)[1] for result in after] == [plain(result)[1] for result in before]
    assert "not extended: engine: the prompt is too long" in {row.reason for row in notes}


# --- misuse ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ()}, "nothing to draw"),
        ({"threshold": 101.0}, "threshold is 101"),
        ({"grading_template": "Is it good?"}, "no place for a candidate"),
        ({"grading_template": rejections.ONE + ALL}, "places for both"),
        ({"resume": True}, "nothing to resume"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(engines, images, tmp_path, changes, message):
    with pytest.raises((UsageError, RunFolderError), match=message):
        run(config(tmp_path / "out", **changes), images)
    assert not (tmp_path / "out").exists()
    assert engines.opened == []
