r"""Find the answer in a model's text: `extract_answer`.

Precedence, first rule that finds something:

1. the Minerva closing `Final Answer: The final answer is X. I hope it is correct.` (its few-shot format; it comes last);
2. the last `\boxed{X}` or `\fbox{X}` with balanced braces, or `\boxed X`; boxes joined only by commas, "and" and spacing
   are one answer; empty boxes do not count; a box that is never closed is no answer (the text was cut);
3. the last `<answer>X</answer>`;
4. the last `#### X` where X is a number (GSM8K references; a Markdown heading is not an answer);
5. the last of "final answer", "answer is", "answer:", 答案是, 答案：, 最终答案 and the like: what follows in that sentence;
6. a last line `A: X` (GSM8K model solutions);
7. a last, finished sentence that concludes ("Therefore, the area is X.", 所以……是 X。);
8. a last, finished sentence that ends with an equation whose right side is a value ("We know that $a = b = 4.5$.").

A number that merely stands last is NOT an answer: a text cut in mid-thought has none. After a `</think>` only what follows
is searched, unless nothing is found there. Every rule is linear in the length of the text.
"""

from __future__ import annotations

import re

from tamis.grade.normalise import closes_at_end
from tamis.records import Sample

_TAIL = 4000  # characters at the end in which rules 6 to 8 look
_LONGEST = 2000  # a phrase after "the answer is" is looked at no further than this

_BRACES = re.compile(r"(?:\\\\?|(?<![A-Za-z\\]))f?box(?:ed)?\s{0,8}(?P<open>\{|(?=[^\s{}]))|\\.|[{}]", re.DOTALL)
_WHOLE_BOX = re.compile(r"\\?f?box(?:ed)?\s*\{")
_EMPTY_BOX = re.compile(r"\\?f?box(?:ed)?\s*\{\s*\}")
_NONBLANK = re.compile(r"\S")
_BARE = re.compile(r"[^\s{}$\\,;]{1,100}")
_BETWEEN_BOXES = re.compile(r"(?:[\s,;$.]|\\[()\[\],;]|\\q?quad|\\text\{\s*(?:and|or)\s*\}|\band\b|\bor\b|和|或|、|，)*")
_MINERVA = re.compile(r"final answer is:?\s*(.{1,500}?)\.?\s*I hope it is correct", re.IGNORECASE)
_TAG_OPEN, _TAG_CLOSE = "<answer>", "</answer>"
_ANNOUNCED = re.compile(r"\s*(?:the\s+)?final\s+answer(?:\s+is\b)?\s*[:：]", re.IGNORECASE)  # inside of the tags
_HASHES = re.compile(r"####[ \t]*([-+]?[$€£¥]?[ \t]?\.?\d[\d,./]*[ \t]?%?)[ \t]*$", re.MULTILINE)
_MARKER = re.compile(
    r"\bfinal answer\W{0,6}(?:(?:the|my)\s+final\s+answer\s+)?(?P<final>is\b|:|：|\n)"
    r"|\b(?:answer|correct (?:option|choice|solution))(?:\s+is\b|\s{0,2}(?:\*\*)?\s{0,2}[:：])"
    r"|(?:réponse|respuesta|antwort)(?:\s+(?:est|es|ist)\b|\s?[:：])"
    r"|(?:正确|最终|最后)?答案(?:\*\*)?(?:就|应该|应)?(?:[是为]|等于|[:：])",
    re.IGNORECASE,
)
_A_LINE = re.compile(r"A[:：]\s*(\S.*)")
_CONCLUDES = re.compile(
    r"(?:#+\s*)?(?:Step\s*\d+\s*[:.]\s*)?[*\s]*(?:therefore|thus|hence|so|consequently|finally|accordingly"
    r"|in conclusion|en conclusion"
    r"|donc|因此|因而|所以|综上|于是|故|the final|the answer|the solution|the result)|.*[\s，,；;](?:因此|因而|所以|综上|于是)",
    re.IGNORECASE,
)
_COPULA = re.compile(
    r"\b(?:is|are|be|equals?|equal to|est(?:\s+de)?|only)\b[:\s]*(?:approximately|about|exactly|now|just)?\s*"
    r"|[是为：]|等于|(?<![<>!=\\])(?==)"
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？\n]|<\||\*\*(?=\s|$)")
_FINISHED = re.compile(r"(?:[.。!！]|\$|\\\]|\\\)|\*\*)[\"'”)*]*$")
_TRAILER = re.compile(r"(?:<\|[a-z_]+\|>\s*(?:user|assistant)?|I hope it is correct\.?|```)\s*$", re.IGNORECASE)
_MATH_SPAN = re.compile(r"\$\$[^$]+\$\$|\$[^$]+\$|\\\([^\n]{1,500}?\\\)|\\\[.{1,500}?\\\]", re.DOTALL)
_EQUATION = re.compile(r"(?<![<>!\\])=")
_SEVERAL = re.compile(r"[,;]|\\q?quad|\\text")
_VALUE = re.compile(
    r"(?:\\(?:[dt]?frac|sqrt|pi|infty|cdot|times|left|right)(?![A-Za-z])|\\[%$,! {}]"
    r"|[-+*/^_(){}\[\],.\d\s]|(?<=\d)i(?![A-Za-z]))+"
)
_JOINS = re.compile(r"\s*(?:,|;|and\b|or\b|,\s*and\b|和|或|、|，)\s*")
_AFTER_MATH = re.compile(r"\s*(?:\\?%|percent\b|pct\b|degrees?\b)")
_AFTER_REASON = re.compile(r"\s+(?:because|since|as|for|which|where|when|,? so)\b|，|\s\(", re.IGNORECASE)


