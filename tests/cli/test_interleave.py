"""`tamis interleave` on the tiny release: what it writes, what it depends on, how it goes on, what it refuses."""

from __future__ import annotations

import errno
import json
import multiprocessing
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shutil import copy, copytree
from typing import Any

import pytest
import torch
from cli.commands import Ran, rows
from PIL import Image

from tamis.bagel.replicas import Opening, Replicas
from tamis.bagel.settings import Interleaving, Puzzle
from tamis.errors import EXIT_DONE, EXIT_FAILED, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_MISUSE, EngineError
from tamis.store import traces as store_traces
from tamis.workflows.tracing import Traces

DATA = Path(__file__).resolve().parent.parent / "data" / "bagel"
PROMPT = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))["system_prompt"]
SMALL = (
    "--num_timesteps",
    "3",
    "--max_tokens",
    "24",
    "--max-iterations",
    "2",
    "--image-size",
    "48x32",
    "--system-prompt",
    PROMPT,
)
SAMPLED = (*SMALL, "--do_sample", "--text_temperature", "0.8")
DRAWN = ("--input_jsonl", "in.jsonl", "--checkpoint_dir", "release")

Tamis = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the release, pictures and problems."""
    monkeypatch.chdir(tmp_path)
    copytree(DATA / "checkpoint", "release")
    shape = json.loads(Path("release/config.json").read_text())
    sizes = {"vae_transform": [64, 32], "vit_transform": [56, 28]}
    Path("release/config.json").write_text(json.dumps(shape | sizes))
    for name in ("p1", "p2", "p3", "p4"):
        copy(DATA / "inputs" / f"{name}.png", ".")
    with Image.open("p4.png") as picture:
        picture.convert("CMYK").save("p4.jpg")
    return tmp_path


def mark(number: int) -> str:
    return f"<image_start>[problem_image_{number}]<image_end>"


def problems() -> list[dict[str, Any]]:
    return [
        {
            "Question": f"Question: remove the green square. {mark(1)} How many objects are left?",
            "problem_image_1": "p1.png",
            "Text Reasoning Trace": "THOUGHT 1: 去掉绿色的方块。",
            "Final Answer": "2",
            "reasoning_image_1": "p2.png",
        },
        {"Question": "Question: a farmer has 12 hens and sells 5. How many are left?", "Final Answer": 7},
        {
            "Question": f"Question: compare {mark(2)} with {mark(1)} Which comes next, A or B?",
            "problem_image_1": "p2.png",
            "problem_image_2": "p4.jpg",
        },
        {"Question": "Question: 画12个点，去掉5个。"},
    ]


def write(given: Sequence[dict[str, Any] | str], path: str = "in.jsonl") -> None:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in given]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_of(output: str | Path) -> Path:
    (found,) = Path(output).glob("batch_inference_*")
    return found


def results(folder: Path) -> dict[Any, dict[str, Any]]:
    return {row["sample_id"]: row for row in rows(folder / "results.jsonl")}


def pictures(row: dict[str, Any]) -> list[bytes]:
    found = []
    for path in row["output_images"]:
        with Image.open(path) as picture:
            found.append(picture.tobytes())
    return found


def said_and_drawn(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["output_reasoning"], row["ending"], row["score"], pictures(row)


def by_question(folder: Path) -> dict[str, tuple[Any, ...]]:
    return {row["Question"]: said_and_drawn(row) for row in rows(folder / "results.jsonl")}


def test_the_documented_tree(site: Path, tamis: Tamis) -> None:
    bad = {"Question": f"Where? {mark(1)}", "problem_image_1": "gone.png"}
    write([*problems(), bad, '{"Question": "torn', {"Question": "The last.", "id": "a/b"}])
    flags = ("--cfg_text_scale", "4.0", "--cfg_img_scale", "2.0", "--start_idx", "0", "--end_idx", "100", "--seed", "42")
    files = ("--output_dir", "out", "--checkpoint_file", "ema.safetensors")
    ran = tamis("interleave", *DRAWN, *files, *SAMPLED, *flags)
    assert ran.code == EXIT_INCOMPLETE
    assert "samples: 7 (5 successful, 2 failed)" in ran.out
    assert "in.jsonl:5: problem_image_1: no such image: gone.png" in ran.err
    assert "in.jsonl:6: torn" in ran.err
    folder = run_of("out")
    found = results(folder)
    assert list(found) == [0, 1, 2, 3, 4, "line 6", "a/b"]
    assert {"problem_image_1", "no such image"} <= set(found[4]["error"].split(": "))
    for given, row in zip(problems(), found.values(), strict=False):
        assert {name: row[name] for name in given} == given
        texts = [part["text"] for part in row["output_parts"] if "text" in part]
        assert row["output_reasoning"] == "\n\n".join(texts)
        assert [part["image"] for part in row["output_parts"] if "image" in part] == row["output_images"]
        assert (row["num_reasoning_steps"], row["num_generated_images"]) == (len(texts), len(row["output_images"]))
        assert row["truncated"] == (row["ending"] in ("length", "iterations"))
        place = folder / "output_images" / str(row["sample_id"])
        assert row["output_images"] == [str(place / f"output_image_{n + 1}.png") for n in range(len(row["output_images"]))]
        assert "error" not in row
    assert max(row["num_generated_images"] for row in found.values()) == 2
    given = folder / "output_images" / "2"
    assert (given / "problem_image_1.png").read_bytes() == Path("p2.png").read_bytes()
    with Image.open(given / "problem_image_2.png") as picture:
        assert picture.format == "PNG"
    summary = json.loads((folder / "summary.json").read_text())
    assert [summary[name] for name in ("total_samples", "successful", "failed", "is_complete")] == [7, 5, 2, True]
    assert [row["sample_id"] for row in summary["failed_samples"]] == [4, "line 6"]
    assert tamis("interleave-evaluate", "--results_jsonl", folder / "results.jsonl").code == EXIT_INCOMPLETE
    statistics = json.loads((folder / "statistics.json").read_text())
    assert (statistics["successful"], statistics["failed"]) == (5, 2)


def test_a_row_gives_the_same_in_any_order_slice_and_batch(site: Path, tamis: Tamis) -> None:
    write(problems())
    assert tamis("interleave", *DRAWN, *SAMPLED, "--output_dir", "whole").code == EXIT_DONE
    whole = by_question(run_of("whole"))
    assert len({text for text, *_ in whole.values()}) > 1
    assert {ending for _, ending, *_ in whole.values()} >= {"stop"}
    for start in (0, 2):
        part = ("--start_idx", start, "--end_idx", start + 2, "--batch-size", 1, "--output_dir", f"from{start}")
        assert tamis("interleave", *DRAWN, *SAMPLED, *part).code == EXIT_DONE
        assert list(results(run_of(f"from{start}"))) == [start, start + 1]
    assert {**by_question(run_of("from0")), **by_question(run_of("from2"))} == whole
    write(problems()[::-1])
    assert tamis("interleave", *DRAWN, *SAMPLED, "--output_dir", "turned", "--batch-size", 3).code == EXIT_DONE
    assert by_question(run_of("turned")) == whole
    assert tamis("interleave", *DRAWN, *SAMPLED, "--seed", 1, "--limit", 1, "--output_dir", "other").code == EXIT_DONE
    ((question, other),) = by_question(run_of("other")).items()
    assert other != whole[question]


def test_processes_that_share_the_rows(site: Path, tamis: Tamis) -> None:
    write(problems())
    assert tamis("interleave", *DRAWN, *SAMPLED, "--output_dir", "one").code == EXIT_DONE
    two = ("--output_dir", "two", "--num-gpus", 2, "--device", "cpu", "--batch-size", 1)
    assert tamis("interleave", *DRAWN, *SAMPLED, *two).code == EXIT_DONE
    assert by_question(run_of("two")) == by_question(run_of("one"))
    Path("release/vit_config.json").unlink()
    ran = tamis("interleave", *DRAWN, *SAMPLED, "--num-gpus", 2, "--device", "cpu", "--output_dir", "none")
    assert (ran.code, ran.err.count("\n")) == (EXIT_FAILED, 1)
    assert "no vit_config.json" in ran.err
    assert not Path("none").exists()


def test_a_process_that_dies(site: Path) -> None:
    replicas = Replicas([Opening(Path("release"), "cpu")], Interleaving(num_steps=3, max_tokens=4, size=(48, 32)))
    try:
        assert replicas.describe()["device"] == "cpu"
        (child,) = multiprocessing.active_children()
        child.kill()
        with pytest.raises(EngineError, match="exit code -9"):
            list(replicas.solve([Puzzle("a", ("What?",), 1)]))
    finally:
        replicas.close()


def test_layers_that_stay_with_the_host(site: Path, tamis: Tamis) -> None:
    write(problems())
    assert tamis("interleave", *DRAWN, *SAMPLED, "--output_dir", "whole").code == EXIT_DONE
    assert tamis("interleave", *DRAWN, *SAMPLED, "--output_dir", "less", "--max_mem_per_gpu", "7MB").code == EXIT_DONE
    assert by_question(run_of("less")) == by_question(run_of("whole"))
    ran = tamis("interleave", *DRAWN, *SAMPLED, "--max_mem_per_gpu", "1 MiB")
    assert ran.code == EXIT_FAILED
    assert "0.00105 GB is too small: 0.00659 GB are needed" in ran.err


def many() -> list[dict[str, Any]]:
    return [{**row, "Question": f"{row['Question']} {turn}"} for turn in range(6) for row in problems()]


def kill_on_the_way(*arguments: object) -> Path:
    """Run the command in a process of its own and kill it once some results are there; the run's folder."""
    line = [sys.executable, "-m", "tamis", "interleave", *map(str, arguments), "--output_dir", "killed"]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        found = list(Path("killed").glob("batch_inference_*/results.jsonl"))
        if found and found[0].read_bytes().count(b"\n") >= 3:
            process.kill()
            process.communicate()
            return found[0].parent
        time.sleep(0.02)
    raise AssertionError(process.communicate()[1])


