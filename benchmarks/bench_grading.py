"""Grading real answers: time of the fast paths, and what they leave to math-verify.

    python benchmarks/bench_grading.py ../shared/data/generations/math500_llama-3.2-1b-instruct_n8.jsonl

Reads a file of generations (`gold`, `samples[].text`), takes each distinct pair of reference and extracted answer, and times
in ONE run, in processor time of this process: extraction, the fast paths on all pairs, and math-verify alone (parse and
verify, answers within dollars, no time limit) on a random sample of the same pairs. Pairs that both decide differently are
listed: one of the two is wrong.

Results, 2026-11-21, 2 cores, 24 GB, CPU (other jobs on both cores):

    file                                 extraction    fast paths   decided without a worker   math-verify alone
    math500_llama-3.2-1b-instruct_n8     124 us/text   58 us/pair   97.2 % of 1,887 pairs      11,090 us/pair
    math500_qwen2.5-math-1.5b_n8         107 us/text   61 us/pair   99.0 % of 1,195 pairs      12,152 us/pair

All pairs of a file with two workers: 4.3 and 2.7 s of wall time, the workers' start included. Decided differently in the
samples of 300: one and none ("0.33 or 33%" is 33/100 here).
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from collections import Counter
from pathlib import Path

from tamis.grade import Grader, extract_answer
from tamis.grade.grader import decide


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("generations", type=Path)
    parser.add_argument("--sample", type=int, default=300, help="pairs given to math-verify alone")
    arguments = parser.parse_args()
    with arguments.generations.open(encoding="utf-8") as lines:
        problems = [json.loads(line) for line in lines]
    texts = [(problem["gold"], sample["text"]) for problem in problems for sample in problem["samples"]]

    begun = time.process_time()
    answers = [(gold, extract_answer(text)) for gold, text in texts]
    print(f"extraction: {(time.process_time() - begun) / len(texts) * 1e6:.0f} us a text, {len(texts)} texts")

    pairs = list(dict.fromkeys((gold, answer) for gold, answer in answers if answer is not None))
    begun = time.process_time()
    fast = [decide(*pair) for pair in pairs]
    print(f"fast paths: {(time.process_time() - begun) / len(pairs) * 1e6:.0f} us a pair, {len(pairs)} distinct pairs")

    begun = time.perf_counter()
    with Grader(num_workers=2) as grader:
        verdicts = grader.verify_many(pairs)
    print(f"all pairs with two workers: {time.perf_counter() - begun:.1f} s of wall time, workers' start included")
    shares = Counter(verdict.decided_by for verdict in verdicts)
    print("decided by: " + ", ".join(f"{path} {count / len(pairs):.1%}" for path, count in shares.most_common()))
    print(f"decided without a worker: {sum(verdict is not None for verdict in fast) / len(pairs):.1%}")

    against_math_verify(pairs, [verdict.equal for verdict in verdicts], arguments.sample)


def against_math_verify(pairs: list[tuple[str, str]], ours: list[bool], sample: int) -> None:
    """math-verify alone on a random sample of the pairs, in this process."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    chosen = random.Random(0).sample(range(len(pairs)), min(sample, len(pairs)))
    theirs = []
    begun = time.process_time()
    for i in chosen:
        gold, answer = (f"${text}$" for text in pairs[i])
        theirs.append(verify(parse(gold, parsing_timeout=None), parse(answer, parsing_timeout=None), timeout_seconds=None))
    print(f"math-verify alone: {(time.process_time() - begun) / len(chosen) * 1e6:.0f} us a pair, {len(chosen)} of the pairs")
    for i, their in zip(chosen, theirs, strict=True):
        if their != ours[i]:
            print(f"  differ: {pairs[i][0]!r} and {pairs[i][1]!r}: {ours[i]} here, {their} there")


if __name__ == "__main__":
    main()
