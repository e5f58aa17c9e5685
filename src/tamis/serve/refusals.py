"""What the service says instead of an answer, in OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Refused(Exception):
    """A request that gets no answer: status, one line, and the field that it is about.

    Attributes:
        code: What programs may go by, and what refusals are counted by.
    """

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {"error": {"message": self.message, "type": _type(self.status), "param": self.param, "code": self.code}}


def _type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def unknown_model(name: str) -> Refused:
    """The model is not here, or a method after its @ is none."""
    return Refused(404, name, code="model_not_found", param="model")


def broken() -> Refused:
    """The engine broke; why is not the client's to know."""
    return Refused(503, "the model's engine broke; the service ends", code="engine_broken", headers={"Connection": "close"})
