"""The HTTP engine with exact statistics against `vllm bench serve`, at 64 requests at once: one server of ours, both in turns.

    .venv-vllm/bin/python benchmarks/bench_vllm_http.py [--requests 256] [--repeats 3] [--vocab-size 1024]

(`make test-vllm` makes the environment.) The model is random and small, so that what is measured is all but the model. Each
request has 64 tokens and is answered with 128. `bench` is vLLM's own client, which streams; `plain` and `exact` are ours,
without and with the nine statistics of every token, journal included, each run in a fresh process. Results:
benchmarks/results/vllm-http.txt.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path
from random import Random
from string import ascii_letters

from tamis.engines.http import HTTPEngine
from tamis.engines.server_process import ServerProcess
from tamis.engines.vllm.serving import serve_command
from tamis.records import Message, Problem, Prompt, Sampling
from tamis.sample import Progress, sample
from tamis.store import RunFolder

PROMPT_TOKENS, ANSWER_TOKENS, AT_ONCE, TARGET = 64, 128, 64, 0.90
VLLM = "import sys; from tamis.engines.vllm.serving import run_vllm; run_vllm(sys.argv[1:])"


def make_model(folder: Path, vocab_size: int) -> None:
    """Random weights, hidden size 256 (128 with a large vocabulary), and a tokenizer of bytes and words."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    names = ["<|pad|>", "<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocab = {name: i for i, name in enumerate([*names, *(f"Ġw{i}" for i in range(vocab_size - len(names)))])}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names[:2]])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=names[1], pad_token=names[0]).save_pretrained(folder)
    hidden = 256 if vocab_size <= 16_384 else 128
    sizes = {"hidden_size": hidden, "intermediate_size": 3 * hidden, "num_hidden_layers": 4}
    heads = {"num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 128}
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=vocab_size, eos_token_id=1, pad_token_id=0, **sizes, **heads))
    torch.nn.init.normal_(model.lm_head.weight, std=0.2)
    model.save_pretrained(folder)


def bench(url: str, model: Path, num_requests: int) -> float:
    """Answered tokens a second of vLLM's own client."""
    flags = f"--backend openai --endpoint /v1/completions --dataset-name random --random-input-len {PROMPT_TOKENS}"
    flags += f" --random-output-len {ANSWER_TOKENS} --num-prompts {num_requests} --max-concurrency {AT_ONCE} --ignore-eos"
    flags += f" --disable-tqdm --seed {time.time_ns() % 100_000} --temperature 1.0 --model m --tokenizer {model}"
    with tempfile.TemporaryDirectory() as folder:
        save = ["--save-result", "--result-dir", folder, "--result-filename", "result.json"]
        command = [sys.executable, "-c", VLLM, "bench", "serve", "--base-url", url.removesuffix("/v1"), *flags.split(), *save]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise SystemExit(ran.stderr[-2000:])
        result = json.loads((Path(folder) / "result.json").read_text())
    assert result["completed"] == num_requests, result
    assert result["total_output_tokens"] == num_requests * ANSWER_TOKENS, result
    assert abs(result["total_input_tokens"] / num_requests - PROMPT_TOKENS) < 0.1 * PROMPT_TOKENS, result
    return result["output_throughput"]


async def draw(url: str, num_requests: int, *, exact: bool) -> float:
    """Answered tokens a second of ours, into a run folder."""
    letters = Random(time.time_ns())
    problems = (Problem(f"p{i}", "".join(letters.choices(ascii_letters, k=PROMPT_TOKENS))) for i in range(num_requests))
    engine = HTTPEngine("m", base_urls=[url], concurrency=AT_ONCE, token_stats=exact, extra_body={"ignore_eos": True})
    progress, sampling = Progress(), Sampling(max_tokens=ANSWER_TOKENS)

    def prompt(problem: Problem) -> Prompt:
        return Prompt((Message("user", problem.prompt),), raw=True)

    num_tokens = num_exact = 0
    with tempfile.TemporaryDirectory() as folder, RunFolder.open(Path(folder), sampling.to_json()) as run:
        began = time.perf_counter()
        pools = sample(problems, engine, sampling, run, prompt=prompt, progress=progress, max_problems_in_flight=4 * AT_ONCE)
        async with aclosing(pools):
            async for pool in pools:
                for found in pool.samples:
                    assert found.error is None, found.error
                    assert found.prompt_tokens == PROMPT_TOKENS, found.prompt_tokens
                    num_tokens += found.completion_tokens
                    num_exact += found.stats is not None and len(found.stats) == ANSWER_TOKENS
        seconds = time.perf_counter() - began
    assert num_tokens == num_requests * ANSWER_TOKENS, num_tokens
    assert num_exact == (num_requests if exact else 0), num_exact
    return num_tokens / seconds


def ours(kind: str, url: str, num_requests: int) -> float:
    """One run of our client in a process of its own."""
    command = [sys.executable, __file__, "--client", kind, "--url", url, "--requests", str(num_requests)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--vocab-size", type=int, default=1024)
    parser.add_argument("--client", choices=["plain", "exact"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        print(asyncio.run(draw(options.url, options.requests, exact=options.client == "exact")))
        return 0
    if importlib.util.find_spec("vllm") is None:
        print("vLLM is not installed: see the head of this file")
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    with tempfile.TemporaryDirectory() as folder:
        return compare(Path(folder), options)


def compare(folder: Path, options: argparse.Namespace) -> int:
    """All three in turns; the median of each."""
    make_model(folder / "model", options.vocab_size)
    flags = ("--dtype", "float32", "--max-model-len", "1024", "--max-num-seqs", str(AT_ONCE), "--enforce-eager")
    flags = (*flags, "--served-model-name", "m", "--disable-uvicorn-access-log")
    runs: dict[str, list[float]] = {"bench": [], "plain": [], "exact": []}
    with ServerProcess(lambda port: serve_command(str(folder / "model"), port, flags), folder / "log", start_s=600) as server:
        ours("plain", server.base_url, AT_ONCE)  # warm
        for _ in range(options.repeats):
            runs["bench"].append(bench(server.base_url, folder / "model", options.requests))
            for kind in ("plain", "exact"):
                runs[kind].append(ours(kind, server.base_url, options.requests))
    middle = {name: sorted(rates)[len(rates) // 2] for name, rates in runs.items()}
    print(
        f"{options.requests} requests, {AT_ONCE} at once, vocabulary {options.vocab_size:,}, {os.cpu_count()} cores, tokens/s:"
    )
    for name, rates in runs.items():
        print(f"  {name:6}{middle[name]:9,.0f}   of {', '.join(f'{rate:,.0f}' for rate in rates)}")
    ratio = middle["exact"] / middle["bench"]
    is_met = ratio >= TARGET
    print(f"  exact is {ratio:.2f} of bench (target {TARGET}), {middle['exact'] / middle['plain']:.2f} of plain", end=": ")
    print("ok" if is_met else "MISSED")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
