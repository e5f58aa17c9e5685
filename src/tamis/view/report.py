"""One run on one page: a single HTML file that needs no network, no server and no library.

The page may run exactly one script and one style sheet, its own: the content security policy names both by hash, so that
nothing which a model wrote could run even if it were not escaped.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from tamis.records import Choice, Pool
from tamis.store.files import write_atomically
from tamis.summarise.results import ORACLE, TRUNCATED_LIMIT, Comparison, Health
from tamis.view.budgets import budget_section
from tamis.view.candidates import candidates_section
from tamis.view.charts import accuracy_chart, chart_lines
from tamis.view.confidence import confidence_section
from tamis.view.methods import group_tables, headline, method_table, ranked
from tamis.view.text import count, esc, percent
from tamis.view.tokens import Scale


def write_report(
    path: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    comparison: Comparison,
    pools: Iterable[Pool] = (),
    choices: Mapping[str, Sequence[Choice]] | None = None,
    scorer_for_colour: str = "mean-self-certainty",
    warnings: Sequence[str] = (),
) -> None:
    """Write the report of a run; an older file is replaced in one step, or left as it was if anything fails.

    Args:
        path: The file to write; its folder exists.
        title: The heading of the page.
        facts: What the run was, in the order shown: model, engine, samples, seed, versions, ...
        comparison: The numbers of all methods.
        pools: The few problems to show with their candidates (about ten; each costs some 30 kB).
        choices: What the methods chose, under any key: each choice names its problem and its method itself. Method and
            selector carry the same name (`Choice.selector == MethodResult.method`).
        scorer_for_colour: What the tokens are coloured by, one of `tokens.TOKEN_CONFIDENCE`.
        warnings: Lines shown in a box above the numbers.

    Raises:
        UsageError: `scorer_for_colour` is no confidence of single tokens.
        OSError: the file cannot be written.
    """
    page = render_report(
        title=title,
        facts=facts,
        comparison=comparison,
        pools=tuple(pools),
        choices=[choice for made in (choices or {}).values() for choice in made],
        scorer_for_colour=scorer_for_colour,
        warnings=warnings,
    )
    write_atomically(path, [page.encode("utf-8")])


def render_report(
    *,
    title: str,
    facts: Mapping[str, str],
    comparison: Comparison,
    pools: Sequence[Pool],
    choices: Sequence[Choice],
    scorer_for_colour: str,
    warnings: Sequence[str],
) -> str:
    """The page as a string; see `write_report`."""
    # the oracle is no method that one could take: it has a line of its own, from pass@k
    comparison = replace(comparison, methods=[line for line in comparison.methods if line.method != ORACLE])
    scale = Scale.fit(scorer_for_colour, (sample for pool in pools for sample in pool.samples))
    body = (
        f"<header><p class='brand'>Tamis</p><h1>{esc(title)}</h1>{headline(comparison)}{facts_list(facts)}</header>"
        f"{warnings_list(warnings)}"
        f'<section aria-labelledby="methods"><h2 id="methods">Methods</h2>{method_table(comparison)}'
        f"{_health(comparison.health)}{_left_out(comparison.left_out)}{group_tables(comparison)}</section>"
        f"{budget_section(comparison)}"
        '<section aria-labelledby="curves"><h2 id="curves">Accuracy against the number of samples</h2>'
        f"{accuracy_chart(chart_lines(comparison))}</section>"
        f"{confidence_section(comparison)}"
        f"{candidates_section(pools, choices, [m.method for m in ranked(comparison)], scale)}"
    )
    return page(title, body)


def page(title: str, body: str) -> str:
    """A whole document with the one style sheet and the one script."""
    style, script = _asset("page.css"), _asset("page.js")
    sources = f"style-src {_hash(style)}; script-src {_hash(script)}; img-src data:"
    policy = f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{esc(title)}</title>\n<style>{style}</style>\n</head>\n"
        f'<body>\n<main>{body}</main>\n<div id="tip" role="status" hidden></div>\n<script>{script}</script>\n</body>\n</html>\n'
    )


def facts_list(facts: Mapping[str, str]) -> str:
    """What a run was: names and values."""
    items = "".join(f"<div><dt>{esc(name)}</dt><dd><bdi>{esc(value)}</bdi></dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{items}</dl>' if items else ""


def warnings_list(warnings: Sequence[str]) -> str:
    """The box above the numbers; nothing without warnings."""
    lines = "".join(f"<li>{esc(line)}</li>" for line in warnings)
    return f'<ul class="warnings" aria-label="Warnings">{lines}</ul>' if lines else ""


def _health(health: Health) -> str:
    """What is wrong with the samples, as shares of all of them."""
    parts = [
        ("truncated", health.num_truncated, health.rate(health.num_truncated) > TRUNCATED_LIMIT),
        ("no answer found", health.num_unparseable, False),
        ("not graded", health.num_ungraded, False),
        ("failed", health.num_failed, health.num_failed > 0),
    ]
    cells = "".join(
        f"<div{' class=warn' if alarming else ''}><dt>{name}</dt><dd>{percent(health.rate(number))}"
        f"{f' <small>{count(number)}</small>' if not math.isnan(health.rate(number)) else ''}</dd></div>"
        for name, number, alarming in parts
    )
    return f'<dl class="health"><div><dt>samples</dt><dd>{count(health.num_samples)}</dd></div>{cells}</dl>'


def _left_out(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{esc(line)}</li>" for line in lines)
    return f'<div class="left-out"><p class="label">Left out of the numbers</p><ul>{items}</ul></div>' if items else ""


def _asset(name: str) -> str:
    return files("tamis.view").joinpath(name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode('utf-8')).digest()).decode()}'"