def test_after_a_kill_it_goes_on_to_the_same_results(site: Path, tamis: Tamis, monkeypatch: pytest.MonkeyPatch) -> None:
    write(many())
    folder = kill_on_the_way(*DRAWN, *SAMPLED, "--batch-size", 2)
    before = len(results(folder))
    assert before < len(many())
    for name in ("results.jsonl", "candidates/samples.jsonl"):
        with (folder / name).open("ab") as file:
            file.write(b'{"sample_id": 30, "Question": "to')

    put, num = Traces.put, 0

    def put_some(*arguments: Any) -> None:
        nonlocal num
        put(*arguments)
        if (num := num + 1) == before + 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Traces, "put", put_some)
        ran = tamis("interleave", *DRAWN, *SAMPLED, "--resume", folder)
    assert ran.code == EXIT_INTERRUPTED
    assert f"--resume {folder} goes on from there" in ran.err
    assert before < len(results(folder)) < len(many())
    assert not json.loads((folder / "summary.json").read_text())["is_complete"]
    ran = tamis("interleave", *DRAWN, *SAMPLED, "--resume", folder)
    assert ran.code == EXIT_DONE
    assert list(results(folder)) == list(range(len(many())))
    assert tamis("interleave", *DRAWN, *SAMPLED, "--output_dir", "whole").code == EXIT_DONE
    assert by_question(folder) == by_question(run_of("whole"))
    assert json.loads((folder / "summary.json").read_text())["this_run"]["candidates_drawn"] < len(many())
    next((folder / "candidates" / "images").glob("*/*.png")).write_bytes(b"")
    assert tamis("interleave", *DRAWN, *SAMPLED, "--resume", folder).code == EXIT_DONE
    assert json.loads((folder / "summary.json").read_text())["this_run"]["candidates_drawn"] == 1
    assert by_question(folder) == by_question(run_of("whole"))
    stamp = (folder / "results.jsonl").read_bytes()
    assert tamis("interleave", *DRAWN, *SAMPLED, "--resume", folder).code == EXIT_DONE
    assert (folder / "results.jsonl").read_bytes() == stamp


