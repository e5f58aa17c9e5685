r"""Patterns that cut a text into words before its bytes are merged, and the same words by a faster pattern.

Most tokenizers end their pattern in `\s+(?!\S)|\s+`: of several spaces before a word the last belongs to the word. Looking
ahead makes matching slow. Without that alternative the words are the same in a text that is cut beforehand where it would have
mattered: before the last of two or more spaces that stand before something else.
"""

from __future__ import annotations

import re

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_KNOWN = {f"{_CONTRACTIONS}{_WORDS}{digits}{_REST}" for digits in (r"\p{N}", r"\p{N}{1,3}")}
# Line ends must be taken before: where they are blanks like others (GPT-2), more than spaces would have to be cut.
_AHEAD = r"|\s+(?!\S)|\s+"

OTHER_BLANKS = re.compile("[\t\v\f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
"""Finds white space beside the space and line ends: a text that has some is not cut by `at_spaces`."""
_SPACES = re.compile("   *")  # begins with two literal ones: found by searching, not by trying every place


def without_looking_ahead(pattern: str) -> str | None:
    """The pattern for texts cut by `at_spaces`; None when the pattern is not one of those for which this is proved."""
    return pattern.removesuffix(_AHEAD) + r"|\s+" if pattern in _KNOWN else None


def at_spaces(text: str) -> list[str]:
    """The text, without `OTHER_BLANKS`, cut before the last of several spaces in front of a character that is none."""
    parts, start = [], 0
    for spaces in _SPACES.finditer(text):
        end = spaces.end()
        if end < len(text) and text[end] not in "\r\n":
            parts.append(text[start : end - 1])
            start = end - 1
    parts.append(text[start:])
    return parts
