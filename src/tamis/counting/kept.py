"""What the proof of each tokenizer found, in the user's cache folder: the next start takes it from there.

It counts for the same tokenizer.json, the same code of this room and the same versions of both libraries.
Where nothing can be written, every start proves anew.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from tamis.store.files import decode, encode, write_atomically


def _path(digest: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "tamis" / "tokenizers" / f"{digest}.json"


def _proof(digest: str) -> str:
    """What a proof is of."""
    hashed = hashlib.blake2b(digest.encode(), digest_size=16)
    for name in ("fastokens", "tokenizers"):
        hashed.update(version(name).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


def digest_of(path: Path) -> str:
    """The name of a tokenizer.json: a digest of its content."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def find_proof(digest: str) -> str | None:
    """Why fastokens is not used for a tokenizer.json, "": it is; None: nothing is kept."""
    with suppress(OSError, ValueError, KeyError, TypeError, ImportError):
        kept = decode(_path(digest).read_bytes())
        if kept["proof"] == _proof(digest):
            return str(kept["aside"])
    return None


def keep_proof(digest: str, aside: str) -> None:
    """Keep what `find_proof` shall give, where that is possible."""
    with suppress(OSError, ImportError):
        write_atomically(_path(digest), [encode({"proof": _proof(digest), "aside": aside})], is_synced=False)