def test_other_settings_do_not_go_on(site: Path, tamis: Tamis) -> None:
    write(problems()[1:2])
    assert tamis("interleave", *DRAWN, *SAMPLED, "--output_dir", "out").code == EXIT_DONE
    folder = run_of("out")
    ran = tamis("interleave", *DRAWN, *SAMPLED, "--resume", folder, "--cfg_img_scale", 1.5, "--num_timesteps", 4)
    assert (ran.code, ran.err.count("\n")) == (EXIT_FAILED, 1)
    assert "num_steps: 3 -> 4" in ran.err
    assert "guidance.image_scale: 2.0 -> 1.5" in ran.err
    assert "nothing to resume" in tamis("interleave", *DRAWN, *SAMPLED, "--resume", "out").err


def test_another_problem_on_the_same_line_does_not_go_on(site: Path, tamis: Tamis) -> None:
    write(problems())
    assert tamis("interleave", *DRAWN, *SMALL, "--output_dir", "out").code == EXIT_DONE
    folder = run_of("out")
    before = (folder / "results.jsonl").read_bytes()
    write(problems()[1:])
    ran = tamis("interleave", *DRAWN, *SMALL, "--resume", folder)
    assert (ran.code, ran.err.count("\n")) == (EXIT_FAILED, 1)
    assert "in.jsonl:1 was another problem when the run was begun" in ran.err
    assert (folder / "results.jsonl").read_bytes() == before
    write([*problems(), *problems()[:1]])
    assert tamis("interleave", *DRAWN, *SMALL, "--resume", folder).code == EXIT_DONE
    assert len(results(folder)) == len(problems()) + 1


