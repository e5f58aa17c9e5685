"""Small runs to report on, and a strict reader of the page."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import numpy as np

from tamis.records import STATISTICS, Choice, Grade, Pool, Problem, Sample, Sampling, TokenStats
from tamis.summarise.results import Comparison, CurvePoint, Health, Interval, MethodResult
from tamis.view.report import render_report

NAN = math.nan
HOSTILE = (
    "<script>alert(1)</script>", "</details></div></main>", "<img src=x onerror=alert(1)>", "\" onmouseover='x' class=\"",
    "{0} {x!r} %s {{}} ${y}", "a\u202eb\u2066c\u2069", "nul\x00 bell\x07 esc\x1b[31m", "lone \ud800 and \udfff",
    "&lt;&amp;&#60;", "-->]]><!--",
    "\r\ncr\r", "\x85\x9f\ufffe",
)  # fmt: skip


def stats_of(text: str, seed: int = 0, vocab_size: int = 50) -> TokenStats:
    """One token a character, with statistics of real random distributions."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(text), vocab_size)) * rng.uniform(0.2, 4, size=(len(text), 1))
    logp = np.sort(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), axis=1)[:, ::-1]
    p = np.exp(logp)
    columns = {
        "logp": logp[:, 0], "rank": np.ones(len(text)), "entropy": -(p * logp).sum(axis=1), "mean_logp": logp.mean(axis=1),
        "sum_p2": (p * p).sum(axis=1), "lp1": logp[:, 0], "lp2": logp[:, 1], "sum_top5": logp[:, :5].sum(axis=1),
        "sum_top20": logp[:, :20].sum(axis=1),
    }  # fmt: skip
    values = np.stack([columns[name] for name in STATISTICS], axis=1).astype(np.float32)
    places = np.arange(len(text), dtype=np.int32)
    return TokenStats(values, places, places, vocab_size)


def sample_of(text: str, index: int = 0, *, problem: str = "p1", stats: bool = True, **fields) -> Sample:
    token_stats = stats_of(text, index) if stats and text else None
    values = {"parts": (text,), "completion_tokens": len(text), "stats": token_stats, **fields}
    return Sample(f"{problem}-{index}", problem, index, 7, Sampling(), **values)


def pool_of(texts, answers, reference="4", *, problem="p1", prompt="What is 2 + 2?", stats=True) -> Pool:
    samples = tuple(sample_of(text, index, problem=problem, stats=stats) for index, text in enumerate(texts))
    grades = tuple(Grade(s.key, a, a == reference) for s, a in zip(samples, answers, strict=True))
    seen: dict[str, int] = {}
    clusters = tuple(-1 if a is None else seen.setdefault(a, len(seen)) for a in answers)
    scores = {"mean-self-certainty": tuple(float(index) for index in range(len(samples)))} if stats else {}
    return Pool(Problem(problem, prompt, answer=reference), samples, grades, clusters, scores)


def method(
    name: str, accuracy: float, difference: tuple[float, float, float] | None, curve=(1, 2, 4), **fields
) -> MethodResult:
    points = tuple(CurvePoint(n, Interval(accuracy, accuracy - 0.1, accuracy + 0.1)) for n in curve)
    values = {"num_problems": 60, "num_abstained": 0, "tokens_per_problem": 1234.4, "curve": points, **fields}
    interval = Interval(*difference) if difference else None
    return MethodResult(name, Interval(accuracy, accuracy - 0.1, accuracy + 0.1), interval, **values)


def comparison_of(*methods: MethodResult, oracle=(0.5, 0.7, 0.9), samples: int = 4, left_out=()) -> Comparison:
    points = [CurvePoint(2**k, Interval(value, value - 0.05, value + 0.05)) for k, value in enumerate(oracle)]
    return Comparison(60, samples, methods, points, Health(240, 3, 5, 0, 0), left_out)


