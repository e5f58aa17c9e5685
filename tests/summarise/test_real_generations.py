"""Known totals of 8,000 real generations, from the labels and answer strings stored with them."""

from __future__ import annotations

import json

import pytest

from tamis.records import Grade, Pool, Problem, Sample, Sampling
from tamis.summarise import compare

KNOWN = {
    "math500_llama-3.2-1b-instruct_n8.jsonl": ([0.2615, 0.3516, 0.4483, 0.542], 0.320),
    "math500_qwen2.5-math-1.5b_n8.jsonl": ([0.5895, 0.6929, 0.7709, 0.816], 0.696),
}


def pools(path):
    """Equal answer strings are one cluster; what these files count as their majority."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            samples, grades, clusters, seen = [], [], [], {}
            for i, sample in enumerate(row["samples"]):
                samples.append(Sample(f"{row['id']}-{i}", row["id"], i, i, Sampling(), (sample["text"],)))
                answer = sample["answer"] or None
                grades.append(Grade(samples[-1].key, answer, bool(sample["correct"])))
                clusters.append(seen.setdefault(answer, len(seen)) if answer else -1)
            number = {c: i for i, c in enumerate(sorted({c for c in clusters if c >= 0}))}
            clusters = [number.get(c, -1) for c in clusters]
            yield Pool(Problem(row["id"], answer=row["gold"]), tuple(samples), tuple(grades), tuple(clusters))


@pytest.mark.parametrize("name", KNOWN)
def test_known_totals(shared_data, name):
    pass_at_k, majority = KNOWN[name]
    result = compare(pools(shared_data / "generations" / name), ["baseline", "self-consistency"])
    assert (result.num_problems, result.samples_per_problem) == (500, 8)
    assert [point.accuracy.value for point in result.pass_at_k] == pytest.approx(pass_at_k, abs=5e-4)
    found = {line.method: line for line in result.methods}
    assert found["self-consistency"].accuracy.value == pytest.approx(majority, abs=1e-9)
    assert found["self-consistency"].difference.low > 0.0
