"""A scripted model and a scripted judge, images and prompt files: what the tests of `reject` share."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from images import png

from tamis.engines.scripted_server import ScriptedServer

PROMPTS = {
    "prompt1": "请分析这张系统框图，识别所有组件及其连接关系，以网表形式输出。",
    "prompt2": "详细描述这张系统框图中的所有元件和连接路径。",
    "prompt3": "这张图显示了一个系统框图，请以网表形式给出完整的组件列表和连接关系。",
}
TEMPLATE = {
    "template": "Compare with the image.\n\nGenerated Answer:\n{generated_answer}\n\nProvide a score between 0 and 100."
}
OUT = Path("results/circuit")
NAMES = ("a.png", "b.PNG", "图.png")


def model(prompt: str, seed: int) -> str:
    return f"A -> B {seed % 7}，连接. Score: 100"


def judge(prompt: str, seed: int) -> str:
    if found := re.search(r"A -> B (\d)", prompt):
        return f"因为 it is so.\nScore: {[95, 85, 60, 50, 40, 30, 20][int(found[1])]}"
    return "no idea"


@pytest.fixture
def seer():
    with ScriptedServer(model, model="Qwen2.5-VL-32B-Custom") as server:
        yield server


@pytest.fixture
def grader():
    with ScriptedServer(judge, key="sk-judge", model="o4-mini") as server:
        yield server


@pytest.fixture
def images(tmp_path, monkeypatch) -> Path:
    """A working directory with images and prompt files."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_API_KEY_JUDGE", "OPENAI_BASE_URL", "OPENAI_BASE_URL_JUDGE"):
        monkeypatch.delenv(name, raising=False)
    folder = Path("datasets/1-stage")
    folder.mkdir(parents=True)
    for width, name in enumerate(NAMES, 2):
        (folder / name).write_bytes(png(width))
    Path("prompts").mkdir()
    Path("prompts/generation_prompts.json").write_text(json.dumps(PROMPTS, ensure_ascii=False), encoding="utf-8")
    Path("prompts/grading_prompt.json").write_text(json.dumps(TEMPLATE), encoding="utf-8")
    return folder


def basic(seer: ScriptedServer, grader: ScriptedServer) -> list[object]:
    return [
        "reject", "--image-dir", "datasets/1-stage", "--output-dir", OUT,
        "--vllm-api", f"[{seer.base_url}]({seer.base_url})", "--vllm-model", seer.model,
        "--grading-api", grader.base_url, "--grading-key", "sk-judge", "--grading-model", grader.model,
    ]  # fmt: skip


FULL = [
    "--prompts", "prompts/generation_prompts.json", "--grading-prompt", "prompts/grading_prompt.json",
    "--prompt-keys", "prompt1", "prompt3", "--temperature-range", "0.3,0.5,0.7,0.9,1.2", "--top-p-range", "0.5,0.7,0.9",
    "--top-k-range", "20,40,60,80", "--score-threshold", "80", "--gen-workers", "16", "--grade-workers", "10",
    "--samples", "-1", "--checkpoint-interval", "5", "--log-level", "INFO",
]  # fmt: skip


def read(folder: Path) -> dict[str, dict]:
    """Every result file, by folder and image, without its time."""
    found = {}
    for path in sorted(folder.glob("*_quality/*.json")):
        row = json.loads(path.read_bytes())
        del row["best_result"]["timestamp"]
        found[f"{path.parent.name}/{row['image_info']['filename']}"] = row
    return found


def summary(folder: Path = OUT) -> dict:
    return json.loads((folder / "summary.json").read_bytes())
