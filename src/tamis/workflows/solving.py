"""Questions -> answers of a trained model (source document s2), from a run folder or in memory, as the documented rows."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tamis.identity import sample_keys, sample_seed
from tamis.prompts import PromptTemplate, problem_text
from tamis.records import Choice, Draw, Failure, Pool, Problem, Request, Sample, Sampling
from tamis.select import choose
from tamis.store import RowFile
from tamis.store.files import decode, encode, encode_readable, write_atomically
from tamis.workflows.examining import examine

if TYPE_CHECKING:
    from tamis.engines.base import Engine
    from tamis.workflows.drawing import Session

VOTE = "self-consistency"
SOLUTIONS_FILE = "solutions.jsonl"


async def draw(engine: Engine, problems: Sequence[Problem], sampling: Sampling, prompt: PromptTemplate) -> list[Pool]:
    """Each problem with its samples, in order, kept nowhere; problems with one id are drawn once.

    Raises:
        EngineError: The engine broke as a whole.
    """
    requests: dict[str, Request] = {}
    for problem in problems:
        asked = prompt(problem)
        keys = sample_keys(problem.id, asked, sampling, range(sampling.n))
        draws = tuple(Draw(key, i, sample_seed(sampling.seed, problem.id, i)) for i, key in enumerate(keys))
        requests[problem.id] = Request(problem.id, asked, sampling, draws)

    async def all_requests() -> AsyncIterator[Request]:
        for request in requests.values():
            yield request

    drawn: dict[str, Sample] = {}
    async with aclosing(engine.stream(all_requests())) as samples:
        async for sample in samples:
            drawn[sample.key] = sample
    failure = Failure("engine", "the engine ended without this sample")
    return [
        Pool(
            problem,
            tuple(
                drawn.get(one.key)
                or Sample(one.key, problem.id, one.index, one.seed, sampling, finish_reason="error", error=failure)
                for one in requests[problem.id].draws
            ),
        )
        for problem in problems
    ]


async def solve(session: Session) -> Path:
    """Draw the answers of a session; the rows, one a problem in order, go into a file of its run folder."""
    path = session.folder.file(SOLUTIONS_FILE)
    with RowFile(path) as rows:
        index = 0
        async with aclosing(session.pools()) as pools:
            async for pool in pools:
                judged = await examine(pool, session.grader)
                row = solution(judged, session.config.prompt, session.config.sampling.n)
                rows.write({"index": index, "id": pool.problem.id, **row})
                index += 1
    return path


def solution(judged: Pool, prompt: PromptTemplate, n: int) -> dict[str, Any]:
    """One problem and its `n` answers: `problem`, `prompt`, `response`, `answer`, and what is to be said of them."""
    choice = choose(judged, VOTE) if n > 1 else None
    return {"problem": problem_text(judged.problem), "prompt": prompt(judged.problem).text, **answers(judged, choice)}


def answers(judged: Pool, choice: Choice | None) -> dict[str, Any]:
    """What the first sample says; of several, with the choice of their vote, all texts and answers too.

    `answer` is null where none can be extracted; `response` is null, and `error` says why, where the sample failed.
    """
    samples, grades = judged.samples, judged.grades
    if not samples:
        return {"response": None, "answer": None, "error": "store: it cannot be read again; the same command draws it anew"}
    row: dict[str, Any] = {"response": _text(samples[0]), "answer": grades[0].answer}
    if choice:
        row |= {"responses": [_text(sample) for sample in samples], "answers": [grade.answer for grade in grades]}
        row |= {"vote": choice.answer, "votes": dict(choice.votes)}
    row |= {"finish_reason": samples[0].finish_reason, "truncated": samples[0].truncated}
    if reasons := dict.fromkeys(why(sample) for sample in samples if sample.error):
        row["error"] = "; ".join(reasons)
    return row


def why(sample: Sample) -> str:
    """Why a sample failed: the boundary and what it said."""
    return f"{sample.error.boundary}: {sample.error.message}" if sample.error else ""


def _text(sample: Sample) -> str | None:
    return None if sample.error else sample.text


# --- files -----------------------------------------------------------------------------------------------------------


def read_rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that `solve` or `evaluate` wrote into a run folder."""
    with path.open("rb") as file:
        for line in file:
            yield decode(line)


def write_list(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as one JSON list, a row a line."""
    write_atomically(path, _lines("[", "  ", rows, "]"))


def write_object(path: Path, facts: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write facts as one JSON object, readable, whose last entry `results` holds the rows, a row a line."""
    opening = encode_readable(facts).decode().removesuffix("\n}") + ',\n  "results": ['
    write_atomically(path, _lines(opening, "    ", rows, "  ]\n}"))


def _lines(opening: str, indent: str, rows: Iterable[Mapping[str, Any]], closing: str) -> Iterator[bytes]:
    yield opening.encode()
    before: bytes | None = None
    for row in rows:
        if before is not None:
            yield before + b","
        before = indent.encode() + encode(row)
    if before is not None:
        yield before
    yield closing.encode()


def write_log(path: Path, rows: Iterable[Mapping[str, Any]], *, append: bool = False) -> None:
    """The rows as people read them: question, prompt, response, answer and verdict of each, in full.

    `append` adds them to what is there, for single questions; else the file is replaced as one act.
    """
    entries = (_log_entry(row).encode("utf-8", "backslashreplace") for row in rows)
    if not append:
        write_atomically(path, entries)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(entry + b"\n" for entry in entries)


_LOGGED = (
    ("problem", "problem"),
    ("prompt", "prompt"),
    ("response", "response"),
    ("model_response", "response"),
    ("answer", "answer"),
    ("model_answer", "answer"),
    ("vote", "vote"),
    ("reference_answer", "reference"),
    ("error", "failed"),
    ("metric", "metric"),
    ("metric_error", "no metric"),
    ("unscored", "not graded"),
)


def _log_entry(row: Mapping[str, Any]) -> str:
    number = f" {row['index']}" if "index" in row else ""
    lines = [f"=== problem{number}" + (f" ({row['id']})" if "id" in row else "")]
    for name, title in _LOGGED:
        if row.get(name) is not None:
            lines.append(f"--- {title}\n{row[name]}")
    for i, text in enumerate(row.get("responses", ())[1:], start=1):
        lines.append(f"--- response {i}, answer {row['answers'][i]}\n{text}")
    if row.get("is_correct") is not None:
        lines.append(f"--- verdict\n{'right' if row['is_correct'] else 'wrong'}{_because(row)}")
    return "\n".join(lines) + "\n"


def _because(row: Mapping[str, Any]) -> str:
    return ": no answer could be extracted" if row.get("model_answer") is None else ""