def test_a_disk_that_is_full_at_the_end(site: Path, tamis: Tamis, monkeypatch: pytest.MonkeyPatch) -> None:
    write(problems()[:2])
    files = store_traces.write_atomically

    def full(path: Path, *arguments: Any) -> None:
        if path.name == "summary.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        files(path, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(store_traces, "write_atomically", full)
        ran = tamis("interleave", *DRAWN, *SMALL, "--output_dir", "out")
        assert ran.code == EXIT_FAILED
        assert "summary.json: No space left on device. What is finished is kept" in ran.err
    assert tamis("interleave", *DRAWN, *SMALL, "--resume", run_of("out")).code == EXIT_DONE


def test_what_failed_is_owed_again(site: Path, tamis: Tamis) -> None:
    """A picture whose header is right and whose body is not fails its row alone."""
    data = bytearray(Path("p1.png").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 60] = bytes(60)
    Path("p1.png").write_bytes(data)
    write([*problems(), {"Question": f"Read {mark(1)}", "problem_image_1": "late.png"}])
    assert tamis("interleave", *DRAWN, *SAMPLED, "--output_dir", "out").code == EXIT_INCOMPLETE
    folder = run_of("out")
    first = results(folder)
    assert [name for name, row in first.items() if "error" in row] == [0, 4]
    assert first[0]["error"].startswith("input: ")
    copy(DATA / "inputs" / "p1.png", "p1.png")
    copy("p3.png", "late.png")
    assert tamis("interleave", *DRAWN, *SAMPLED, "--resume", folder).code == EXIT_DONE
    now = results(folder)
    assert not any("error" in row for row in now.values())
    assert [now[place] for place in (1, 2, 3)] == [first[place] for place in (1, 2, 3)]


def test_a_picture_that_grows_when_it_is_opened(site: Path, tamis: Tamis) -> None:
    """The first bytes say 1 x 1, the frame in it is too large: its row fails alone."""
    sizes = struct.pack("<2H3x", 1, 1), struct.pack("<4Hx", 0, 0, 9_500, 9_500)
    Path("grows.gif").write_bytes(b"GIF89a" + b",".join(sizes) + b"\x02\x02\x44\x01\x00;")
    write([{"Question": f"Read {mark(1)}", "problem_image_1": "grows.gif"}, problems()[1]])
    ran = tamis("interleave", *DRAWN, *SAMPLED, "--output_dir", "out")
    assert (ran.code, ran.err.count("9500 x 9500 pixels")) == (EXIT_INCOMPLETE, 1)
    assert ["error" in row for row in results(run_of("out")).values()] == [True, False]


def test_the_best_of_several(site: Path, tamis: Tamis) -> None:
    write(problems())
    some = (*DRAWN, *SAMPLED, "--score", "neg-entropy")
    assert tamis("interleave", *some, "-n", 2, "--output_dir", "out").code == EXIT_DONE
    folder = run_of("out")
    assert tamis("interleave", *some, "-n", 3, "--resume", folder).code == EXIT_DONE
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["this_run"]["candidates_drawn"], summary["this_run"]["candidates_reused"]) == (4, 8)
    for row in results(folder).values():
        candidates = row["candidates"]
        assert sorted(one["index"] for one in candidates) == [0, 1, 2]
        assert [one["chosen"] for one in candidates] == [True, False, False]
        best = max(candidates, key=lambda one: (one["ending"] == "stop", one["score"]))
        assert (best["index"], best["score"]) == (row["chosen"], row["score"])
        said = [part["text"] for part in best["output_parts"] if "text" in part]
        assert row["output_reasoning"] == "\n\n".join(said)
        kept = [Path(part["image"]).read_bytes() for part in best["output_parts"] if "image" in part]
        assert kept == [Path(path).read_bytes() for path in row["output_images"]]
    ran = tamis("interleave", *some, "-n", 2, "--resume", folder)
    assert (ran.code, ran.err.count("\n")) == (EXIT_FAILED, 1)
    assert f"{folder} has more than 2 candidates of sample 0. Give -n as it was, or more" in ran.err
    assert tamis("interleave", *DRAWN, *SAMPLED, "--output_dir", "one").code == EXIT_DONE
    for name, row in results(run_of("one")).items():
        first = next(one for one in results(folder)[name]["candidates"] if one["index"] == 0)
        assert [part.get("text") for part in first["output_parts"]] == [part.get("text") for part in row["output_parts"]]


