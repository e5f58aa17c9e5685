"""What adaptive sampling spares against 40 samples a problem, and what it costs in accuracy.

    python benchmarks/bench_adaptive.py [--problems 240] [--max-samples 40] [--temperature 0.7]

The embedded model on the built-in problems. Every line is a run of its own into a folder of its own: nothing is replayed. A
rule chooses by its own vote; `40 samples` is the majority vote over all of them. The difference in accuracy is paired by
problem, with its 95 % interval. Target: at most half of the tokens at no measurable loss.

2026-11-21, 2 cores, 24 GB, CPU, other work beside it (seconds are rough), torch 2.13. Temperature 0.7, that of the papers:

                        samples           tokens          seconds  accuracy  difference
40 samples                 9600 100.0 %   453989 100.0 %    134.6  0.7125
adaptive-consistency       3373  35.1 %   175171  38.6 %     39.4  0.7208    +0.0083 (-0.0032 .. +0.0199)
adaptive-dirichlet         3617  37.7 %   189355  41.7 %     40.4  0.7208    +0.0083 (-0.0032 .. +0.0199)
esc                        4645  48.4 %   241936  53.3 %     46.9  0.7167    +0.0042 (-0.0040 .. +0.0123)
deepconf-online            5829  60.7 %   266853  58.8 %     81.7  0.6167    -0.0958 (-0.1518 .. -0.0399)

The same with `--temperature 1`, where fewer answers agree:

40 samples                 9600 100.0 %   453626 100.0 %    228.1  0.6958
adaptive-consistency       4472  46.6 %   231578  51.1 %    267.6  0.7042    +0.0083 (-0.0032 .. +0.0199)
adaptive-dirichlet         4696  48.9 %   242445  53.4 %    100.1  0.7042    +0.0083 (-0.0032 .. +0.0199)
esc                        5880  61.2 %   299681  66.1 %    111.3  0.6958    +0.0000 (-0.0116 .. +0.0116)
deepconf-online            6244  65.0 %   279543  61.6 %     95.8  0.5208    -0.1750 (-0.2355 .. -0.1145)

DeepConf online goes by the confidence of the worst window, which says little about this model's answers of 50 tokens: after the
warm-up two samples vote, and when they agree it stops. It is made for long chains of thought.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tamis.config import AdaptiveSampling
from tamis.score import ScoreSettings
from tamis.select import choose, find_method
from tamis.select.stopping import RULES
from tamis.summarise.intervals import paired_difference
from tamis.workflows.demonstrating import demo_config
from tamis.workflows.drawing import Session
from tamis.workflows.examining import examine


async def right(session: Session, name: str) -> tuple[np.ndarray, int, int]:
    """Whether each problem was answered rightly; the samples and the tokens drawn."""
    method = find_method(name)
    scorers = [method.scorer] if method.scorer else []
    found, num_samples, num_tokens = [], 0, 0
    async for pool in session.pools():
        judged = await examine(pool, session.grader, scorers, ScoreSettings())
        choice = choose(judged, method)
        grade = next((g for s, g in zip(judged.samples, judged.grades, strict=True) if s.index == choice.index), None)
        found.append(float(grade is not None and bool(grade.correct)))
        num_samples += len(pool.samples)
        num_tokens += sum(sample.completion_tokens for sample in pool.samples)
    return np.array(found), num_samples, num_tokens


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", type=int, default=240)
    parser.add_argument("--max-samples", type=int, default=40)
    parser.add_argument("--temperature", type=float, default=0.7)
    options = parser.parse_args()
    print(f"{'':<22}{'samples':>9}{'':>8}{'tokens':>9}{'':>8}{'seconds':>9}  accuracy  difference")
    with tempfile.TemporaryDirectory() as folder:
        config = demo_config(options.problems, options.max_samples, 0, Path(folder) / "fixed")
        config = replace(config, sampling=replace(config.sampling, temperature=options.temperature))
        fixed: tuple[np.ndarray, int, int] | None = None
        for rule in (None, *RULES):
            if rule:
                config = replace(config, run=Path(folder) / rule, adaptive=AdaptiveSampling(rule))
            session = Session(config)
            started = time.perf_counter()
            found, num_samples, num_tokens = asyncio.run(right(session, rule or "self-consistency"))
            seconds = time.perf_counter() - started
            session.close()
            fixed = fixed or (found, num_samples, num_tokens)
            line = f"{rule or f'{options.max_samples} samples':<22}{num_samples:>9}{100 * num_samples / fixed[1]:>6.1f} %"
            line += f"{num_tokens:>9}{100 * num_tokens / fixed[2]:>6.1f} %{seconds:>9.1f}  {found.mean():.4f}"
            if rule:
                apart = paired_difference(found, fixed[0])
                line += f"    {apart.value:+.4f} ({apart.low:+.4f} .. {apart.high:+.4f})"
            print(line, flush=True)


if __name__ == "__main__":
    main()