def extract_answer(text: str, *, complete: bool = True) -> str | None:
    """The answer that a text gives, or None.

    Args:
        text: What the model wrote; hostile text is fine.
        complete: False for a text cut at its token limit: its last sentence then concludes nothing (rules 6 to 8 are off).

    Returns:
        The answer as written, outer boxes and math delimiters taken off; never an empty string.
    """
    _, closed, after = text.rpartition("</think>")
    if closed and (answer := _find(after, complete=complete)) is not None:
        return answer
    return _find(text, complete=complete)


def answer_of(sample: Sample) -> str | None:
    """The answer that a sample gives; none when it failed or was given up half-way, whatever stands in its text."""
    if sample.error or sample.finish_reason == "cut":
        return None
    return extract_answer(sample.text, complete=not sample.truncated)


def _find(text: str, *, complete: bool) -> str | None:
    tail = text[-_TAIL:]
    if "I hope it is correct" in tail and (last := _last(_MINERVA, tail)) is not None and (answer := _polish(last[1])):
        return answer
    if answer := boxed(text):
        return answer
    close = text.rfind(_TAG_CLOSE)
    start = text.rfind(_TAG_OPEN, 0, max(close, 0))
    if start >= 0:
        inside = text[start + len(_TAG_OPEN) : close]
        announced = _ANNOUNCED.match(inside)
        if answer := _polish(inside[announced.end() :] if announced else inside):
            return answer
    if (last := _last(_HASHES, text)) is not None:
        return _polish(last[1])
    if (last := _last(_MARKER, text)) is not None:
        rest = text[last.end() : last.end() + _LONGEST]
        if (complete or _SENTENCE_END.search(rest.lstrip())) and (answer := _phrase(rest, last[0])):
            return answer
    return _closing(text[-_TAIL:]) if complete else None


def boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{...}`, or of the last run of boxes joined only by commas and the like."""
    if "box" not in text:
        return None
    spans: list[tuple[int, int, int, int]] = []  # complete, outermost, non-empty boxes: start and end, of box and of content
    opened: list[tuple[int, int] | None] = []  # for each open brace: None, or where its box and its content begin
    for token in _BRACES.finditer(text):
        if token["open"] is not None:
            if token["open"]:
                opened.append((token.start(), token.end()))
            elif (bare := _BARE.match(text, token.end())) is not None and token[0].startswith("\\"):
                spans.append((token.start(), bare.end(), bare.start(), bare.end()))
        elif token[0] == "{":
            opened.append(None)
        elif token[0] == "}" and opened and (begun := opened.pop()) is not None:
            start, inside = begun
            while spans and spans[-1][0] > start:
                spans.pop()
            if _NONBLANK.search(text, inside, token.start()):
                spans.append((start, token.end(), inside, token.start()))
    if not spans:
        return None
    run = [spans[-1]]
    for span in reversed(spans[:-1]):
        between = text[span[1] : run[0][0]]
        if len(between) > 40 or not _BETWEEN_BOXES.fullmatch(between) or not re.search(r"[,;、，]|and|or|和|或", between):
            break
        run.insert(0, span)
        if len(run) == 50:
            break
    return ", ".join(_unboxed(text[start:end]) for _, _, start, end in run) or None


def _unboxed(content: str) -> str:
    """The content of a box without boxes around all of it."""
    for _ in range(4):
        content = content.strip()
        inner = _WHOLE_BOX.match(content)
        if inner is None or not content.endswith("}") or not closes_at_end(content) or not content[inner.end() : -1].strip():
            break
        content = content[inner.end() : -1]
    return content.strip().rstrip(".").strip()


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for match in pattern.finditer(text):
        found = match
    return found


def _polish(answer: str) -> str | None:
    """Without surrounding emphasis, quotes, math delimiters and final full stops."""
    if "box" in answer and (inner := boxed(answer)):
        return inner
    answer = answer.strip().strip('*`"“”').strip()
    bare = answer.rstrip(".。,，;；:：!！")
    answer = (answer if bare.endswith("\\") else bare).strip().strip("*").strip()
    if (math := _MATH_SPAN.fullmatch(answer)) is not None:
        answer = math[0].removeprefix("\\(").removesuffix("\\)").removeprefix("\\[").removesuffix("\\]").strip("$").strip()
    return None if _EMPTY_BOX.fullmatch(answer) else answer or None


