"""What whoever listens to a draw of a server is told."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from engines.http.requests import request, run

from tamis.engines.http import HTTPEngine
from tamis.engines.http.telling import Telling
from tamis.engines.http.transport import NoAnswerError
from tamis.engines.scripted_server import Faults, ScriptedServer
from tamis.records import Draw, Watch

TEXT = "Step 1: 三加四 is 7, and some more words\nThe answer is \\boxed{7}."


def engine_of(server: ScriptedServer, **options) -> HTTPEngine:
    return HTTPEngine(server.model, base_urls=[server.base_url], **{"start_s": 3.0, **options})


def told(sample) -> tuple[object, ...]:
    row = sample.to_json()
    del row["seconds"]
    return row, sample.stats and sample.stats.values.tobytes()


@pytest.mark.parametrize("options", [{}, {"token_stats": False}])
def test_the_samples_are_the_same_with_and_without_a_listener(options):
    items = [request("a", 3), request("b", 2, raw=True, stop=("some",)), request("c", max_tokens=12)]
    heard: dict[str, list[str]] = defaultdict(list)
    with ScriptedServer([TEXT]) as server:
        plain = run(engine_of(server, **options), *items)
        assert not any(body.get("stream") for body in server.counts.bodies)
        listening = [replace(item, on_text=lambda draw, text: heard[draw.key].append(text) or True) for item in items]
        samples = run(engine_of(server, **options), *listening)
    assert [told(sample) for sample in samples] == [told(sample) for sample in plain]
    for sample in plain:
        texts = heard[sample.key]
        assert all(sample.text.startswith(text) for text in texts)
        assert [len(text) for text in texts] == sorted({len(text) for text in texts})
    assert max(map(len, heard.values())) > 2


@pytest.mark.parametrize("has_stats", [True, False])
def test_one_that_is_given_up_is_cut_and_the_connection_closed(has_stats):
    with ScriptedServer([TEXT], faults=Faults(hang_midway=1.0)) as server:  # it would never end
        engine = engine_of(server, token_stats=False, idle_s=3600.0, stream_idle_s=3600.0, retries=0)
        (sample,) = run(engine, replace(request(), on_text=lambda _, text: len(text) < 10))
    assert (sample.finish_reason, sample.error) == ("cut", None)
    assert (sample.text, sample.completion_tokens) == (TEXT[:16], 2)
    with ScriptedServer([TEXT]) as server:
        cut, whole = run(
            engine_of(server, token_stats=has_stats),
            replace(request("p", 2), on_text=lambda draw, text: draw.index > 0 or len(text) < 10),
        )
    assert (cut.finish_reason, cut.text) == ("cut", TEXT[:16])
    assert (cut.completion_tokens, cut.stats is not None) == (16 if has_stats else 2, has_stats)
    assert (whole.finish_reason, whole.text) == ("stop", TEXT)


def test_a_server_that_begins_again_in_other_words_has_not_answered():
    texts: dict[str, str] = {}
    with ScriptedServer(faults=Faults(reset_midway=0.5, ignored=("seed",))) as server:
        engine = engine_of(server, token_stats=False, retries=4)
        samples = run(engine, replace(request("a", 24), on_text=lambda draw, text: not texts.update({draw.key: text})))
    for sample in samples:
        assert sample.text.startswith(texts[sample.key]) or "other words" in sample.error.message
    assert any(sample.error for sample in samples)
    assert any(not sample.error for sample in samples)


def test_one_attempt_after_another():
    heard = []
    telling = Telling(Draw("k", 0, 0), lambda _, text: not heard.append(text))
    assert all(telling.goes_on(text) for text in ("a", "ab", "a", "abc"))
    assert heard == ["a", "ab", "abc"]
    telling.check("abcd")
    for text in ("ac", "b"):
        with pytest.raises(NoAnswerError):
            telling.goes_on(text)
    with pytest.raises(NoAnswerError):
        telling.check("ab")


def test_what_a_watch_may_cut_short_is_not_told_before():
    with ScriptedServer([TEXT]) as server:
        (sample,) = run(engine_of(server), replace(request(), watch=Watch(2, 99.0), on_text=lambda *_: pytest.fail("told")))
    assert sample.finish_reason == "cut"
