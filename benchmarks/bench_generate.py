"""Tokens a second against `generate` of transformers in fixed batches of the same size.

    python benchmarks/bench_generate.py [--model FOLDER] [--rows 32]

256 prompts of mixed length; each answer is as long as a drawn limit says (16 to 256 tokens; end tokens are switched off for
both sides, so that both generate the same number of tokens). `generate` takes the prompts in order, batch after batch,
left-padded, and stops a row at its limit (a batch ends with its longest row; tokens behind a row's limit do not count). The
engine takes the same prompts and limits, refills a slot as soon as its row is done, and takes the nine statistics of every
token as well. Sampling at temperature 1, fp32, one thread, rounds interleaved, medians. Target: at least 1.5x.

2026-11-21, 2 cores, 24 GB, CPU, otherwise idle, torch 2.13, transformers 5.23, `--model src/tamis/demo/embedded`:

                               tokens/s   tokens/CPU s
    generate                       1930           1931
    engine                         3299           3299
    ratio (target 1.5)             1.71           1.71
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from bench_statistics import Everything, random_model, request

from tamis.engines.hf import HFEngine
from tamis.engines.hf.loop import Decoder
from tamis.records import Request, Sampling


def by_engine(engine: HFEngine, requests: list[Request]) -> int:
    source = Everything(requests)
    Decoder(*engine._open(), engine.batch_size, token_stats=True).run(source)
    return sum(sample.completion_tokens for sample in source.samples)


@torch.inference_mode()
def by_generate(engine: HFEngine, requests: list[Request]) -> int:
    loaded = engine._open()[0]
    tokenizer, rows = loaded.tokenizer, engine.batch_size
    for start in range(0, len(requests), rows):
        batch = requests[start : start + rows]
        inputs = tokenizer([item.prompt.text for item in batch], return_tensors="pt", padding=True, padding_side="left")
        longest = max(item.sampling.max_tokens for item in batch)
        loaded.model.generate(
            input_ids=inputs.input_ids,
            attention_mask=inputs.attention_mask,
            do_sample=True,
            top_k=0,
            max_new_tokens=longest,
            eos_token_id=None,
            pad_token_id=0,
        )
    return sum(item.sampling.max_tokens for item in requests)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of the embedded model; otherwise random weights of its size")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.model or random_model(
        754, gain=10, hidden_size=256, intermediate_size=640, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=2
    )
    engine = HFEngine(folder, batch_size=arguments.rows, device="cpu")
    assert engine._loaded is not None
    engine._loaded = replace(engine._loaded, eos_ids=frozenset())
    engine._loaded.model.generation_config.eos_token_id = None
    engine._loaded.tokenizer.pad_token_id = 0
    rng = random.Random(0)
    requests = [
        request("".join(rng.choices("0123456789 +-", k=rng.randint(10, 150))), Sampling(max_tokens=rng.randint(16, 256)))
        for _ in range(256)
    ]
    speeds: dict[str, list[float]] = {"generate": [], "engine": []}
    cpu: dict[str, list[float]] = {"generate": [], "engine": []}
    for _ in range(arguments.rounds):
        for name, function in (("generate", by_generate), ("engine", by_engine)):
            wall, work = time.perf_counter(), time.process_time()
            tokens = function(engine, requests)
            speeds[name].append(tokens / (time.perf_counter() - wall))
            cpu[name].append(tokens / (time.process_time() - work))
    print(f"{'':<24} {'tokens/s':>10} {'tokens/CPU s':>14}")
    for name in speeds:
        print(f"{name:<24} {statistics.median(speeds[name]):>10.0f} {statistics.median(cpu[name]):>14.0f}")
    ratio, cpu_ratio = (statistics.median(by["engine"]) / statistics.median(by["generate"]) for by in (speeds, cpu))
    print(f"{'ratio (target 1.5)':<24} {ratio:>10.2f} {cpu_ratio:>14.2f}")
    return 0 if ratio >= 1.5 else 1


if __name__ == "__main__":
    sys.exit(main())
