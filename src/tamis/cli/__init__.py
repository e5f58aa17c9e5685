"""The command line: one thin module a command. Only here is anything printed or the process ended.

Nothing heavy is imported before a command is known, so that `tamis --help` answers at once. Option names may be written
with `-` or `_` everywhere: `--max_tokens` is `--max-tokens`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

COMMANDS = {
    "demo": "the main job on the embedded model: sample, score, select, table, report",
    "infer": "draw candidates, score them, keep the best: one pass over the model",
    "generate": "draw candidates only",
    "evaluate": "score candidates drawn earlier and keep the best",
    "score": "add scores to samples that are there: statistics, self-evaluation, judges, rewards",
    "compare": "every method side by side on one pool of samples",
    "solve": "a trained model answers a question, a file of questions, whoever talks to it, or a test with known answers",
    "compare-runs": "two evaluations of the same problems: who is right where, and whether that is more than chance",
    "reject": "images, prompts and parameters -> candidates -> a judge -> the best, above a threshold or below",
    "interleave": "reasoning in text and pictures with a unified model, over a file of problems",
    "interleave-evaluate": "how good reasoning in text and pictures is: answers, texts, pictures and steps against references",
    "export": "training data from samples that are there: the best ones, or pairs of the best and the worst",
    "summarise": "accuracy, token lengths and pass@k of each prompt, over any amount of graded generations",
    "grade": "show how one answer was judged against another",
    "serve": "a model behind OpenAI's protocol: any client gets the best of N answers by changing a URL",
    "vllm": "a model behind vLLM's HTTP server, with exact token statistics for every engine that asks",
    "doctor": "what works on this machine, and what to install for the rest",
}
"""Each command and its one line, in the order of the help."""

_ALIASES = {"summarize": "summarise"}

_USAGE = """\
usage: tamis COMMAND [OPTIONS]

Draw many answers from a model, score them, keep the best, and say how sure you are.

commands:
{commands}

Every command has its own help with an example that runs: tamis COMMAND --help
Exit codes: 0 done, 1 failed, 2 misuse, 3 finished with some failed samples, 130 interrupted (and resumable).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    try:
        return _run(argv)
    except BrokenPipeError:
        sys.stdout = None  # or Python would complain once more at exit
        return 1
    except KeyboardInterrupt:  # while the command itself is still being loaded
        print("tamis: interrupted", file=sys.stderr)
        return 130


def _run(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        lines = "\n".join(f"  {name:<{width}} {line}" for name, line in COMMANDS.items())
        print(_USAGE.replace("{commands}", lines), flush=True)
        return 0
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"tamis {version('tamis')}")
        return 0
    from tamis.cli.dispatch import run_command

    name = arguments[0].replace("_", "-")
    name = _ALIASES.get(name, name)
    return run_command(name, arguments[1:])
