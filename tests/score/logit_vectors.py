"""The logit vectors: their logits rebuilt, the nine statistics by plain numpy in float64, their expected values."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path

import numpy as np

from tamis.records import STATISTICS, TokenStats

FOLDER = Path(__file__).parent.parent / "data" / "methods"


def _hashgen():
    spec = importlib.util.spec_from_file_location("hashgen", FOLDER / "hashgen.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def cases():
    text = (FOLDER / "logits.json").read_text(encoding="utf-8")
    return {case["id"]: case for case in json.loads(text)["cases"]}


def number(value):
    """Vectors write non-finite floats as strings."""
    return float(value)


def close(actual, expected, tolerance):
    """Within a tolerance relative to 1 + |x|; infinities alike."""
    actual = np.asarray(actual, dtype=float)
    expected = np.asarray([number(v) for v in expected] if isinstance(expected, list) else number(expected))
    assert actual.shape == expected.shape
    same = actual == expected
    with np.errstate(invalid="ignore"):
        assert np.all(same | (np.abs(actual - expected) <= tolerance * (1 + np.abs(expected)))), (actual, expected)


@cache
def token_stats(case_id, dtype="float64"):
    """One TokenStats a token: a masked distribution's V, its support, differs from token to token."""
    case = cases()[case_id]
    hashgen = _hashgen()
    logits = hashgen.logits(case["kind"], case["seed"], case["T"], case["V"])
    assert hashgen.sha(logits) == case["sha256"]
    rows = []
    for row, token in zip(logits.astype(np.float64), case["chosen"], strict=True):
        values, support = nine(row, token)
        rows.append(TokenStats(values.astype(dtype)[None], np.array([token]), np.array([0]), support))
    return rows


def nine(row, token):
    z = row - row.max()
    finite = z[np.isfinite(z)]
    logp = finite - np.log(np.exp(finite).sum())
    p = np.exp(logp)
    top = np.sort(logp)[::-1]
    nine = {
        "logp": z[token] - np.log(np.exp(finite).sum()),
        "rank": 1 + (row > row[token]).sum(),
        "entropy": -(p * logp).sum(),
        "mean_logp": logp.mean(),
        "sum_p2": (p**2).sum(),
        "lp1": top[0],
        "lp2": top[1] if len(top) > 1 else -np.inf,
        "sum_top5": top[:5].sum(),
        "sum_top20": top[:20].sum(),
    }
    return np.array([nine[name] for name in STATISTICS]), len(finite)


def array(function, case_id, dtype="float64"):
    """A token function over all tokens of a case, (T,)."""
    parts = [function(stats) for stats in token_stats(case_id, dtype)]
    return np.concatenate(parts) if parts else np.empty(0)
