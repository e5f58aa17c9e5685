"""The house is as docs/architecture.md draws it."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tamis

PACKAGE = Path(tamis.__file__).parent

PAGE = PACKAGE.parent.parent / "docs" / "architecture.md"


def _allowed() -> dict[str, set[str] | None]:
    """Room -> rooms it may import, as the table of docs/architecture.md says; None: everything below."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    return {room: None if "everything" in may else set(re.findall(r"\b[a-z]+\b", may)) for room, may in rows}


ALLOWED = _allowed()


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {match[1] for name in names if (match := re.match(r"tamis\.(\w+)", name))}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downward(path):
    room = _room(path)
    if room in ("__init__", "__main__") or ALLOWED[room] is None:
        return
    assert _imports(path) - {room} <= ALLOWED[room]


def test_every_room_is_on_the_page():
    rooms = {_room(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert rooms == ALLOWED.keys()


def test_only_the_command_line_prints():
    for path in PACKAGE.rglob("*.py"):
        if _room(path) in ("cli", "__main__") or (path.parts[-2] == "demo" and path.name.startswith("train")):
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        names = {c.func.id for c in calls if isinstance(c.func, ast.Name)}
        main_guard = path.parts[-2:] == ("demo", "problems.py")
        assert main_guard or not names & {"print", "exit"}, path


def test_no_file_is_long():
    assert {p.name: n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400} == {}


def test_the_public_names_are_real():
    assert tamis.__all__ == sorted(tamis.__all__)
    assert 8 <= len(tamis.__all__) <= 16
    for name in tamis.__all__:
        assert getattr(tamis, name) is not None
    assert set(tamis.__all__) <= set(dir(tamis))


def test_import_is_light():
    heavy = ["torch", "transformers", "polars", "sympy", "math_verify", "numpy", "rich", "datasets"]
    code = f"import sys, tamis, tamis.cli; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_core_pulls_in_at_most_twenty_packages():
    """Everything that `pip install tamis` brings, counted from the installed metadata."""
    seen: set[str] = set()
    owed = ["tamis"]
    while owed:
        name = re.sub(r"[-_.]+", "-", owed.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        for requirement in importlib.metadata.requires(name) or []:
            spec, _, marker = requirement.partition(";")
            extras = re.findall(r"extra\s*==\s*['\"]([\w.-]+)['\"]", marker)
            wanted = {"antlr4-13-2"} if name == "math-verify" or name == "latex2sympy2-extended" else set()
            if extras and not wanted & set(extras):
                continue
            if "platform_system" in marker or "sys_platform" in marker or "python_version <" in marker:
                continue
            owed.append(re.match(r"[\w.-]+", spec.strip())[0])
    assert "torch" not in seen
    assert len(seen) - 1 <= 20, sorted(seen)
