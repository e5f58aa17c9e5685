"""Characters on which every Unicode library agrees, whatever version of the standard it was built from."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Assigned later than Unicode 3.2, or not yet, but signs for ever: no letter, number or space is here, and nothing composes.
_SIGNS = ((0x2190, 0x245F), (0x2500, 0x2775), (0x2794, 0x2ADB), (0x2ADD, 0x2BFF), (0x1F300, 0x1FAFF))
_LONG_S = 0x17F  # is an s to some when case is ignored


@lru_cache(maxsize=1)
def unsettled() -> re.Pattern[str]:
    """Finds a character of which libraries may differ: in what kind it is, or in how it composes with others.

    Settled are those that Unicode 3.2 knew and that are of the same category today, and signs such as emoji.
    """
    settled = bytearray(0x110000)
    old, new = unicodedata.ucd_3_2_0.category, unicodedata.category
    for code in range(0x10000):
        kind = old(chr(code))
        settled[code] = kind == new(chr(code)) and kind not in ("Cn", "Cs")
    for first, last in _SIGNS:
        settled[first : last + 1] = b"\1" * (last + 1 - first)
    settled[_LONG_S] = 0
    runs = (f"\\U{run.start():08x}-\\U{run.end() - 1:08x}" for run in re.finditer(rb"\0+", settled))
    return re.compile(f"[{''.join(runs)}]")
