"""Recipes that have passed the last proof, in the user's cache folder: the next start takes them from there.

A kept recipe counts for the same tokenizer.json, the same code of this room and the same versions of all that it relies on.
Where nothing can be written, every start proves anew.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from tamis.counting.recipe import Recipe
from tamis.store.files import decode, encode, write_atomically


def _path(digest: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tamis" / "tokenizers" / f"{digest}.json"


def _proof(digest: str) -> str:
    """What a proof is of."""
    hashed = hashlib.blake2b(digest.encode(), digest_size=16)
    for name in ("tiktoken", "tokenizers"):
        hashed.update(version(name).encode())
    hashed.update(unicodedata.unidata_version.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


def digest_of(path: Path) -> str:
    """The name of a tokenizer.json: a digest of its content."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def find_recipe(path: Path, digest: str) -> Recipe | None:
    """The recipe of the file at `path`, if one that is proved is kept."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, ImportError):
        kept = decode(_path(digest).read_bytes())
        if kept["proof"] == _proof(digest):
            ranks = {token.encode("latin-1"): rank for rank, token in enumerate(kept["tokens"])}
            return Recipe(path, kept["aside"], ranks, kept["pattern"], kept["composes"], tuple(kept["added"]))
    return None


def keep_recipe(recipe: Recipe, digest: str) -> None:
    """Keep one that is proved, where that is possible."""
    with suppress(OSError, ImportError):
        kept = {
            "proof": _proof(digest),
            "aside": recipe.aside,
            "pattern": recipe.pattern,
            "composes": recipe.composes,
            "added": recipe.added,
            "tokens": [token.decode("latin-1") for token in recipe.ranks],  # in the order of their ranks
        }
        write_atomically(_path(digest), [encode(kept)], is_synced=False)
