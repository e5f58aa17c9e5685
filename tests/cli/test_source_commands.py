"""Every command line of source document s3 with only the program's name changed: it parses, runs, and does what it says.

Hub names are stood in for by folders of that name in the working directory: a model's folder, and rows as MATH-500 has them.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli.commands import rows

from tamis.cli.dispatch import Parser
from tamis.demo import MODEL_FOLDER
from tamis.sources import hub

pytest.importorskip("torch")

PROGRAMS = {"infer.py": "infer", "generate.py": "generate", "evaluate.py": "evaluate", "main.py": "compare"}
LLAMA, QWEN, SMALL = "meta-llama/Llama-3.2-1B-Instruct", "Qwen/Qwen2.5-Math-7B-Instruct", "Qwen/Qwen2.5-Math-1.5B-Instruct"
DATASET = "HuggingFaceH4/MATH-500"
ROWS = [
    {
        "problem": "What is 7 + 5?",
        "solution": "$7 + 5 = 12$, so the answer is $\\boxed{12}$.",
        "answer": "12",
        "subject": "Prealgebra",
        "level": 1,
        "unique_id": "test/prealgebra/1.json",
    },
    {
        "problem": "Solve 3x + 22 = x + 56.",
        "solution": "$2x = 34$, so $x = \\boxed{17}$.",
        "answer": "17",
        "subject": "Algebra",
        "level": 2,
        "unique_id": "test/algebra/2.json",
    },
]

# The line, then samples a problem, temperature, tokens a sample, and of infer alpha / of main the method.
INFER = [
    (f"python infer.py --model_path {LLAMA}", 4, 0.1, 1024, 0.4),
    (
        f"python infer.py --model_path {QWEN} --num_return_sequences 8 --temperature 0.7 --max_tokens 2048 --alpha 0.5",
        8,
        0.7,
        2048,
        0.5,
    ),
    (f"python infer.py --model_path {SMALL} --num_return_sequences 4 --temperature 0.3 --alpha 0.4", 4, 0.3, 1024, 0.4),
]
MAIN = [
    (f"python main.py --method self-certainty --model_path {QWEN} --lambda_weight 0.5", 4, 0.1, "self-certainty"),
    (f"python main.py --method coe-c --model_path {QWEN} --temperature 0.7 --n_repetitive_sampling 8", 8, 0.7, "coe-c"),
    (f"python main.py --method entropy --model_path {SMALL} --temperature 0.1", 4, 0.1, "entropy"),
    *(
        (f"python main.py --method {method} --model_path {SMALL}", 4, 0.1, method)  # the other methods of its list
        for method in ("baseline", "self-eval", "self-consistency")
    ),
]
DEFAULTS = {
    "infer": {"default_n": 4, "temperature": 0.1, "max_tokens": 1024, "alpha": 0.4, "dataset": DATASET},
    "generate": {"default_n": 4, "temperature": 0.1, "max_tokens": 1024, "dataset": DATASET},
    "evaluate": {"alpha": 0.4},
    "compare": {"default_n": 4, "temperature": 0.1, "max_tokens": 1024, "lambda_weight": 0.5, "dataset": DATASET},
}


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """A working directory in which the hub's names are folders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in (LLAMA, QWEN, SMALL):
        folder = tmp_path / name
        folder.parent.mkdir(exist_ok=True)
        shutil.copytree(MODEL_FOLDER, folder)
    data = tmp_path / DATASET
    data.mkdir(parents=True)
    (data / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return tmp_path


def with_our_name(line: str) -> list[str]:
    """`python infer.py ...` -> `infer ...`."""
    python, program, *arguments = shlex.split(line)
    assert python == "python"
    return [PROGRAMS[program], *arguments]


def run_of(place: Path, model: str) -> SimpleNamespace:
    """What the run folder of a drawing says, under its default name."""
    folder = place / "runs" / f"math500-{model.rpartition('/')[2]}"
    record = json.loads((folder / "run.json").read_text())
    summary = folder / "summary.json"
    return SimpleNamespace(
        config=record["config"],
        n=record["facts"]["n"],
        samples=rows(folder / "samples.jsonl"),
        summary=json.loads(summary.read_text()) if summary.is_file() else {},
    )


@pytest.mark.parametrize(("line", "n", "temperature", "max_tokens", "alpha"), INFER)
def test_infer(tamis, desk, line, n, temperature, max_tokens, alpha):
    ran = tamis(*with_our_name(line))
    assert ran.code == 0, ran.err
    model = line.split("--model_path ")[1].split()[0]
    name, stamp = re.escape(model.rpartition("/")[2]), r"(\d{8}_\d{6})"
    said = ran.out.splitlines()[:3]
    forms = (
        rf"\[1/2\] Generating candidates -> results/math500_candidates_{name}_{stamp}\.jsonl",
        rf"\[2/2\] Evaluating and selecting best answers -> results/math500_best_{name}_{stamp}\.jsonl",
        rf"✅ Done! Final results saved to: results/math500_best_{name}_{stamp}\.jsonl",
    )
    stamps = {re.fullmatch(form, said_line)[1] for form, said_line in zip(forms, said, strict=True)}
    assert len(stamps) == 1
    assert {str(path.relative_to(desk)) for path in (desk / "results").iterdir()} == {s.split(" ")[-1] for s in said}
    best, candidates = (rows(next((desk / "results").glob(f"*_{kind}_*"))) for kind in ("best", "candidates"))
    assert [row["question"] for row in best] == [row["problem"] for row in ROWS]
    assert all(isinstance(row["answer"], str) and row["answer"] for row in best)
    assert [len(row["candidates"]) for row in candidates] == [n, n]
    for row, drawn in zip(best, candidates, strict=True):
        assert row["answer"] == drawn["candidates"][row["index"]]["text"]
    run = run_of(desk, model)
    assert (run.n, run.config["temperature"], run.config["max_tokens"]) == (n, temperature, max_tokens)
    assert (run.summary["method"], run.summary["alpha"]) == ("infer", alpha)


@pytest.mark.parametrize(("line", "n", "temperature", "method"), MAIN)
def test_main(tamis, desk, line, n, temperature, method):
    model = line.split("--model_path ")[1].split()[0]
    if method == "self-eval":  # the embedded model knows neither (A) nor (B)
        put_a_model_that_says_anything(desk / model)
    ran = tamis(*with_our_name(line))
    assert ran.code == 0, ran.err
    assert re.search(rf"^ {method} ", ran.out, re.M)
    run = run_of(desk, model)
    assert (run.n, run.config["temperature"], run.config["max_tokens"]) == (n, temperature, 1024)
    assert [line["method"] for line in run.summary["methods"]] == ["one sample", method, "oracle"]
    assert run.summary["health"]["num_samples"] == n * len(ROWS) == len(run.samples)
    assert all(re.fullmatch(r"samples without the score of self-eval: \d empty", why) for why in run.summary["left_out"])


def put_a_model_that_says_anything(place: Path) -> None:
    """Nearly uniform over bytes, with room for long questions."""
    from engines.hf.tiny_models import model_folder

    shutil.rmtree(place)
    shutil.copytree(model_folder(template=True, scale=1.0), place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8192}))


