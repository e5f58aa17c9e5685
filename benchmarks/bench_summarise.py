"""`tamis summarise` against the obvious way, on JSONL made from real generations, no two texts alike.

    python benchmarks/bench_summarise.py [--megabytes 1000] [--num-proc 2] [--tokenizer FOLDER] [--folder FOLDER] [--only tamis]

Three programs, each in a fresh process with its children: `obvious` is `datasets.load_dataset` + `map` with
`AutoTokenizer`, aggregation in Python; `floor` reads, parses JSON and counts with tiktoken built from the same file, and does
nothing more; `tamis` is the command. All with as many processes over the same files. Processor time is of all processes;
memory is the largest sum over them of what each has for itself and its share of what they share (PSS). The outputs of `obvious`
and `tamis` must be equal. The real generations lie beside the checkout; without them the benchmark says so and ends.
Results: benchmarks/results/.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

_ADOPT = 36  # PR_SET_CHILD_SUBREAPER
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SOURCES = ("math500_llama-3.2-1b-instruct_n8.jsonl", "math500_qwen2.5-math-1.5b_n8.jsonl")
NUM_FILES = 8
TARGET_CPU, TARGET_WALL, TARGET_FLOOR = 12.0, 8.0, 1.3


# --- the data --------------------------------------------------------------------------------------------------------


def make(folder: Path, num_bytes: int, num_prompts: int) -> int:
    """Write the files; the number of rows. A text is the head of one sample and the tail of another, its digits renamed."""
    problems = [json.loads(line) for name in SOURCES for line in (DATA / "generations" / name).open(encoding="utf-8")]
    rng, size = random.Random(0), 0
    folder.mkdir(parents=True)
    files = [(folder / f"part_{number}.jsonl").open("w", encoding="utf-8") for number in range(NUM_FILES)]
    for number in count():
        problem = problems[number % len(problems)]
        prompt = f"{problem['problem']} [{number % num_prompts}]" if num_prompts > len(problems) else problem["problem"]
        head, tail = rng.choice(problem["samples"]), rng.choice(problem["samples"])
        lines = head["text"].splitlines(keepends=True), tail["text"].splitlines(keepends=True)
        text = "".join(lines[0][: rng.randint(0, len(lines[0]))] + lines[1][rng.randint(0, len(lines[1])) :])
        text = text if len(text) > 200 else head["text"]
        text = f"{text.translate(str.maketrans('123456789', ''.join(rng.sample('123456789', 9))))} ({number})"
        row = {"prompt": prompt, "gen": text, "answer": problem["gold"], "accuracy": float(head["correct"])}
        line = json.dumps(row, ensure_ascii=False) + "\n"
        files[number % NUM_FILES].write(line)
        size += len(line.encode())
        if size >= num_bytes:
            break
    for file in files:
        file.close()
    return number + 1


# --- the programs ----------------------------------------------------------------------------------------------------


def obvious(folder: Path, tokenizer_path: str, output: Path, num_proc: int) -> None:
    """What one writes first."""
    from datasets import disable_progress_bars, load_dataset
    from transformers import AutoTokenizer

    disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
    files = [str(path) for path in sorted(folder.glob("*.jsonl"))]
    rows = load_dataset("json", data_files=files, split="train", cache_dir=str(output.with_suffix(".cache")))
    rows = rows.map(
        lambda row: {"length": len(tokenizer(row["gen"], add_special_tokens=False)["input_ids"])}, num_proc=num_proc
    )
    table: dict[str, tuple[str, list[float], list[int]]] = {}
    for row in rows:
        _, accuracies, lengths = table.setdefault(row["prompt"], (row["answer"], [], []))
        accuracies.append(row["accuracy"])
        lengths.append(row["length"])
    summary = [
        {
            "prompt": prompt,
            "answer": answer,
            "count": len(lengths),
            "total_accuracy_count": sum(accuracies),
            "average_accuracy": sum(accuracies) / len(accuracies),
            "max_gen_length": max(lengths),
            "avg_gen_length": sum(lengths) / len(lengths),
            "gen_lengths": lengths,
        }
        for prompt, (answer, accuracies, lengths) in table.items()
    ]
    output.write_text(json.dumps(summary, ensure_ascii=False, indent=2), encoding="utf-8")


def floor(folder: Path, tokenizer_path: str, num_proc: int) -> None:
    """Read, parse, count: nothing is kept."""
    import multiprocessing

    paths = sorted(folder.glob("*.jsonl"))
    with multiprocessing.get_context("spawn").Pool(num_proc, _load, (tokenizer_path,)) as pool:
        print(sum(pool.imap_unordered(_tokens, paths)))
        pool.close()
        pool.join()


def _load(tokenizer_path: str) -> None:
    import tiktoken

    global encode
    content = json.loads((Path(tokenizer_path) / "tokenizer.json").read_bytes())
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    bytes_of = dict(zip([*printable, *range(0x100, 0x100 + len(others))], [*printable, *others], strict=True))
    tokens = sorted(content["model"]["vocab"].items(), key=lambda token: token[1])  # Qwen's ids follow its merges
    ranks = {name.translate(bytes_of).encode("latin-1"): rank for rank, (name, _) in enumerate(tokens)}
    pattern = content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    encode = tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}).encode_ordinary


def _tokens(path: Path) -> int:
    import orjson

    with path.open("rb") as lines:
        return sum(len(encode(orjson.loads(line)["gen"])) for line in lines)


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(command: list[str]) -> dict[str, float]:
    """Wall time, processor time and memory of a command with its children."""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    ctypes.CDLL(None).prctl(_ADOPT, 1)  # or the time of the children of a process that does not wait for them is lost
    before, began, most = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0.0
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        most = max(most, sum(map(_pss_mb, _tree(process.pid))))
        time.sleep(0.5)
    with suppress(ChildProcessError):
        while True:  # those that it left to us
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"{command[:3]} ended with {process.returncode}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - began, "cpu": cpu, "mb": most}


def _tree(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from _tree(int(child))


def _pss_mb(pid: int) -> float:
    with suppress(OSError, StopIteration):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in rollup if line.startswith("Pss:")).split()[1]) / 1024
    return 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--prompts", type=int, default=0, help="different prompts; default: those of the data, 500")
    parser.add_argument("--num-proc", type=int, default=os.cpu_count())
    parser.add_argument("--tokenizer", default=str(DATA / "tokenizers" / "qwen2.5"))
    parser.add_argument(
        "--folder", type=Path, help="for the data and the caches, about four times as large; removed afterwards"
    )
    parser.add_argument("--only", nargs="*", default=["floor", "tamis", "obvious"])
    parser.add_argument("--program", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.program == "obvious":
        obvious(options.folder, options.tokenizer, options.output, options.num_proc)
    elif options.program == "floor":
        floor(options.folder, options.tokenizer, options.num_proc)
    elif not (DATA / "generations" / SOURCES[0]).is_file():
        print(f"no real generations at {DATA}")
    else:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            return compare(Path(folder), options)
    return 0


def compare(folder: Path, options: argparse.Namespace) -> int:
    """Make the data, run the programs in turns, say what came out."""
    data, outputs = folder / "data", {name: folder / f"{name}.json" for name in ("tamis", "obvious")}
    num_rows = make(data, options.megabytes * 1_000_000, options.prompts)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, "
          f"CPython {platform.python_version()}, {time.strftime('%Y-%m-%d')}")  # fmt: skip
    print(f"{options.megabytes:,} MB, {num_rows:,} rows, {options.num_proc} processes", flush=True)
    common = ["--folder", str(data), "--tokenizer", options.tokenizer, "--num-proc", str(options.num_proc)]
    commands = {
        "floor": [sys.executable, __file__, "--program", "floor", *common],
        "tamis": [sys.executable, "-m", "tamis", "summarise", "--input-data-dir", str(data), "--output-data-dir", str(folder),
                  "--output-filename", "tamis.json", "--model", options.tokenizer, "--num-proc", str(options.num_proc)],
        "obvious": [sys.executable, __file__, "--program", "obvious", "--output", str(outputs["obvious"]), *common],
    }  # fmt: skip
    found: dict[str, dict[str, float]] = {}
    for name in options.only:
        found[name] = ran = measure(commands[name])
        print(f"  {name:8} {ran['wall']:8.1f} s {ran['cpu']:8.1f} CPU-s {ran['mb']:7.0f} MB", flush=True)
    is_met = True
    if {"tamis", "obvious"} <= found.keys():
        tamis, other = found["tamis"], found["obvious"]
        cpu, wall = other["cpu"] / tamis["cpu"], other["wall"] / tamis["wall"]
        equal = _equal(*outputs.values())
        is_met = cpu >= TARGET_CPU and wall >= TARGET_WALL and equal
        times = (
            f"{cpu:.1f}x less processor time (target {TARGET_CPU:.0f}), {wall:.1f}x less wall time (target {TARGET_WALL:.0f})"
        )
        print(f"  {times}, outputs {'equal' if equal else 'DIFFER'}: {'ok' if is_met else 'MISSED'}")
    if {"tamis", "floor"} <= found.keys():
        share = found["tamis"]["cpu"] / found["floor"]["cpu"]
        is_met = is_met and share <= TARGET_FLOOR
        print(
            f"  {share:.2f} of the floor's processor time (target {TARGET_FLOOR}): "
            f"{'ok' if share <= TARGET_FLOOR else 'MISSED'}"
        )
    return 0 if is_met else 1


def _equal(first: Path, second: Path) -> bool:
    """The same objects; rows of a prompt in the order of the files."""
    return bool(json.loads(first.read_bytes()) == json.loads(second.read_bytes()))


if __name__ == "__main__":
    sys.exit(main())
