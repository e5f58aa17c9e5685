"""`tamis demo --interleave`: the embedded unified model on two boards, and the command on its problems."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("PIL", reason="Pillow is not installed")
pytest.importorskip("torch", reason="torch is not installed")


from tamis.cli import main
from tamis.demo.ring_walks import SIZE
from tamis.engines.pictures import open_picture
from tamis.sources.traces import TraceFile


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_demo_draws_steps_or_none_and_says_how_often_it_is_right(tmp_path, capsys):
    run = tmp_path / "demo"
    assert main(["demo", "--interleave", "--problems", "2", "--run", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "by steps, drawn" in shown
    (drawn,) = (run / "by-steps").iterdir()
    (at_once,) = (run / "at-once").iterdir()
    for folder in (drawn, at_once):
        metrics = json.loads((folder / "metrics.json").read_text())["metrics"]
        assert metrics["answer_accuracy"]["total"] == 2
        assert (folder / "report.html").is_file()
    for trace in TraceFile(drawn).traces():
        wanted = [trace.values[name] for name in trace.values if name.startswith("reasoning_image_")]
        assert len(trace.images) == len(wanted) > 0  # it has learnt how many to draw
        assert all(open_picture(str(drawn / path)).size == (SIZE, SIZE) for path in trace.images)
        assert "Final Answer:" in trace.text
    assert all(not trace.images and trace.text.startswith("Final Answer:") for trace in TraceFile(at_once).traces())


def test_the_command_takes_the_problems_of_the_demo(tmp_path, capsys):
    from tamis.demo.ring_walks import write_problems

    by_steps, _ = write_problems(tmp_path / "problems", 1, 3)
    arguments = ["interleave", "--input-jsonl", str(by_steps), "--checkpoint-dir", "embedded-interleave"]
    arguments += ["--num-timesteps", "4", "--max-tokens", "32", "--output-dir", str(tmp_path / "out")]
    assert main(arguments) == 0
    (folder,) = (tmp_path / "out").iterdir()
    (trace,) = TraceFile(folder).traces()
    assert trace.images
    assert not trace.error
