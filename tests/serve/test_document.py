"""The service against its own OpenAPI document: whatever that allows, and much that it does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.schemas import APIOperation
from serve.running import NAME, Running

from tamis.engines.scripted import ScriptedEngine

ENDPOINTS = ["/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/models/{name}", "/healthz", "/metrics"]


@pytest.fixture(scope="module")
def operations() -> Iterator[dict[str, APIOperation]]:
    engine = ScriptedEngine(["so \\boxed{7}", "\\boxed{8}", "no idea"], token_stats=True, max_draws_in_flight=64)
    with Running(engine) as running:
        schema = schemathesis.openapi.from_url(running.base_url.replace("/v1", "/openapi.json"))
        yield {found.ok().path: found.ok() for found in schema.get_all_operations()}


def test_all_endpoints_are_in_the_document(operations):
    assert sorted(operations) == sorted(ENDPOINTS)


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        *((path, GenerationMode.POSITIVE) for path in ENDPOINTS),
        *((path, GenerationMode.NEGATIVE) for path in ENDPOINTS[:2]),  # nothing of the others can be wrong
    ],
)
def test_the_document_is_true(operations, path, mode):
    operation = operations[path]
    with requests.Session() as session:

        @settings(max_examples=40, suppress_health_check=list(HealthCheck))
        @given(
            case=operation.as_strategy(mode), model=st.sampled_from([NAME, f"{NAME}@esc", f"{NAME}@self-certainty:3", "other"])
        )
        def check(case: Case, model: str) -> None:
            if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
                case.body["model"] = model  # hardly any other is known
            case.call_and_validate(session=session)

        check()
