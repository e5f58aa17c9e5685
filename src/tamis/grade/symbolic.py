r"""The program of a grading worker: math-verify on pairs read from stdin, one JSON line in, one out.

Run as a script by `tamis.grade.workers`; imports nothing of Tamis, and is the only place that loads sympy. Three limits hold
whatever an expression does: address space, processor time a pair (the kernel then ends this process: no Python code has to
cooperate), and the parent's patience. math-verify's own alarms are off.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import sys
from typing import Any, TextIO

_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\^\s*\{?\s*\\circ\s*\}?")
_DELIMITED = re.compile(r"\$|\\boxed|\\\(|\\\[")
_POINTS = (  # where two expressions in the same variables are compared: three positive points, three of both signs
    ("1.37", "0.61", "2.23", "0.89", "1.71", "3.07"),
    ("0.43", "2.11", "0.77", "1.93", "3.31", "0.59"),
    ("2.71", "1.13", "0.29", "3.53", "0.67", "1.49"),
    ("-1.37", "0.61", "-2.23", "0.89", "-1.71", "3.07"),
    ("0.43", "-2.11", "0.77", "-1.93", "3.31", "-0.59"),
    ("-2.71", "-1.13", "-0.29", "-3.53", "-0.67", "-1.49"),
)


def main() -> None:
    """Serve pairs until stdin ends. Arguments: bytes of address space, seconds of processor time a pair."""
    memory, seconds = int(sys.argv[1]), float(sys.argv[2])
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not be taken for a reply
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(3000)
    _limit_memory(memory)
    try:
        import math_verify  # noqa: F401 - loaded before "ready", so that no pair pays for it
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear it
        _say(replies, {"failed": f"{type(error).__name__}: {error}"})
        return
    _say(replies, {"ready": True})
    for line in sys.stdin:
        gold, pred = json.loads(line)
        _limit_time(seconds)
        try:
            reply = judge(gold, pred)
        except MemoryError:
            reply = {"equal": None, "detail": "out of memory"}
        except Exception as error:  # noqa: BLE001 - hostile text may raise anything from sympy or antlr
            reply = {"equal": None, "detail": f"{type(error).__name__}: {str(error)[:200]}"}
        _limit_time(0)
        _say(replies, reply)
        if reply["detail"] == "out of memory":
            return


def _say(replies: TextIO, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def judge(gold: str, pred: str) -> dict[str, Any]:
    """Whether math-verify takes `pred` for `gold`; None when it can parse one of them not at all."""
    from math_verify import parse, verify

    golds = parse(_delimited(gold), parsing_timeout=None)
    preds = parse(_delimited(pred), parsing_timeout=None)
    detail = f"{_shown(golds)} against {_shown(preds)}"
    if not golds or not preds:
        return {"equal": None, "detail": f"not parsed: {detail}"}
    if verify(golds, preds, timeout_seconds=None):
        return {"equal": True, "detail": detail}
    if _agree_everywhere(golds[0], preds[0]):
        return {"equal": True, "detail": f"{detail}, equal at random points"}
    return {"equal": False, "detail": detail}


def _delimited(answer: str) -> str:
    """As math-verify wants it: within dollars unless it has delimiters or is prose; degrees under a sine as radians."""
    if _TRIGONOMETRIC.search(answer):
        answer = _DEGREES.sub(r"{\\frac{\1\\pi}{180}}", answer)
    plain = re.sub(r"\\[A-Za-z]+(?:\{[^{}]*\})?", " ", answer)
    if _DELIMITED.search(answer) or len(re.findall(r"[^\W\d_]{2,}", plain)) >= 3:
        return answer
    return f"${answer}$"


def _agree_everywhere(gold: Any, pred: Any) -> bool:
    """Whether two expressions in the same variables agree wherever both are real, at no fewer than three points."""
    from sympy import Expr

    if not (isinstance(gold, Expr) and isinstance(pred, Expr)):
        return False
    variables = sorted(gold.free_symbols, key=str)
    if not variables or len(variables) > 6 or gold.free_symbols != pred.free_symbols:
        return False
    agreed = 0
    for point in _POINTS:
        values = dict(zip(variables, point, strict=False))
        a, b = (side.doit().evalf(20, subs=values) for side in (gold, pred))
        if not (a.is_real and b.is_real and a.is_finite and b.is_finite):
            continue
        if abs(a - b) > 1e-12 * (abs(a) + abs(b)):
            return False
        agreed += 1
    return agreed >= 3


def _shown(parsed: list[Any]) -> str:
    try:
        return str(parsed[0])[:120] if parsed else "nothing"
    except Exception:  # noqa: BLE001 - sympy's printers fail on some of its own objects
        return type(parsed[0]).__name__


def _limit_memory(size: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows: the parent's patience remains
        return
    with contextlib.suppress(ValueError, OSError):  # some systems refuse
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
