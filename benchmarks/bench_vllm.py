"""What the statistics cost in vLLM: the vllm engine, all nine of every token, against a bare `LLM.generate`, in one process.

    OMP_NUM_THREADS=1 python benchmarks/bench_vllm.py [--shape worst|half-billion|both] [--dtype bfloat16|float32] [--rounds 7]

in the environment of `make test-vllm`.

Two models of random weights, in bf16 unless told: a vocabulary of 151,936 on a hidden size of 128 (the worst case: the head is
nearly all of the model), and the shape of Qwen2.5-0.5B. 64 sequences at once, one thread, temperature 1. Both sides draw the
same tokens, under the same seeds and ends; ours are samples with texts, the places of tokens and statistics. In each round both
have their turn, in alternating order; shown are the medians over the rounds: of the processor time a token, and of the rounds'
own ratios of time and of processor time. Targets: at most 1.20 and 1.10. Figures: benchmarks/results/vllm.txt.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from tamis.engines.vllm.engine import VLLMEngine
from tamis.identity import sample_keys, sample_seed
from tamis.records import Draw, Message, Prompt, Request, Sampling

VOCABULARY = 151_936
BATCH = 64
SHAPES = {  # hidden, inner, layers, heads, heads of keys, tied, tokens a sequence, target
    "worst": (128, 344, 4, 2, 1, False, 24, 1.20),
    "half-billion": (896, 4864, 24, 14, 2, True, 16, 1.10),
}


def make_model(folder: Path, shape: str) -> None:
    """Write a model of random weights and a tokenizer of bytes and made-up words."""
    hidden, inner, layers, heads, kv_heads, tied, *_ = SHAPES[shape]
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=kv_heads, max_position_embeddings=1024, tie_word_embeddings=tied, eos_token_id=0, pad_token_id=0,
        bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device("meta" if shape != "worst" else "cpu"):
        model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    if shape == "worst":
        with torch.no_grad():
            model.lm_head.weight.normal_(std=0.25)  # else every token is as likely as every other
        model.save_pretrained(folder)
    else:  # vLLM makes up the weights
        config.dtype = torch.bfloat16
        config.architectures = ["Qwen2ForCausalLM"]
        config.save_pretrained(folder)
        (folder / "model.safetensors").touch()
    vocab = {"<|end|>": 0} | {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), 1)}
    vocab |= {f"Ġw{i}": i for i in range(len(vocab), VOCABULARY)}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(folder)


def compare(shape: str, dtype: str, rounds: int) -> None:
    """Measure one shape."""
    *_, num_tokens, target = SHAPES[shape]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder, shape)
        extra = {} if shape == "worst" else {"load_format": "dummy"}
        engine = VLLMEngine(folder, dtype=dtype, batch_size=BATCH, engine_args=extra)
        bare = bare_llm(folder, dtype, extra)
    assert not engine.fault, engine.fault
    texts: list[dict[str, str]] = [{}, {}]

    def ours(seed: int) -> None:
        texts[0] = draw(engine, seed, num_tokens)

    def theirs(seed: int) -> None:
        texts[1] = generate(bare, seed, num_tokens)

    sides = (ours, theirs)
    for side in sides:
        timed(side, 0)
    times: list[list[tuple[float, float]]] = [[], []]
    num_same = num_all = 0
    for number in range(1, rounds + 1):
        for place in (0, 1) if number % 2 else (1, 0):
            times[place].append(timed(sides[place], number))
        num_same += sum(texts[0][key] == texts[1][key] for key in texts[0])
        num_all += len(texts[0])
    a, b = times
    wall, cpu = (statistics.median(x[i] / y[i] for x, y in zip(a, b, strict=True)) for i in (0, 1))
    per_token = [1e6 * statistics.median(t[1] for t in side) / (BATCH * num_tokens) for side in (b, a)]
    spread = sorted(round(x[0] / y[0], 3) for x, y in zip(a, b, strict=True))
    print(
        f"{shape:<14}{per_token[0]:>9.0f}{per_token[1]:>9.0f}{wall:>9.3f}{cpu:>11.3f}   <= {target:.2f}"
        f"   rounds {spread[0]}-{spread[-1]}, same texts {num_same}/{num_all}",
        flush=True,
    )
    engine.close()


def bare_llm(folder: Path, dtype: str, extra: dict[str, str]) -> object:
    """The front door of vLLM itself, with the settings of the engine."""
    from vllm import LLM

    return LLM(
        str(folder), dtype=dtype, max_num_seqs=BATCH, enforce_eager=True, generation_config="vllm", max_model_len=1024,
        disable_log_stats=True, use_tqdm_on_load=False, **extra,
    )  # fmt: skip


def requests(seed: int, num_tokens: int) -> list[Request]:
    """One draw each of as many prompts as there are places."""
    sampling = Sampling(max_tokens=num_tokens, seed=seed)
    made = []
    for number in range(BATCH):
        prompt = Prompt((Message("user", f"Problem {number} of round {seed}: what is it?"),), raw=True)
        (key,) = sample_keys(str(number), prompt, sampling, [0])
        made.append(Request(str(number), prompt, sampling, (Draw(key, 0, sample_seed(seed, str(number), 0)),)))
    return made


def draw(engine: VLLMEngine, seed: int, num_tokens: int) -> dict[str, str]:
    """Our side."""

    async def one_by_one() -> AsyncIterator[Request]:
        for request in requests(seed, num_tokens):
            yield request

    async def collect() -> dict[str, str]:
        found = {}
        async for sample in engine.stream(one_by_one()):
            assert sample.stats is not None
            assert len(sample.stats) == sample.completion_tokens
            found[sample.problem_id] = sample.text
        return found

    return asyncio.run(collect())


def generate(bare: object, seed: int, num_tokens: int) -> dict[str, str]:
    """The bare side."""
    from vllm import SamplingParams

    asked = requests(seed, num_tokens)
    params = [SamplingParams(max_tokens=num_tokens, seed=request.draws[0].seed, stop_token_ids=[0]) for request in asked]
    outputs = bare.generate([request.prompt.text for request in asked], params, use_tqdm=False)
    return {request.problem_id: output.outputs[0].text for request, output in zip(asked, outputs, strict=True)}


def timed(side: Callable[[int], None], seed: int) -> tuple[float, float]:
    """Seconds, and seconds of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    side(seed)
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=(*SHAPES, "both"), default="both")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    import vllm

    versions = f"Python {platform.python_version()}, torch {torch.__version__}, vLLM {vllm.__version__}"
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {versions}")
    print(f"{'CPU us a token':<14}{'bare':>9}{'ours':>9}{'ratio':>9}{'CPU ratio':>11}   target")
    for shape in SHAPES if options.shape == "both" else (options.shape,):
        compare(shape, options.dtype, options.rounds)


if __name__ == "__main__":
    main()
