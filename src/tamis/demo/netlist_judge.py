"""A judge that is a rule: how well a written netlist agrees with the one beside the picture. It speaks as a model would."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from tamis.demo.diagrams import Edge, edge_f1, read_edges, truth_file
from tamis.records import Failure, Request, Sample

TEMPLATE = "This netlist was written of the diagram:\n<netlist>\n{generated_answer}\n</netlist>\nHow well does it agree?"
"""The grading template by which it is asked."""

_WRITTEN = re.compile(r"<netlist>\n(.*)\n</netlist>", re.S)  # to the last end: a candidate may write ends of its own


class NetlistJudge:
    """Gives 100 times the F1 of the arrows; implements `tamis.engines.base.Engine`."""

    def describe(self) -> Mapping[str, Any]:
        """Its name."""
        return {"engine": "netlist"}

    async def stream(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Sample, None]:
        """Judge the netlist in every request; one draw says what all would."""
        async for request in requests:
            reply = _judge(request)
            fields: dict[str, Any] = {"parts": (reply,)}
            if isinstance(reply, Failure):
                fields = {"finish_reason": "error", "error": reply}
            for draw in request.draws:
                yield Sample(draw.key, request.problem_id, draw.index, draw.seed, request.sampling, **fields)

    def close(self) -> None:
        """Nothing to free."""


def _judge(request: Request) -> str | Failure:
    if len(request.prompt.images) != 1:
        return Failure("input", "the rule judges one netlist of one picture")
    path = truth_file(Path(request.prompt.images[0]))
    try:
        truth = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        return Failure("input", f"no netlist to compare with: {path}: {error}")
    return verdict(request.prompt.text, truth) or Failure("input", "the rule judges what is between <netlist> and </netlist>")


def verdict(prompt: str, truth: str) -> str | None:
    """The reply to a prompt made of `TEMPLATE`, given the true netlist; None: there is none to be judged in it."""
    written = _WRITTEN.search(prompt)
    if written is None:
        return None
    found, true = read_edges(written[1]), read_edges(truth)
    reasons = f"{len(found & true)} of {len(true)} arrows found"
    reasons += f"; missing: {_named(true - found)}" if true - found else ""
    reasons += f"; not there: {_named(found - true)}" if found - true else ""
    return f"{reasons}.\nScore: {100 * edge_f1(written[1], truth):.2f}"


def _named(edges: set[Edge]) -> str:
    return ", ".join(f"{source} -> {target}" for source, target in sorted(edges)[:8])
