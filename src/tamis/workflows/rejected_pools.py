"""The files of a run of rejection sampling -> pools, one a picture, for whoever learns from its candidates.

Files that were deleted, because somebody has looked at them, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tamis.records import Failure, Message, Pool, Problem, Prompt, Sample, Sampling
from tamis.sources import BadRow
from tamis.store import read_run_file
from tamis.store.files import decode
from tamis.workflows.reject_files import HIGH, LOW, SUMMARY_FILE

_PROMPTS = "prompts"  # of each sample, in the metadata of the problem


def is_rejection(run: Path) -> bool:
    """Whether a run folder is of rejection sampling."""
    record = read_run_file(run)
    return record is not None and record["config"].get("workflow") == "reject"


def threshold_of(run: Path) -> float | None:
    """The score, 0 to 1 as the method `judge` has it, from which on a candidate was accepted; None: nobody says."""
    try:
        return float(decode((run / SUMMARY_FILE).read_bytes())["config"]["score_threshold"]) / 100.0
    except (OSError, ValueError, KeyError, TypeError):
        return None


def rejected_pools(run: Path, bad_rows: list[BadRow]) -> Iterator[Pool]:
    """Each picture with its candidates, in order of the file names; files that cannot be read are appended to `bad_rows`."""
    record = read_run_file(run) or {}
    config, root = record.get("config", {}), Path(record.get("facts", {}).get("image_dir", ""))
    paths = [path for name in (HIGH, LOW) for path in (run / name).glob("*.json")]
    for path in sorted(paths, key=lambda path: path.name):
        try:
            row = decode(path.read_bytes())
            image = str(row["image_info"]["path"])
            name = Path(image).relative_to(root).as_posix() if Path(image).is_relative_to(root) else image
            candidates = row["all_candidates"]
            prompts = [str(one["prompt_text"]) for one in candidates]
            samples = tuple(_sample(name, place, one, config) for place, one in enumerate(candidates))
        except (OSError, ValueError, KeyError, TypeError) as error:
            bad_rows.append(BadRow(str(path), "", f"is no result of a picture ({type(error).__name__}: {error})"))
            continue
        yield Pool(Problem(name, images=(image,), metadata={_PROMPTS: prompts}, where=str(path)), samples)


def prompts_of(pool: Pool) -> list[Prompt]:
    """What each sample of such a pool answers."""
    return [Prompt((Message("user", text),), pool.problem.images) for text in pool.problem.metadata[_PROMPTS]]


def _sample(problem_id: str, place: int, row: Mapping[str, Any], config: Mapping[str, Any]) -> Sample:
    error = row.get("error")
    return Sample(
        key=row["key"],
        problem_id=problem_id,
        index=place,
        seed=row["seed"],
        sampling=Sampling(**row["params"], max_tokens=config["max_tokens"], seed=config["seed"]),
        parts=(row["content"],) if row["content"] else (),
        finish_reason=row["finish_reason"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        seconds=row["generation_time"],
        error=Failure(error["boundary"], error["message"]) if error else None,
    )
