"""inference_config.yaml -> fields of `InferenceConfig`: every mistake named with its line, all of them in one go."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from tamis.errors import InputError, MissingExtra
from tamis.inference.kinds import KINDS, SECTIONS, complaint

_TAG = "tag:yaml.org,2002:"


def read_settings(path: Path) -> dict[str, Any]:
    """The fields that a file sets; sections and keys may be left out.

    Raises:
        InputError: It cannot be read, is no YAML, or sets what does not exist or cannot be.
        MissingExtra: There is no reader of YAML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"no such configuration: {path}", "Check the path") from None
    except UnicodeDecodeError:
        raise InputError(f"the configuration {path} is not UTF-8", "Save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"the configuration {path} cannot be read ({error.strerror})", "Check the path") from None
    reader = _Reader(path)
    reader.read(text)
    if reader.mistakes:
        raise InputError("; ".join(reader.mistakes), "Correct the configuration")
    return reader.settings


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.settings: dict[str, Any] = {}
        self.mistakes: list[str] = []

    def read(self, text: str) -> None:
        """Fill `settings` and `mistakes`."""
        try:
            import yaml
        except ImportError:
            raise MissingExtra(f"reading {self._path}", "hf") from None
        try:
            loader = yaml.SafeLoader(text)
            root = loader.get_single_node()
            if root is not None:
                self._section("", root, loader)
        except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a date that does not exist
            mark = getattr(error, "problem_mark", None)
            where = f"{self._path}:{mark.line + 1}" if mark else str(self._path)
            what = getattr(error, "problem", None) or str(error).partition("\n")[0]
            raise InputError(f"{where}: not valid YAML ({what})", "Correct the configuration") from None

    def _section(self, section: str, node: Any, loader: Any) -> None:
        """Take in the keys of one mapping; the top of the file is the section ""."""
        inside = {name.rpartition(".")[2] for name in SECTIONS if name.rpartition(".")[0] == section}
        keys = SECTIONS.get(section, {})
        if node.tag == f"{_TAG}null":  # a section whose keys are all commented out
            return
        if node.tag != f"{_TAG}map":
            expected = f"the sections {', '.join(sorted(inside))}" if not section else f"keys like {', '.join([*keys][:3])}"
            self._complain(node, f"{section or 'the file'} holds no keys, expected {expected}")
            return
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = str(key_node.value)
            name = f"{section}.{key}" if section else key
            if key in seen:
                self._complain(key_node, f"{name} is given twice")
            elif key in inside:
                self._section(name, value_node, loader)
            elif key in keys:
                self._take(name, keys[key], key_node, loader.construct_object(value_node, deep=True))
            else:
                self._complain(key_node, f"unknown key {name} ({self._hint(key, section)})")
            seen.add(key)

    def _take(self, name: str, field: str, node: Any, value: Any) -> None:
        kind = KINDS[field]
        if kind.holds(value):
            self.settings[field] = value
        else:
            self._complain(node, complaint(name, value, kind))

    def _hint(self, key: str, section: str) -> str:
        """The nearest known key, of this section or of another."""
        here = [*SECTIONS.get(section, {}), *(name for name in SECTIONS if "." not in name and not section)]
        if near := difflib.get_close_matches(key, here, n=1):
            return f"did you mean {near[0]}?"
        everywhere = {key: name for name, keys in SECTIONS.items() for key in keys}
        if near := difflib.get_close_matches(key, everywhere, n=1):
            return f"did you mean {everywhere[near[0]]}.{near[0]}?"
        return f"known are {', '.join(here)}"

    def _complain(self, node: Any, what: str) -> None:
        self.mistakes.append(f"{self._path}:{node.start_mark.line + 1}: {what}")
