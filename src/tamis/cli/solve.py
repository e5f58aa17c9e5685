"""`tamis solve`: a trained model answers a question, a file of questions, whoever talks to it, or a test (document s2)."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli import drawing, solve_options
from tamis.cli.tables import print_bad_rows
from tamis.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError

if TYPE_CHECKING:
    from tamis.config import Drawing, ModelSettings
    from tamis.inference import InferenceConfig
    from tamis.workflows.ensembling import Member
    from tamis.workflows.evaluating import Evaluation
    from tamis.workflows.own_metric import Metric

EXAMPLE = """tamis solve --question "解方程：3x + 22 = x + 56。"
  tamis solve --evaluate --dataset demo --max-samples 50"""
EXAMPLE_QUESTION = "解方程：3x + 22 = x + 56。"
_MAX_NAMED = 10  # lines that a message names
_MAX_QUESTION = 300  # characters of a question that are shown

add_arguments = solve_options.add_arguments


def run(options: argparse.Namespace) -> int:
    """Do what the options ask for."""
    mode = solve_options.mode(options)
    config = solve_options.settings(options)
    if mode == "evaluate":
        return _evaluate(options, config)
    if mode == "batch_input":
        return _solve_file(options, config)
    if mode == "interactive":
        return _talk(config)
    question = _read_question(options.question) if mode else EXAMPLE_QUESTION
    return _answer(config, question, options.output)


def _read_question(question: str) -> str:
    text = sys.stdin.read() if question == "-" else question
    if not text.strip():
        raise UsageError("the question is empty", "Ask something: --question TEXT")
    return text.strip()


def _answer(config: InferenceConfig, question: str, output: Path | None) -> int:
    """One question: nothing is kept but what was asked for."""
    from tamis.inference import GRPOInference
    from tamis.store.files import encode_readable, write_atomically
    from tamis.view.text import clean, shorten

    with GRPOInference(config) as inference:
        row = inference.generate_response(inference.preprocess_prompt(question))
    print(f"question: {clean(shorten(question, _MAX_QUESTION))}")
    for text, answer in zip(row.get("responses", [row["response"]]), row.get("answers", [row["answer"]]), strict=True):
        print(f"\n{clean(text or '')}\nanswer: {_shown(answer)}")
    if "vote" in row:
        print(f"\nvote: {_shown(row['vote'])}")
    if row["truncated"]:
        print("warning: the response was cut at --max-new-tokens", file=sys.stderr)
    if output:
        write_atomically(output, [encode_readable(row)])
    return EXIT_INCOMPLETE if "error" in row else EXIT_DONE


def _shown(answer: str | None) -> str:
    from tamis.view.text import clean

    return "none could be extracted" if answer is None else clean(answer)


def _talk(config: InferenceConfig) -> int:
    from tamis.cli.talk import talk
    from tamis.workflows.models import open_model

    engine = open_model(config.model_settings(), token_stats=False)
    try:
        return talk(engine, config.sampling(), config.prompt)
    finally:
        engine.close()


# --- runs ------------------------------------------------------------------------------------------------------------


def _solve_file(options: argparse.Namespace, config: InferenceConfig) -> int:
    from tamis.sources.locate import NO_SPLIT
    from tamis.workflows.drawing import Session
    from tamis.workflows.solving import read_rows_of, solve, write_list, write_log

    _name_empty_lines(Path(options.batch_input))
    _check_file(options.output)
    run = solve_options.run_settings(options, config, config.model_settings(), options.batch_input)
    run = replace(run, split=NO_SPLIT)  # the configuration's is that of the evaluation
    if options.dry_run:
        return drawing.dry_run_of(run)
    session = Session(run)
    rows = drawing.run_drawing(session, solve(session))
    write_list(options.output, read_rows_of(rows))
    if config.save_detailed_log:
        write_log(Path(config.log_path), read_rows_of(rows))
    print(f"{session.num_problems} questions answered -> {options.output}")
    return EXIT_INCOMPLETE if session.bad_rows or session.progress.samples_damaged else EXIT_DONE


def _name_empty_lines(path: Path) -> None:
    """Say which lines of a text file hold no question: they are passed over, and `index` does not count them."""
    from tamis.sources.files import DataFile

    file = DataFile.of(path)
    if file is None or file.format != "text" or not path.is_file():
        return
    empty = [number for number, line in file.lines() if not line.strip()]
    if empty:
        named = ", ".join(map(str, empty[:_MAX_NAMED])) + (", ..." if len(empty) > _MAX_NAMED else "")
        lines = f"line {named} is" if len(empty) == 1 else f"{len(empty)} lines ({named}) are"
        print(f"{path}: {lines} empty and passed over", file=sys.stderr)


def _check_file(path: Path) -> None:
    """Find out before a model is loaded that the results have no place to go."""
    if path.is_dir():
        raise UsageError(f"--output is a folder: {path}", "Name a file")


def _evaluate(options: argparse.Namespace, config: InferenceConfig) -> int:
    from tamis.workflows.own_metric import load_metric

    output = Path(config.results_path)
    _check_file(output)
    metric = load_metric(options.metric) if options.metric else None
    if options.ensemble:
        return _evaluate_several(options, config, metric, output)
    run = solve_options.run_settings(options, config, config.model_settings(), config.dataset_name)
    if options.dry_run:
        return drawing.dry_run_of(run)
    return _finish(config, _evaluate_one(run, metric), output)


def _evaluate_one(run: Drawing, metric: Metric | None) -> Evaluation:
    from tamis.workflows.drawing import Session
    from tamis.workflows.evaluating import evaluate

    session = Session(run)
    found = drawing.run_drawing(session, evaluate(session, metric))
    if metric:
        print_bad_rows(metric.complaints, "no metric")
    return found


def _evaluate_several(options: argparse.Namespace, config: InferenceConfig, metric: Metric | None, output: Path) -> int:
    """The models of an ensemble, one after the other, then their vote."""
    import asyncio

    from tamis.workflows.ensembling import vote

    members = [_member(options, config, model, number) for number, model in enumerate(_models(options, config), start=1)]
    if options.dry_run:
        return max(drawing.dry_run_of(run) for _, run in members)
    done = [_evaluated(name, run, metric.anew() if metric else None) for name, run in members]
    with tempfile.TemporaryDirectory() as folder:
        return _finish(config, asyncio.run(vote(done, Path(folder) / "vote.jsonl")), output)


def _models(options: argparse.Namespace, config: InferenceConfig) -> list[str]:
    """The models of an ensemble: `--model-path`, where it is given, and those that `--ensemble` names."""
    names = [name.strip() for name in options.ensemble.split(",")]
    names = ([config.model_path] if options.model_path else []) + names
    if "" in names or len(names) < 2 or len({*names}) < len(names):
        raise UsageError(f"--ensemble {options.ensemble}: give at least two models, each once", "For example A,B,C")
    return names


def _member(options: argparse.Namespace, config: InferenceConfig, model: str, number: int) -> tuple[str, Drawing]:
    from tamis.engines.folders import ADAPTER_CONFIG, check_folder
    from tamis.workflows.models import model_name, model_path

    settings: ModelSettings = replace(config, model_path=model).model_settings()
    folder = str(model_path(model))
    if settings.engine in ("hf", "vllm") and not (Path(folder) / ADAPTER_CONFIG).is_file():
        check_folder(folder, allow_pickle=settings.allow_pickle)  # now, and not after the models before it
    run = solve_options.run_settings(options, config, settings, config.dataset_name)
    return model, replace(run, run=run.run / f"{number}-{model_name(model)}" if run.run else None)


def _evaluated(name: str, run: Drawing, metric: Metric | None) -> Member:
    from tamis.workflows.ensembling import Member

    print(f"model: {name}", file=sys.stderr)
    found = _evaluate_one(run, metric)
    return Member(name, run, Path(found.facts["run"]), found)


def _finish(config: InferenceConfig, found: Evaluation, output: Path) -> int:
    """The files, the table and the exit code of an evaluation."""
    from tamis.cli.solve_tables import print_evaluation
    from tamis.workflows.solving import write_log

    found.write(output)
    if config.save_detailed_log:
        write_log(Path(config.log_path), found.rows())
    print_evaluation(found.facts)
    print(f"results: {output}")
    return EXIT_DONE if found.is_complete else EXIT_INCOMPLETE
