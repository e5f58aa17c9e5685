"""The JSON files of a release folder, field by field."""

from __future__ import annotations

import json
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import EngineError

ADVICE = "Check that the whole release is there"

LANGUAGE_FILE = "llm_config.json"
VISION_FILE = "vit_config.json"
WHOLE_FILE = "config.json"


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a JSON file."""

    path: Path
    row: Mapping[str, Any]

    @staticmethod
    def of(path: Path, advice: str = ADVICE) -> Fields:
        """Read a file that holds one object; `advice` is for those who have none.

        Raises:
            EngineError: There is none.
        """
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise EngineError(f"no {path.name} in the model folder {path.parent}", advice) from None
        except RecursionError:
            raise EngineError(f"cannot read {path}: it is nested too deeply", advice) from None
        except (OSError, ValueError) as error:
            raise EngineError(f"cannot read {path}: {error}", advice) from None
        if not isinstance(row, dict):
            raise EngineError(f"{path}: no JSON object", advice)
        return Fields(path, row)

    def number(self, name: str) -> int:
        """A whole number above zero."""
        value = self.row.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.refusal(name, "no whole number above 0")
        return value

    def real(self, name: str, otherwise: float | None = None) -> float:
        """A number above zero; `otherwise` where there is none."""
        value = self.row.get(name, otherwise)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= sys.float_info.max:
            raise self.refusal(name, "no number above 0")
        return float(value)

    def sides(self, name: str) -> tuple[int, int]:
        """Two whole numbers above zero, of which the first is not the smaller."""
        value = self.row.get(name)
        if (
            isinstance(value, list)
            and len(value) == 2
            and all(type(side) is int for side in value)
            and value[0] >= value[1] > 0
        ):
            return value[0], value[1]
        raise self.refusal(name, "no pair of whole numbers above 0, the longer first")

    def refusal(self, name: str, why: str) -> EngineError:
        """What is to be said of a field whose value cannot be."""
        value = self.row.get(name)
        return EngineError(f"{self.path}: {name}: {'nothing' if value is None else reprlib.repr(value)} is {why}", ADVICE)
