"""The files that users read of a run of rejection sampling, all derived from the journals.

    high_quality/   one JSON file a picture whose best candidate reaches the threshold
    low_quality/    the others that have a graded candidate
    summary.json    the numbers (`summarise.rejection`)

A picture is never in both folders, and in neither while none of its candidates has a score.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from tamis.identity import file_stem
from tamis.records import Problem
from tamis.score.grading import Candidate, Rejected
from tamis.store.files import decode, encode_readable, write_atomically

HIGH, LOW, SUMMARY_FILE = "high_quality", "low_quality", "summary.json"


def file_name(problem_id: str) -> str:
    """A file name that no other id has."""
    return f"{file_stem(problem_id)}.json"


class ResultFolders:
    """Writes each picture into the folder where it belongs, and takes it out of the other.

    A file whose content is the same is left alone, with its time.

    Attributes:
        num_changed: Files that were written.
    """

    def __init__(self, output_dir: Path) -> None:
        """Make both folders.

        Raises:
            OSError: They cannot be made.
        """
        self.num_changed = 0
        self._folders = {name: output_dir / name for name in (HIGH, LOW)}
        for folder in self._folders.values():
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, rejected: Rejected) -> Path | None:
        """The file of a picture; None where it has no graded candidate, and then no file."""
        name = file_name(rejected.problem.id)
        paths = {place: folder / name for place, folder in self._folders.items()}
        before = {place: _read(path) for place, path in paths.items()}
        if rejected.best is None:
            for path in paths.values():
                path.unlink(missing_ok=True)
            return None
        wanted, other = (HIGH, LOW) if rejected.is_accepted else (LOW, HIGH)
        row = result_row(rejected, datetime.now().astimezone().isoformat(timespec="seconds"))
        for old in (before[wanted], before[other]):
            if old and _is_same(old.get("best_result"), row["best_result"]):
                row["best_result"]["timestamp"] = old["best_result"]["timestamp"]
                break
        paths[other].unlink(missing_ok=True)  # first: a kill between the two leaves it in neither, and the next run writes it
        if before[wanted] != row:
            write_atomically(paths[wanted], [encode_readable(row)], is_synced=False)
            self.num_changed += 1
        return paths[wanted]

    def count_others(self, num_written: int) -> int:
        """How many files are of pictures that take no part in this run."""
        return sum(1 for folder in self._folders.values() for _ in folder.glob("*.json")) - num_written


def result_row(rejected: Rejected, timestamp: str) -> dict[str, Any]:
    """What a file says of one picture."""
    best = rejected.best
    assert best is not None
    path = _image(rejected.problem)
    return {
        "image_info": {"path": path, "filename": Path(path).name},
        "best_result": {"image_path": path, **_cells(best), "timestamp": timestamp},
        "all_candidates": [
            {"index": place, **_cells(candidate), **_further(candidate)} for place, candidate in enumerate(rejected.candidates)
        ],
    }


def _image(problem: Problem) -> str:
    return problem.images[0] if problem.images else problem.id


def _cells(candidate: Candidate) -> dict[str, Any]:
    arm, judgement = candidate.arm, candidate.judgement
    return {
        "prompt_key": arm.prompt_key,
        "prompt_text": candidate.prompt_text,
        "params": {"temperature": arm.temperature, "top_p": arm.top_p, "top_k": arm.top_k},
        "content": candidate.sample.text,
        "score": judgement.score if judgement else None,
        "score_explanation": judgement.explanation if judgement else "",
        "generation_time": round(candidate.sample.seconds, 4),
        "grading_time": round(candidate.grading_seconds, 4),
    }


def _further(candidate: Candidate) -> dict[str, Any]:
    """What stands beside each candidate: why it has no score, how it ended, its tokens."""
    sample, judgement = candidate.sample, candidate.judgement
    row: dict[str, Any] = {
        "finish_reason": sample.finish_reason,
        "prompt_tokens": sample.prompt_tokens,
        "completion_tokens": sample.completion_tokens,
        "seed": sample.seed,
        "key": sample.key,
    }
    if sample.error:
        row["error"] = {"boundary": sample.error.boundary, "message": sample.error.message}
    elif judgement is None or judgement.score is None:
        row["unscored"] = judgement.reason if judgement else "not_asked"
    return row


def _read(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        row = decode(path.read_bytes())
        if isinstance(row, dict):
            return row
    return None


def _is_same(old: Any, new: Mapping[str, Any]) -> bool:
    return isinstance(old, dict) and isinstance(old.get("timestamp"), str) and {**new, "timestamp": old["timestamp"]} == old
