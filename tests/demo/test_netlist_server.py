"""The rule as a judge on a server of its own, beside a server that reads pictures: `tamis reject` asks both over HTTP."""

from __future__ import annotations

import hashlib
import json
from random import Random

import pytest

pytest.importorskip("PIL", reason="Pillow is not installed")

from tamis.cli import main
from tamis.demo.diagrams import edge_f1, truth_file, write_diagrams
from tamis.demo.netlist_judge import TEMPLATE, verdict
from tamis.engines.scripted_server import ScriptedServer


def test_the_rule_judges_over_http_what_another_server_reads(tmp_path, capsys):
    paths = write_diagrams(tmp_path / "images", 4, seed=1)
    truths = {hashlib.sha256(path.read_bytes()).hexdigest(): truth_file(path).read_text() for path in paths}

    def read(asked, seed):
        """A netlist with each of its lines left out now and then."""
        random = Random(seed)
        lines = truths[asked.images[0]].splitlines()
        return "\n".join(line for line in lines if random.random() < 0.7) or "nothing"

    def judge(asked, seed):
        return verdict(asked.prompt, truths[asked.images[0]])

    (tmp_path / "grading.json").write_text(json.dumps({"template": TEMPLATE}))
    out = tmp_path / "out"
    with ScriptedServer(rule=read) as seer, ScriptedServer(rule=judge, key="k") as grader:
        code = main(
            [
                "reject", "--image-dir", str(tmp_path / "images"), "--output-dir", str(out),
                "--vllm-api", seer.base_url, "--vllm-model", seer.model, "--grading-api", grader.base_url,
                "--grading-key", "k", "--grading-model", grader.model, "--grading-prompt", str(tmp_path / "grading.json"),
                "--num-candidates", "5",
            ]
        )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    results = [json.loads(path.read_text()) for path in out.glob("*_quality/*.json")]
    assert len(results) == 4
    for result in results:
        truth = truth_file(tmp_path / "images" / result["image_info"]["filename"]).read_text()
        scores = [(one["score"], edge_f1(one["content"], truth)) for one in result["all_candidates"]]
        assert all(score == pytest.approx(100 * f1, abs=0.01) for score, f1 in scores)
        assert result["best_result"]["score"] == max(score for score, _ in scores)