def test_pictures_after_the_text_or_as_latents_are_other_problems(site: Path, tamis: Tamis) -> None:
    write(problems()[2:3])
    drawn = []
    for name, options in (("a", ()), ("b", ("--image-order", "after")), ("c", ("--problem-image-vae",))):
        assert tamis("interleave", *DRAWN, *SMALL, "--output_dir", name, *options).code == EXIT_DONE
        drawn.append(said_and_drawn(results(run_of(name))[0]))
    assert drawn[0] != drawn[1]
    assert drawn[0] != drawn[2]


def test_a_dry_run(site: Path, tamis: Tamis) -> None:
    write([*problems(), {"Question": mark(1)}])
    ran = tamis("interleave", *DRAWN, "--dry-run", "-n", 2)
    assert ran.code == EXIT_INCOMPLETE
    assert "4 problems with 3 pictures x 2 candidates" in ran.out
    assert "[problem_image_1] has no image" in ran.err
    assert not Path("output").exists()
    write([*problems(), {"Question": "word " * 100_000}])
    assert "in.jsonl:5: the problem takes" in tamis("interleave", *DRAWN, "--dry-run").err
    assert "nothing to resume" in tamis("interleave", *DRAWN, "--dry-run", "--resume", "out").err
    Path("release/ae.safetensors").unlink()
    assert "no ae.safetensors in the model folder release" in tamis("interleave", *DRAWN, "--dry-run").err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--num_timesteps", "1"), "--num-timesteps: 1"),
        (("--cfg-interval", "0.8,0.2"), "--cfg-interval: (0.8, 0.2)"),
        (("--score", "usc"), "--score: usc"),
        (("--checkpoint-dir", "embedded"), "embedded does not draw. The embedded model that does is embedded-interleave"),
        (("--device", "cuda"), "cuda cannot be used here"),
        (("--dtype", "float8"), "no such type: float8"),
        (("--num-gpus", "2", "--device", "cuda:1"), "--num-gpus 2 and --device cuda:1"),
        (("--num-gpus", "999"), "--num-gpus is 999"),
        (("--image-size", "50x50"), "50x50 cannot be drawn"),
        (("--max_mem_per_gpu", "much"), "'much' is no size of memory"),
        (("--cfg-interval", "0.4"), "no pair of numbers"),
        (("--start_idx", "3", "--end_idx", "3"), "3 to 3"),
        (("--seed", "-1"), "--seed is -1"),
        (("--image-size", "16x16"), "16x16 would be read as 32x32"),
    ],
)
@pytest.mark.parametrize("how", [(), ("--dry-run",)])
def test_what_cannot_be(site: Path, tamis: Tamis, options: tuple[str, ...], said: str, how: tuple[str, ...]) -> None:
    write(problems())
    ran = tamis("interleave", *DRAWN, "--output_dir", "out", *options, *how)
    assert (ran.code, ran.err.count("\n")) == (EXIT_MISUSE, 1)
    assert said in ran.err
    assert not Path("out").exists()


def test_a_place_where_nothing_can_be_written(site: Path, tamis: Tamis) -> None:
    write(problems())
    assert tamis("interleave", *DRAWN, *SMALL, "--limit", 1, "--output_dir", "out").code == EXIT_DONE
    folder = run_of("out")
    in_the_way = folder / "candidates" / "images" / "2"
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("a file")
    ran = tamis("interleave", *DRAWN, *SMALL, "--resume", folder, "--batch-size", 1)
    assert ran.code == EXIT_FAILED
    assert "cannot write" in ran.err
    assert list(results(folder)) == [0, 1]
    in_the_way.unlink()
    assert tamis("interleave", *DRAWN, *SMALL, "--resume", folder).code == EXIT_DONE
    assert list(results(folder)) == [0, 1, 2, 3]
