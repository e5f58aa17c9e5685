"""What the nine token statistics cost: the same engine with and without them, interleaved in one run.

    python benchmarks/bench_statistics.py [--model FOLDER]

Two models: random weights with a vocabulary of 151,936 on a hidden size of 128 (the worst case: the head is nearly all of
the model, and the tokens drawn are rare ones), and the embedded model or, without `--model`, random weights of its size
(2.8 M parameters, vocabulary 754). 32 slots, fp32, one thread, temperature 1.
Each round draws the same samples with statistics and without, one after the other, in alternating order; shown are the medians
over the rounds: of the time a token, and of the rounds' own ratios of time and of CPU time. Targets: at most 1.15 and 1.03.

2026-11-21, 2 cores, 24 GB, CPU, otherwise idle, torch 2.13, transformers 5.23, `--model src/tamis/demo/embedded`:

    microseconds a token            without       with    ratio  CPU ratio     target
    V = 151,936, hidden 128            1172       1333    1.144      1.143     <= 1.15
    V = 754, hidden 256                 167        173    1.040      1.040     <= 1.03

A second run under the same conditions: 1.128 and 1.041. The first target holds; the second is missed by one point. (Earlier
that day, beside other work and with an unfinished checkpoint of the model: 1.142 and 1.028.)
"""

from __future__ import annotations

import argparse
import atexit
import shutil
import statistics
import sys
import tempfile
import time
from collections import deque
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from tamis.engines.hf import HFEngine
from tamis.engines.hf.loop import Decoder
from tamis.identity import sample_keys, sample_seed
from tamis.records import Draw, Message, Prompt, Request, Sample, Sampling


class Everything:
    """A source that has all requests at hand, so that nothing but decoding is timed."""

    stopped = False

    def __init__(self, requests: list[Request]) -> None:
        self._requests = deque(requests)
        self.samples: list[Sample] = []

    def take(self, *, wait: bool) -> Request | None:  # noqa: ARG002
        """The next request."""
        return self._requests.popleft() if self._requests else None

    def seated(self, count: int) -> None:
        """Nobody waits here."""

    def emit(self, sample: Sample) -> None:
        """Keep a sample."""
        self.samples.append(sample)


def random_model(vocab_size: int, gain: float = 1.0, **sizes: int) -> Path:
    """A folder with a random Qwen2 and a byte-level tokenizer without merges; `gain` sharpens its distributions."""
    folder = Path(tempfile.mkdtemp(prefix="tamis-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=vocab_size, tie_word_embeddings=True, eos_token_id=None, bos_token_id=None, **sizes)
    model = Qwen2ForCausalLM(config)
    model.model.norm.weight.data.mul_(gain)
    model.save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = islice((a + b + c for a in letters for b in letters for c in letters), vocab_size - len(letters))
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate([*letters, *words])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


def request(text: str, sampling: Sampling) -> Request:
    prompt = Prompt((Message("user", text),), raw=True)
    keys = sample_keys(text, prompt, sampling, range(sampling.n))
    return Request(text, prompt, sampling, tuple(Draw(key, i, sample_seed(0, text, i)) for i, key in enumerate(keys)))


def draw(engine: HFEngine, requests: list[Request], *, token_stats: bool) -> tuple[float, float, int]:
    """Seconds, CPU seconds and tokens."""
    source = Everything(requests)
    decoder = Decoder(*engine._open(), engine.batch_size, token_stats=token_stats)
    wall, cpu = time.perf_counter(), time.process_time()
    decoder.run(source)
    return time.perf_counter() - wall, time.process_time() - cpu, sum(s.completion_tokens for s in source.samples)


def measure(name: str, engine: HFEngine, tokens: int, rounds: int, target: float) -> bool:
    requests = [request(str(i) * 40, Sampling(max_tokens=tokens, n=8)) for i in range(8)]
    times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for number in range(rounds + 1):
        for on in (True, False) if number % 2 else (False, True):
            wall, cpu, drawn = draw(engine, requests, token_stats=on)
            if number:  # the first round warms up
                times[on].append((wall / drawn, cpu / drawn))
    wall_on, wall_off = (statistics.median(wall for wall, _ in times[on]) for on in (True, False))
    pairs = list(zip(times[True], times[False], strict=True))
    ratio, cpu_ratio = (statistics.median(on[kind] / off[kind] for on, off in pairs) for kind in (0, 1))
    print(
        f"{name:<28} {1e6 * wall_off:>10.0f} {1e6 * wall_on:>10.0f} {ratio:>8.3f} {cpu_ratio:>10.3f}     <= {target}",
        flush=True,
    )
    return ratio <= target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--model", type=Path, help="folder of the embedded model")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'microseconds a token':<28} {'without':>10} {'with':>10} {'ratio':>8} {'CPU ratio':>10}     target")
    wide = random_model(
        151_936, hidden_size=128, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    small = arguments.model or random_model(
        754, gain=10, hidden_size=256, intermediate_size=640, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=2
    )
    rounds = arguments.rounds
    good = measure("V = 151,936, hidden 128", HFEngine(wide, batch_size=32, device="cpu"), 12, rounds, 1.15)
    good &= measure("V = 754, hidden 256", HFEngine(small, batch_size=32, device="cpu"), 64, rounds, 1.03)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
