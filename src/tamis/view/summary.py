"""The report on prompts and their graded generations: how hard, how long, what more samples are worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tamis.store.files import write_atomically
from tamis.summarise.overview import Hard, Lengths, Overview
from tamis.view.bars import Bars, draw_bars
from tamis.view.charts import Line, accuracy_chart
from tamis.view.report import facts_list, page, warnings_list
from tamis.view.text import NOTHING, count, esc, percent, percent_range, shorten

_PROMPT_CHARS = 160


def write_summary_report(
    path: Path, title: str, facts: Mapping[str, str], overview: Overview, warnings: Sequence[str] = ()
) -> None:
    """Write the page; an older file is replaced in one step.

    Raises:
        OSError: The file cannot be written.
    """
    body = (
        f"<header><p class='brand'>Tamis</p><h1>{esc(title)}</h1>{_headline(overview)}{facts_list(facts)}</header>"
        f"{warnings_list(warnings)}{_health(overview)}{_difficulty(overview)}{_curves(overview)}{_lengths(overview)}{_hardest(overview)}"
    )
    write_atomically(path, [page(title, body).encode("utf-8")])


def _headline(found: Overview) -> str:
    bounds = percent_range(found.accuracy.low, found.accuracy.high)
    sure = f" (95 % interval {bounds})" if bounds != NOTHING else ""
    return (
        f'<p class="headline">A generation is right with <strong>{percent(found.accuracy.value)}</strong>{sure}, over '
        f"<strong>{count(found.num_prompts)}</strong> prompts and {count(found.num_rows)} rows; prompts count alike.</p>"
    )


def _health(found: Overview) -> str:
    truncated = found.num_truncated / found.num_known_end if found.num_known_end else math.nan
    cells = (
        ("prompts", count(found.num_prompts), ""),
        ("rows", count(found.num_rows), f"{count(found.fewest_rows)} to {count(found.most_rows)} a prompt"),
        ("truncated", percent(truncated), count(found.num_truncated) if found.num_known_end else "rows do not say"),
        ("say what an earlier row says", percent(found.num_repeated / found.num_rows), count(found.num_repeated)),
        ("prompts with several references", count(found.num_differing), ""),
    )
    items = "".join(f"<div><dt>{name}</dt><dd>{value} <small>{more}</small></dd></div>" for name, value, more in cells)
    return f'<dl class="health">{items}</dl>'


def _difficulty(found: Overview) -> str:
    names = ["never"] + [f"{10 * tenth}–{10 * tenth + 10}{' %' if tenth == 9 else ''}" for tenth in range(10)] + ["always"]
    bars = Bars(
        name="difficulty",
        title="Prompts by average accuracy",
        x="average accuracy of the prompt, in percent",
        labels=tuple(names),
        series=(("prompts", "line-0", found.bins),),
    )
    note = "Those that are never or always right teach a policy nothing: tamis summarise --keep 0.1:0.9 writes the others."
    return (
        '<section aria-labelledby="difficulty"><h2 id="difficulty">How hard the prompts are</h2>'
        f'<p class="note">{note}</p>{draw_bars(bars)}</section>'
    )


def _curves(found: Overview) -> str:
    if len(found.pass_at_k) < 2:
        return ""
    lines = [Line("pass@k: any of k is right", found.pass_at_k, "line-0", "", banded=True)]
    lines += [Line("maj@k: the majority of k is right", found.maj_at_k, "line-1", "", banded=True)] if found.maj_at_k else []
    lines.append(Line("one sample", found.pass_at_k[:1], "baseline", "5 4", banded=False))
    few = f" Over the {count(found.in_curves)} prompts with rows enough." if found.in_curves < found.num_prompts else ""
    votes = (
        " In votes right rows are one answer and wrong ones go by their text."
        if found.maj_at_k
        else " No maj@k: answers were not looked for."
    )
    return (
        '<section aria-labelledby="curves"><h2 id="curves">What more samples are worth</h2>'
        f'<p class="note">Exact over all subsets of the rows of a prompt.{votes}{few}</p>{accuracy_chart(lines)}</section>'
    )


def _lengths(found: Overview) -> str:
    num = max(len(found.right.in_bins), len(found.wrong.in_bins))
    first = next((place for place in range(num) if _bin(found.right, place) or _bin(found.wrong, place)), 0)
    places = range(first, num)
    bars = Bars(
        name="lengths",
        title="Tokens of right and of wrong rows",
        x="tokens of a row, from … on",
        labels=tuple("0" if place == 0 else count(2 ** (place - 1)) for place in places),
        series=tuple(
            (f"{name}, {count(lengths.num)} rows", style, tuple(_bin(lengths, place) / max(1, lengths.num) for place in places))
            for name, style, lengths in (("right", "line-2", found.right), ("wrong", "line-1", found.wrong))
            if lengths.num
        ),
        shares=True,
    )
    rows = "".join(_length_row(name, lengths) for name, lengths in (("right", found.right), ("wrong", found.wrong)))
    head = "".join(f'<th scope="col" class="num">{name}</th>' for name in ("Rows", "Mean", "Median", "90 % below", "Longest"))
    return (
        '<section aria-labelledby="lengths"><h2 id="lengths">Length and correctness</h2>'
        '<p class="note">Shares of the right and of the wrong rows. A row is right from an accuracy of 1 on.</p>'
        f'{draw_bars(bars)}<div class="scroll"><table><thead><tr><th scope="col">Tokens of rows</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _bin(lengths: Lengths, place: int) -> int:
    return lengths.in_bins[place] if place < len(lengths.in_bins) else 0


def _length_row(name: str, lengths: Lengths) -> str:
    longest = count(lengths.longest) if lengths.num else NOTHING
    cells = (count(lengths.num), count(lengths.mean), count(lengths.median), count(lengths.p90), longest)
    return f'<tr><th scope="row">{name}</th>{"".join(f"""<td class="num">{cell}</td>""" for cell in cells)}</tr>'


def _hardest(found: Overview) -> str:
    rows = "".join(_hard_row(hard) for hard in found.hardest)
    return (
        '<section aria-labelledby="hardest"><h2 id="hardest">The hardest prompts</h2><div class="scroll"><table>'
        f"<caption>The {len(found.hardest)} of lowest accuracy; of equals those with the longest rows.</caption>"
        '<thead><tr><th scope="col">Prompt</th><th scope="col" class="num">Accuracy</th><th scope="col" class="num">Rows</th>'
        f'<th scope="col" class="num">Tokens, mean</th></tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _hard_row(hard: Hard) -> str:
    return (
        f'<tr><th scope="row"><bdi>{esc(shorten(hard.prompt, _PROMPT_CHARS))}</bdi></th>'
        f'<td class="num">{percent(hard.average_accuracy)}</td><td class="num">{count(hard.count)}</td>'
        f'<td class="num">{count(hard.avg_gen_length)}</td></tr>'
    )