def test_generate_then_evaluate(tamis, desk):
    options = "--num_return_sequences 3 --temperature 0.7 --max_tokens 128"
    ran = tamis(*with_our_name(f"python generate.py --model_path {LLAMA} {options}"))
    assert ran.code == 0, ran.err
    candidates = ran.out.split()[-1]
    assert re.fullmatch(r"results/math500_candidates_Llama-3\.2-1B-Instruct_\d{8}_\d{6}\.jsonl", candidates)
    ran = tamis(*with_our_name(f"python evaluate.py --candidates {candidates} --alpha 0.4"))
    assert ran.code == 0, ran.err
    best = ran.out.splitlines()[0].rpartition(" ")[2]
    assert re.fullmatch(r"results/math500_best_Llama-3\.2-1B-Instruct_\d{8}_\d{6}\.jsonl", best)
    evaluated = rows(desk / best)
    assert tamis(*with_our_name(f"python infer.py --model_path {LLAMA} {options}"), "--output-dir", "one").code == 0
    assert evaluated == rows(next((desk / "one").glob("*_best_*")))


def test_the_prompt_is_the_documented_one(tamis, desk):
    ran = tamis("infer", "--model_path", LLAMA, "--dry-run")
    documented = "Q: What is 7 + 5?\nLet's think step by step and output the final answer within \\boxed{}\nA:"
    assert f"\n{documented}\n" in ran.out


@pytest.mark.parametrize("command", DEFAULTS)
def test_defaults(command):
    parser = Parser()
    importlib.import_module(f"tamis.cli.{command}").add_arguments(parser)
    assert {name: parser.get_default(name) for name in DEFAULTS[command]} == DEFAULTS[command]


def test_names_of_the_hub_are_found_in_its_cache(tamis, tmp_path, monkeypatch):
    """The same line where the names are no folders: the model from the hub's cache, offline, the data through `datasets`."""
    from huggingface_hub import constants

    class Stream(list):
        features = None

    monkeypatch.chdir(tmp_path)
    cache = tmp_path / "cache" / f"models--{LLAMA.replace('/', '--')}"
    revision = "0123456789abcdef0123456789abcdef01234567"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(revision)
    shutil.copytree(MODEL_FOLDER, cache / "snapshots" / revision)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = []

    def load_dataset(*arguments, **options):
        asked.append((arguments, options))
        return Stream(ROWS)

    builder = SimpleNamespace(hash="revision")
    library = SimpleNamespace(load_dataset=load_dataset, load_dataset_builder=lambda *_: builder)
    monkeypatch.setattr(hub, "_library", lambda _: library)
    ran = tamis("infer", "--model_path", LLAMA)
    assert ran.code == 0, ran.err
    assert asked[0] == ((DATASET, None), {"split": "test", "streaming": True})
    best = rows(next((tmp_path / "results").glob("math500_best_Llama-3.2-1B-Instruct_*.jsonl")))
    assert [row["question"] for row in best] == [row["problem"] for row in ROWS]
    assert [row["id"] for row in best] == [row["unique_id"] for row in ROWS]
