"""The embedded models, an adapter, and the built-in problems: the first command needs no download."""

from pathlib import Path

MODEL_FOLDER = Path(__file__).parent / "embedded"
VISION_FOLDER = Path(__file__).parent / "vision"
ADAPTER_FOLDER = Path(__file__).parent / "adapter"
INTERLEAVE_FOLDER = Path(__file__).parent / "interleave"
PROBLEMS_FILE = Path(__file__).parent / "problems.jsonl"
REMAINDERS_FILE = Path(__file__).parent / "remainders.jsonl"

VISION_PROMPTS = {
    "netlist": "Write the netlist of this diagram.",
    "arrows": "List every arrow, one a line, as A -> B.",
}
"""What the embedded vision model was taught to be asked."""
