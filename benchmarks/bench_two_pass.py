"""`tamis infer` against the plain way: generate everything, write it, load the model again, run every candidate through it.

    python benchmarks/bench_two_pass.py

The plain way is below, as scripts for best-of-N are usually written: `generate` of transformers over left-padded batches of
prompts with `num_return_sequences`, a JSONL of candidates, then a second load and one forward pass a candidate over prompt and
answer, log-softmax of all logits, self-certainty and entropy of each token, their means over the steps, the blend, the best of
each problem. It is given its best of three batch sizes, and the token ids of its answers, so that nothing is tokenised twice.
Ours is what the command runs: it grades the answers and writes run folder, summary and both files on top.

Two models, both fp32, one thread: the embedded one with 64 built-in problems x 8, answers ending by themselves; and random
weights of 4 layers with a vocabulary of 151,936, 8 problems x 4, where one token in 250 ends an answer and the limit is
256. Both ways in turn, the order alternating; seconds are medians of the rounds, ratios the medians of the rounds' own ratios.
The lengths of the answers must agree within 5 %. Target: at most 0.55 of the time.

2026-11-21, 2 cores, 24 GB, CPU, one other job running, torch 2.13, transformers 5.23, `--rounds 7` and `--rounds 3`:

                              seconds   tokens a candidate   (of that)
    embedded
      two passes, 4 prompts      11.5         45.7           load 0.0  generate 7.3   score 3.8
      infer                       5.1         45.7           load 0.0  infer 5.0
      ratio                      0.46
    V = 151,936
      two passes, 8 prompts      78.9        165.7           load 0.4  generate 60.7  score 19.2
      infer                      28.9        161.1           load 0.4  infer 28.4
      ratio                      0.36

The same with 5 rounds: 0.44 for the first. Beside two other jobs, so that each core was shared, 2 rounds gave 0.61: seconds
on a full machine say little. (Prompts had 56 and 122 tokens in the mean; `generate` runs each once a candidate, the engine
once a problem.)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from bench_statistics import random_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from tamis.config import Asking, Choosing, Drawing
from tamis.demo import MODEL_FOLDER
from tamis.prompts import MATH_PROMPT
from tamis.records import Sampling
from tamis.sources import read_problems
from tamis.workflows.best_of_n import infer
from tamis.workflows.drawing import Session

TARGET = 0.55
ALPHA = 0.4
ENDS = 600  # ids of the random model that end an answer: about one token in 250

Times = dict[str, float]


# --- the plain way -----------------------------------------------------------------------------------------------------


def load(model: Path) -> tuple[AutoModelForCausalLM, AutoTokenizer]:
    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)  # what transformers makes of the random one has none in its range
    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval(), tokenizer


def ask(tokenizer: AutoTokenizer, problem: str) -> str:
    text = MATH_PROMPT.replace("{problem}", problem)
    if tokenizer.chat_template is None:
        return text
    return tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)


@torch.inference_mode()
def generate_all(model: Path, problems: list[str], sampling: Sampling, num_prompts: int, out: Path) -> Times:
    """First pass: `num_prompts` prompts at once, all candidates into a JSONL."""
    begun = time.perf_counter()
    network, tokenizer = load(model)
    loaded = time.perf_counter()
    ends = torch.tensor(network.generation_config.eos_token_id).reshape(-1)
    with out.open("w", encoding="utf-8") as file:
        for start in range(0, len(problems), num_prompts):
            batch = problems[start : start + num_prompts]
            inputs = tokenizer([ask(tokenizer, p) for p in batch], return_tensors="pt", padding=True, add_special_tokens=False)
            output = network.generate(
                input_ids=inputs.input_ids,
                attention_mask=inputs.attention_mask,
                do_sample=True,
                temperature=sampling.temperature,
                top_k=0,
                max_new_tokens=sampling.max_tokens,
                num_return_sequences=sampling.n,
                pad_token_id=tokenizer.pad_token_id,
            )
            answers = output[:, inputs.input_ids.shape[1] :].reshape(len(batch), sampling.n, -1)
            for problem, rows in zip(batch, answers, strict=True):
                ids = []
                for row in rows:
                    stops = torch.isin(row, ends).nonzero()
                    ids.append(row[: int(stops[0])].tolist() if len(stops) else row.tolist())
                file.write(json.dumps({"question": problem, "ids": ids, "responses": tokenizer.batch_decode(ids)}) + "\n")
    return {"load": loaded - begun, "generate": time.perf_counter() - loaded}


@torch.inference_mode()
def evaluate_all(model: Path, candidates: Path, out: Path) -> Times:
    """Second pass: score every candidate by a forward pass of its own, keep the best of each problem."""
    begun = time.perf_counter()
    network, tokenizer = load(model)
    loaded = time.perf_counter()
    with candidates.open(encoding="utf-8") as lines, out.open("w", encoding="utf-8") as file:
        for line in lines:
            row = json.loads(line)
            prompt = tokenizer(ask(tokenizer, row["question"]), add_special_tokens=False).input_ids
            scores = [score(network, tokenizer, prompt, ids) for ids in row["ids"]]
            best = max(range(len(scores)), key=scores.__getitem__)
            chosen = {"question": row["question"], "answer": row["responses"][best], "score": scores[best]}
            file.write(json.dumps(chosen) + "\n")
    return {"load": loaded - begun, "score": time.perf_counter() - loaded}


def score(network: AutoModelForCausalLM, tokenizer: AutoTokenizer, prompt: list[int], ids: list[int]) -> float:
    if not ids:
        return -math.inf
    logits = network(input_ids=torch.tensor([prompt + ids]), use_cache=False).logits[0, len(prompt) - 1 : -1]
    logp = torch.log_softmax(logits.float(), dim=-1)
    entropy = -(logp.exp() * logp).sum(dim=-1)
    self_certainty = -logp.mean(dim=-1) - math.log(logp.shape[-1])
    blend = (ALPHA * self_certainty - (1 - ALPHA) * entropy).tolist()
    steps: list[list[float]] = [[]]
    for token, value in zip(ids, blend, strict=True):
        steps[-1].append(value)
        if "\n" in tokenizer.decode([token]):
            steps.append([])
    return statistics.fmean(statistics.fmean(step) for step in steps if step)


# --- both --------------------------------------------------------------------------------------------------------------


def by_two_passes(model: Path, problems: list[str], sampling: Sampling, num_prompts: int, place: Path) -> tuple[Times, float]:
    """Seconds of each part, and tokens a candidate."""
    candidates, best = place / "candidates.jsonl", place / "best.jsonl"
    first = generate_all(model, problems, sampling, num_prompts, candidates)
    second = evaluate_all(model, candidates, best)
    rows = [json.loads(line) for line in candidates.read_text(encoding="utf-8").splitlines()]
    times = {"load": first["load"] + second["load"], "generate": first["generate"], "score": second["score"]}
    return times, statistics.fmean(len(ids) for row in rows for ids in row["ids"])


def by_infer(model: Path, num_problems: int, sampling: Sampling, place: Path) -> tuple[Times, float]:
    """The same of ours, where scoring is no part of its own."""
    begun = time.perf_counter()
    session = Session(
        Drawing(model=str(model), dataset="demo", sampling=sampling, limit=num_problems, device="cpu", run=place / "run")
    )
    loaded = time.perf_counter()
    try:
        outcome = asyncio.run(infer(session, Choosing(), Asking(), place))
    finally:
        session.close()
    ended = time.perf_counter()
    assert outcome.is_complete
    assert outcome.candidates is not None
    rows = [json.loads(line) for line in outcome.candidates.read_text(encoding="utf-8").splitlines()]
    lengths = [candidate["completion_tokens"] for row in rows for candidate in row["candidates"]]
    return {"load": loaded - begun, "infer": ended - loaded}, statistics.fmean(lengths)


def best_batch(model: Path, problems: list[str], sampling: Sampling) -> int:
    """The number of prompts at once with which the first pass is fastest."""
    seconds = {}
    for num_prompts in sorted({min(rows // sampling.n, len(problems)) for rows in (16, 32, 64)}):
        with tempfile.TemporaryDirectory() as name:
            torch.manual_seed(0)
            seconds[num_prompts] = generate_all(model, problems, sampling, num_prompts, Path(name) / "c.jsonl")["generate"]
    return min(seconds, key=seconds.__getitem__)


def measure(title: str, model: Path, num_problems: int, sampling: Sampling, rounds: int) -> bool:
    problems = [p.prompt for p in read_problems("demo", limit=num_problems, bad_rows=[])]
    num_prompts = best_batch(model, problems, sampling)
    print(f"{title}: {num_problems} problems x {sampling.n}, two passes with {num_prompts} prompts at once", flush=True)
    times: dict[str, list[Times]] = {"two passes": [], "infer": []}
    lengths: dict[str, list[float]] = {"two passes": [], "infer": []}
    for number in range(rounds):
        for way in sorted(times, reverse=bool(number % 2)):
            with tempfile.TemporaryDirectory() as name:
                torch.manual_seed(number)
                drawn = Sampling(sampling.temperature, max_tokens=sampling.max_tokens, n=sampling.n, seed=number)
                if way == "infer":
                    found, length = by_infer(model, num_problems, drawn, Path(name))
                else:
                    found, length = by_two_passes(model, problems, drawn, num_prompts, Path(name))
            times[way].append(found)
            lengths[way].append(length)
    for way, found in times.items():
        parts = "  ".join(f"{part} {statistics.median(t[part] for t in found):.1f}" for part in found[0])
        whole = statistics.median(sum(t.values()) for t in found)
        print(f"    {way:<12} {whole:>7.1f} s   {statistics.fmean(lengths[way]):>6.1f} tokens a candidate   ({parts})")
    pairs = zip(times["infer"], times["two passes"], strict=True)
    ratio = statistics.median(sum(ours.values()) / sum(theirs.values()) for ours, theirs in pairs)
    alike = statistics.fmean(lengths["infer"]) / statistics.fmean(lengths["two passes"])
    print(f"    ratio (target {TARGET}) {ratio:.2f}, of lengths {alike:.3f}", flush=True)
    return ratio <= TARGET and abs(alike - 1) <= 0.05


def wide_model() -> Path:
    folder = random_model(
        151_936, hidden_size=512, intermediate_size=2048, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=2
    )
    settings = {"eos_token_id": list(range(1_000, 1_000 + ENDS)), "pad_token_id": 0}
    (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("embedded", "wide"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    good = True
    if options.only != "wide":
        good &= measure("embedded", MODEL_FOLDER, 64, Sampling(0.7, max_tokens=512, n=8), options.rounds)
    if options.only != "embedded":
        good &= measure("V = 151,936", wide_model(), 8, Sampling(1.0, max_tokens=256, n=4), options.rounds)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
