"""The embedded model and the built-in problems: the first command needs no download."""

from pathlib import Path

MODEL_FOLDER = Path(__file__).parent / "embedded"
PROBLEMS_FILE = Path(__file__).parent / "problems.jsonl"
