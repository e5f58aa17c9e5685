"""The endpoints, and the document that tells of them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tamis.select import FREE
from tamis.serve.asking import parse, read
from tamis.serve.bodies import ChatBody, CompletionBody
from tamis.serve.forms import ChatReply, CompletionReply, ErrorReply, Health, Model, Models
from tamis.serve.guard import Guard, refusal
from tamis.serve.refusals import Refused, unknown_model
from tamis.serve.replies import Reply
from tamis.serve.service import Service
from tamis.serve.streaming import Work, events, opened
from tamis.store.files import encode

CHAT, COMPLETIONS, MODELS, HEALTH, METRICS = "/v1/chat/completions", "/v1/completions", "/v1/models", "/healthz", "/metrics"
_BODY_S = 60.0  # so that one who sends nothing does not keep a place, and the service from its end
_REFUSALS = {
    400: "The request cannot be: the message says what is wrong with which field.",
    401: "The key is missing or unknown.",
    408: "The body did not come in time.",
    404: "There is no such model or method.",
    413: "The body is too large.",
    429: "Too many requests are under work: `Retry-After` says when to try again.",
    500: "The model failed.",
    503: "The service ends, or its engine broke.",
}


def make_app(service: Service) -> FastAPI:
    """The service as an ASGI application; `service` is entered by whoever runs it."""
    app = FastAPI(title="Tamis", description=__doc__, version="1", docs_url=None, redoc_url=None)
    app.add_middleware(Guard, service=service, working=(CHAT, COMPLETIONS), others=(MODELS, HEALTH, METRICS))
    started = int(time.time())
    names = [service.name, *(f"{service.name}@{method}" for method in FREE)]
    rows = [{"id": name, "object": "model", "created": started, "owned_by": "tamis"} for name in names]

    async def complete(request: Request, kind: type[ChatBody] | type[CompletionBody]) -> Response:
        asked = read(parse(kind, await _body(request)), service.name, service.serving)
        is_live = asked.is_streamed and asked.order.method is None
        reply, work = Reply(asked), Work(lambda listener: service.answer(asked, listener.hear), is_live=is_live)
        if asked.is_streamed:
            return await opened(events(reply, work))
        async with work:
            answered = await work.result(request.receive)
        if answered is None:
            return Response(status_code=499)  # to nobody
        return Response(encode(reply.whole(answered)), media_type="application/json")

    @app.post(CHAT, **_documented(ChatBody, ChatReply))
    async def chat(request: Request) -> Response:
        """Answer a conversation."""
        return await complete(request, ChatBody)

    @app.post(COMPLETIONS, **_documented(CompletionBody, CompletionReply))
    async def completions(request: Request) -> Response:
        """Go on with a text."""
        return await complete(request, CompletionBody)

    @app.get(MODELS, response_model=Models, responses=_refusals(401))
    async def models() -> Response:
        """The names that `model` may have."""
        return Response(encode({"object": "list", "data": rows}), media_type="application/json")

    @app.get(MODELS + "/{name:path}", response_model=Model, responses=_refusals(401, 404))
    async def model(name: str) -> Response:
        """One of them."""
        if name not in names:
            raise unknown_model(f"there is no model {name!r}")
        return Response(encode(rows[names.index(name)]), media_type="application/json")

    @app.get(HEALTH, response_model=Health, responses={503: {"model": Health}})
    async def health() -> Response:
        """Whether requests are taken."""
        status = "broken" if service.error else "closing" if service.is_closing else "ok"
        return Response(encode({"status": status}), 200 if status == "ok" else 503, media_type="application/json")

    @app.get(METRICS, response_class=Response, responses={200: {"content": {"text/plain": {}}}, **_refusals(401)})
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(service.metrics.page(), media_type="text/plain; version=0.0.4")

    @app.exception_handler(HTTPException)
    async def no_endpoint(_: Request, error: HTTPException) -> Response:
        code = "method_not_allowed" if error.status_code == 405 else "not_found"
        return refusal(Refused(error.status_code, str(error.detail), code=code, headers=error.headers))

    @app.exception_handler(Exception)
    async def our_fault(_: Request, __: Exception) -> Response:
        return refusal(Refused(500, "the service failed; its log says how", code="internal_error"))

    app.openapi = lambda: _document(app, service)  # type: ignore[method-assign]
    return app


async def _body(request: Request) -> bytes:
    """The bytes of a request.

    Raises:
        Refused: They do not come.
    """
    try:
        async with asyncio.timeout(_BODY_S):
            return await request.body()
    except TimeoutError:
        raise Refused(408, f"the body did not come within {_BODY_S:g} seconds", code="timeout") from None
    except ClientDisconnect:
        raise Refused(499, "the client left", code="client_left") from None


# --- the document --------------------------------------------------------------------------------------------------


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorReply, "description": _REFUSALS[status]} for status in statuses}


def _documented(body: type[BaseModel], reply: type[BaseModel]) -> dict[str, Any]:
    """What FastAPI is told of an endpoint that reads its body itself."""
    schema = {"$ref": f"#/components/schemas/{body.__name__}"}
    events: dict[str, Any] = {"text/event-stream": {}}
    return {
        "response_model": reply,
        "responses": {200: {"content": events, "description": "The answer; as events with `stream`."}, **_refusals(*_REFUSALS)},
        "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}},
    }


def _document(app: FastAPI, service: Service) -> dict[str, Any]:
    """The OpenAPI document, with the bodies and the limits of this service."""
    if app.openapi_schema is None:
        found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, bodies = models_json_schema(
            [(ChatBody, "validation"), (CompletionBody, "validation")], ref_template="#/components/schemas/{model}"
        )
        schemas = found["components"]["schemas"]
        schemas |= bodies["$defs"]
        most = {"n": service.serving.max_samples, "max_tokens": service.serving.max_tokens}
        most["max_completion_tokens"] = most["max_tokens"]
        for name in ("ChatBody", "CompletionBody", "Choosing"):
            for field, maximum in most.items():
                if field in schemas[name]["properties"]:
                    schemas[name]["properties"][field]["anyOf"][0]["maximum"] = maximum
        for name in [name for name in schemas if "Validation" in name]:  # FastAPI's own, of which none is sent
            del schemas[name]
        for path in found["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        if service.serving.keys:
            found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{"key": []}]
        app.openapi_schema = found
    return app.openapi_schema