def _phrase(rest: str, marker: str) -> str | None:
    """What follows a marker such as "the answer is": leading mathematics, else the rest of the sentence."""
    rest = rest.lstrip(' \t\r\n*:：>"')
    if rest.startswith(("the final answer is", "The final answer is")):
        rest = rest[len("the final answer is") :].lstrip(" :")
    if (math := _leading_math(rest)) is not None:
        return _polish(math)
    end = _SENTENCE_END.search(rest)
    sentence = rest[: end.start()] if end else rest
    if not marker.rstrip().endswith(("is", "是", "为", "est", "es", "ist")) and not re.match(
        r"[-+\d(\[{\\$]|[A-H]\b(?!['’ ])", sentence
    ):
        copula = _verb(sentence)
        if copula is not None and sentence[copula.end() :].strip(" ="):
            return _polish(sentence[copula.end() :].lstrip(" ="))
    if (reason := _AFTER_REASON.search(sentence)) is not None and re.match(r"[-+\d\\$]", sentence):
        sentence = sentence[: reason.start()]
    return _polish(sentence)


def _verb(sentence: str) -> re.Match[str] | None:
    """The last "is", "=", 是 ... that does not stand within mathematics."""
    spans = [span.span() for span in _MATH_SPAN.finditer(sentence)]
    found = [verb for verb in _COPULA.finditer(sentence) if not any(start < verb.end() < end for start, end in spans)]
    return found[-1] if found else None


def _leading_math(rest: str) -> str | None:
    """Math spans at the start, joined by commas or "and"; None when the text begins otherwise."""
    end = 0
    while (span := _MATH_SPAN.match(rest, end)) is not None:
        end = span.end()
        if (unit := _AFTER_MATH.match(rest, end)) is not None:
            end = unit.end()
        join = _JOINS.match(rest, end)
        if join is None or _MATH_SPAN.match(rest, join.end()) is None:
            break
        end = join.end()
    return rest[:end] or None


def _closing(tail: str) -> str | None:
    """Rules 6 to 8: the last line `A: X`, or a last sentence that concludes or ends with an equation."""
    tail = tail.rstrip()
    while (trailer := _TRAILER.search(tail[-40:])) is not None:
        tail = tail[: len(tail) - len(tail[-40:]) + trailer.start()].rstrip()
    line = tail.rpartition("\n")[2].strip()
    if (given := _A_LINE.fullmatch(line)) is not None:
        return _polish(given[1])
    return (conclusion(line) or _stated(line)) if _FINISHED.search(line) else None


def _stated(line: str) -> str | None:
    """The value on the right of the equation that a line ends with; None of several, or where a side before says the same."""
    last = _last(_MATH_SPAN, line)
    if last is None or line[last.end() :].strip(" .。*"):
        return None
    *before, right = _EQUATION.split(last[0].strip("$").removeprefix("\\[").removesuffix("\\]").removesuffix("\\)"))
    answer = _polish(right)
    if not before or answer is None or right.rstrip().endswith(",") or answer in [_polish(side) for side in before]:
        return None
    if any(_SEVERAL.search(side) for side in before[1:]):
        return None
    return answer if len(answer) <= 200 and _VALUE.fullmatch(answer) and re.search(r"\d|\\pi", answer) else None


def conclusion(line: str) -> str | None:
    """What the last sentence of a line concludes: what follows its last "is", "equals", 是 ...; None: nothing."""
    starts = [0] + [end.end() for end in re.finditer(r"[.!?]\s+(?=[A-Z#*])|[。！？]", line[:-1])]
    sentence = line[starts[-1] :].strip()
    if not _CONCLUDES.match(sentence) or (copula := _verb(sentence)) is None:
        return None
    rest = sentence[copula.end() :].lstrip(" =:")
    answer = _polish(rest) if _leading_math(rest) is None else _phrase(rest, "is")
    if answer is None or len(answer) > 200 or not re.search(r"\d|\\|^[A-Za-z]\b", answer):
        return None
    return answer
