"""Small pools for tests of selection and summaries."""

from __future__ import annotations

from tamis.records import Failure, Grade, Pool, Problem, Sample, Sampling

ANSWERS = "ABCDEFGHIJKLMNOP"


def make_pool(
    clusters, correct=None, scores=None, *, id="p", reference="A", metadata=None, failed=(), truncated=(), tokens=None
):
    """A pool whose sample i answers letter `clusters[i]` (-1: nothing); right is cluster 0 unless `correct` says otherwise.

    `correct[i]` may be True, False or None (ungraded). Sample i costs `tokens[i]` tokens, 10 unless given.
    """
    samples, grades = [], []
    for i, cluster in enumerate(clusters):
        key = f"{id}-{i}"
        samples.append(
            Sample(
                key, id, i, i, Sampling(), (f"text {i}",),
                finish_reason="error" if i in failed else "length" if i in truncated else "stop",
                completion_tokens=tokens[i] if tokens else 10,
                error=Failure("engine", "broke") if i in failed else None,
            )
        )  # fmt: skip
        right = (cluster == 0) if correct is None else correct[i]
        if i in failed:
            grades.append(Grade(key, None, None, "engine_error"))
        elif cluster < 0:
            grades.append(Grade(key, None, None, "no_answer"))
        else:
            grades.append(Grade(key, ANSWERS[cluster], right, "timeout" if right is None else None))
    return Pool(
        Problem(id, "?", answer=reference, metadata=metadata or {}),
        tuple(samples), tuple(grades), tuple(clusters), {name: tuple(row) for name, row in (scores or {}).items()},
    )  # fmt: skip