TYPICAL = (
    method("one sample", 0.5, None),
    method("majority", 0.62, (0.12, 0.05, 0.2)),
    method("best-of-n margin", 0.45, (-0.05, -0.09, -0.01)),
    method("best-of-n gini", 0.52, (0.02, -0.03, 0.07), num_abstained=3),
)


def page_of(**fields) -> str:
    values = {
        "title": "A run", "facts": {"model": "tiny"}, "comparison": comparison_of(*TYPICAL), "pools": (), "choices": (),
        "scorer_for_colour": "mean-self-certainty", "warnings": (),
    }  # fmt: skip
    return render_report(**{**values, **fields})


def typical_page(**fields) -> str:
    pool = pool_of(["2 + 2 = 4", "It is 5.", "no idea"], ["4", "5", None])
    choices = [Choice("p1", "majority", 0, "4"), Choice("p1", "best-of-n margin", 1, "5"), Choice("p1", "best-of-n gini", None)]
    return page_of(**{"pools": (pool,), "choices": choices, **fields})


class Page(HTMLParser):
    """Reads a page and fails on whatever a careful author would not have written."""

    VOID = frozenset({"meta", "link", "br"})
    TAGS = frozenset(
        """html head meta link title style body main header section article nav figure figcaption h1 h2 h3 p div span small
        strong b ul li dl dt dd bdi a button details summary table caption thead tbody tr th td svg g path line text circle rect
        desc script""".split()  # noqa: SIM905
    )

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=False)
        self.stack: list[tuple[str, dict[str, str]]] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.words: list[str] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []  # (class names of the ancestors, text)
        self.source = source
        self.feed(source)
        self.close()
        assert not self.stack, f"left open: {self.stack}"

    def handle_starttag(self, tag, attrs):
        assert tag in self.TAGS, tag
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), attrs
        values = {name: value if value is not None else "" for name, value in attrs}
        for name, value in values.items():
            assert not name.startswith("on"), attrs
            assert name not in ("style", "src", "srcset", "xlink:href"), attrs
            if name == "href":
                assert value.startswith("#") or (tag, value) == ("link", "data:,")
        self.elements.append((tag, values))
        if tag not in self.VOID:
            self.stack.append((tag, values))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack, tag
        assert self.stack[-1][0] == tag, (tag, self.stack[-1])
        self.stack.pop()

    def handle_data(self, data):
        tag = self.stack[-1][0] if self.stack else ""
        if tag == "script":
            self.scripts.append(data)
        elif tag == "style":
            self.styles.append(data)
        else:
            assert not set(data) & set("<>&\x00"), data
            self._word(data)

    def handle_entityref(self, name):
        self._word({"amp": "&", "lt": "<", "gt": ">", "quot": '"'}[name])

    def handle_charref(self, name):
        assert name == "x27"
        self._word("'")

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def unknown_decl(self, data):
        raise AssertionError(f"a declaration: {data}")

    def _word(self, text):
        self.words.append(text)
        classes = tuple(name for _, attrs in self.stack for name in attrs.get("class", "").split())
        self.texts.append((classes, text))

    @property
    def text(self) -> str:
        return "".join(self.words)

    def inside(self, *classes: str) -> str:
        """All text below elements of these classes."""
        return "".join(text for found, text in self.texts if set(classes) <= set(found))

    def having(self, tag: str, class_name: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.elements if name == tag and class_name in attrs.get("class", "").split()]


def numbers_of_svg(page: Page) -> list[float]:
    """Every number in the geometry of the drawings; fails on what is not finite."""
    found = []
    for tag, attrs in page.elements:
        for name in ("d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "points", "viewbox"):
            if tag in ("path", "line", "text", "circle", "rect", "svg") and name in attrs:
                parts = [part for part in re.split(r"[MLHZ\s,]+", attrs[name]) if part]
                found += [float(part) for part in parts]
    assert all(map(math.isfinite, found)), found
    return found
