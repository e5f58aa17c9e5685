"""One tokenizer for all worker processes: loaded once by the process from which they are forked, its memory shared by them.

Naming this module as one to be preloaded loads the tokenizer whose path the variable holds.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

VARIABLE = "TAMIS_SHARED_TOKENIZER"

_loaded: dict[Path, Any] = {}


def load_fast(path: Path) -> Any:
    """The tokenizer of fastokens; that which is shared where it is the same.

    Raises:
        ImportError: fastokens is not installed.
        ValueError: It does not know such a tokenizer.
    """
    if path in _loaded:
        return _loaded[path]
    from fastokens import Tokenizer

    fast = Tokenizer.from_file(str(path))
    fast.no_truncation()
    fast.no_padding()
    return fast


if VARIABLE in os.environ:
    with suppress(ImportError, ValueError):  # said by the worker that needs it
        _shared = Path(os.environ[VARIABLE])
        _loaded[_shared] = load_fast(_shared)
