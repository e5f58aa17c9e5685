"""Problems a second of `tamis solve --evaluate` against the plain way, on the embedded model.

    OMP_NUM_THREADS=1 python benchmarks/bench_solve.py --dataset math500.jsonl [--batch-sizes 4 16] [--repeats 3]

The plain way is what inference scripts do: the prompts in order, in fixed batches, padded on the left; `generate` of
transformers; then extraction and comparison by math-verify. Both sides take the same problems, chat template, sampling
settings and batch size, in fp32: those of the source document, 100 problems, at most 512 new tokens, temperature 0.8, top-p
0.9, top-k 50, batches of 4. Ours is the workflow behind the command: it keeps every answer in a run folder too, and writes the
file of the results. Both run in fresh processes, in turns; time counts from the loaded model to the last file, processor time
(of all processes) likewise; medians. Of the plain way, the time without comparing answers is told too.

On MATH-500 the lengths of the answers are mixed: the embedded model, which has learnt small arithmetic only, ends some at once
and others never. On the built-in problems (`--dataset demo`) they are much alike. Target: at least 2 times the problems a
second on mixed lengths. Figures: benchmarks/results/solve.txt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

TARGET = 2.0
NUM_PROBLEMS = 100


def cpu_s() -> float:
    """Processor seconds of this process and of those it has ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def config(batch_size: int) -> Any:
    """The settings of both sides."""
    from tamis.inference import InferenceConfig

    return InferenceConfig(model_path="embedded", batch_size=batch_size, device="cpu")


def ours(dataset: str, batch_size: int) -> dict[str, float]:
    """The workflow of `solve --evaluate`."""
    from tamis.workflows.drawing import Session
    from tamis.workflows.evaluating import evaluate

    settings = config(batch_size)
    with tempfile.TemporaryDirectory() as folder:
        run = settings.drawing(dataset, settings.model_settings(), limit=NUM_PROBLEMS)
        session = Session(replace(run, run=Path(folder) / "run"))
        started, work = time.perf_counter(), cpu_s()
        found = asyncio.run(evaluate(session))
        found.write(Path(folder) / "results.json")
        seconds = time.perf_counter() - started
        tokens = session.progress.tokens
        session.close()
    return {"seconds": seconds, "cpu_s": cpu_s() - work, "correct": found.facts["correct"], "tokens": tokens}


def plain(dataset: str, batch_size: int) -> dict[str, float]:
    """`generate` in fixed batches, and math-verify."""
    import torch
    from math_verify import parse, verify
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tamis.sources import read_problems
    from tamis.workflows.models import model_path

    settings = config(batch_size)
    problems = list(read_problems(dataset, limit=NUM_PROBLEMS, bad_rows=[]))
    folder = model_path(settings.model_path)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    texts = [
        tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in settings.prompt(problem).messages],
            add_generation_prompt=True,
            tokenize=False,
        )
        for problem in problems
    ]
    torch.manual_seed(0)
    num_tokens = num_correct = 0
    comparing_s = 0.0
    started, work = time.perf_counter(), cpu_s()
    for first in range(0, len(texts), batch_size):
        inputs = tokenizer(texts[first : first + batch_size], return_tensors="pt", padding=True)
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                do_sample=True,
                temperature=settings.temperature,
                top_p=settings.top_p,
                top_k=settings.top_k,
                max_new_tokens=settings.max_new_tokens,
            )
        new = output[:, inputs.input_ids.shape[1] :]
        num_tokens += int((new > 2).sum())  # neither padding nor the end
        answers = tokenizer.batch_decode(new, skip_special_tokens=True)
        decoded = time.perf_counter()
        for problem, answer in zip(problems[first : first + batch_size], answers, strict=True):
            num_correct += verify(parse(f"${problem.answer}$"), parse(answer))
        comparing_s += time.perf_counter() - decoded
    seconds = time.perf_counter() - started
    row = {"seconds": seconds, "cpu_s": cpu_s() - work, "drawing_s": seconds - comparing_s}
    return {**row, "correct": num_correct, "tokens": num_tokens}


SIDES = {"plain": plain, "ours": ours}


def fresh(side: str, dataset: str, batch_size: int) -> dict[str, float]:
    """One run of a side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--dataset", dataset, "--batch-sizes", str(batch_size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return json.loads(out.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="demo", help="a file, or a hub name (default: %(default)s)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(SIDES[options.side](options.dataset, options.batch_sizes[0])))
        return 0
    print(f"{NUM_PROBLEMS} problems of {Path(options.dataset).stem}, CPython {platform.python_version()}, one thread each")
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
    is_met = True
    for batch_size in options.batch_sizes:
        runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for _ in range(options.repeats):
            for side in SIDES:
                runs[side].append(fresh(side, options.dataset, batch_size))
        speeds = {side: statistics.median(NUM_PROBLEMS / run["seconds"] for run in runs[side]) for side in SIDES}
        cpu = {side: statistics.median(NUM_PROBLEMS / run["cpu_s"] for run in runs[side]) for side in SIDES}
        print(f"batch size {batch_size}")
        for side, rows in runs.items():
            tokens, right = rows[0]["tokens"] / NUM_PROBLEMS, rows[0]["correct"]
            speed = f"{speeds[side]:7.2f} problems/s {cpu[side]:7.2f} problems/CPU s"
            print(f"  {side:6} {speed}   {tokens:5.1f} tokens a problem, {right:.0f} right")
        drawing = statistics.median(NUM_PROBLEMS / run["drawing_s"] for run in runs["plain"])
        ratio = speeds["ours"] / speeds["plain"]
        is_met = is_met and ratio >= TARGET
        print(f"  ratio {ratio:.2f} (target {TARGET:g}): {'ok' if ratio >= TARGET else 'MISSED'}")
        print(f"  ratio {cpu['ours'] / cpu['plain']:.2f} by processor time")
        print(f"  ratio {speeds['ours'] / drawing:.2f} to the plain way without comparing answers")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
