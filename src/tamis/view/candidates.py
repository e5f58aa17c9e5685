"""Some problems with all their candidates: what each answered, how it was scored, and which methods chose it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tamis.records import Choice, Grade, Image, Pool, Problem, Sample
from tamis.view.text import NOTHING, count, esc, number, shorten
from tamis.view.tokens import Scale, token_text

MOST_CANDIDATES = 32  # shown of one problem; the chosen ones are always among them
PROBLEM_CHARS, ANSWER_CHARS = 8_000, 80
STRIP_WIDTH = 1000


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One sample with all that the page says of it. `verdict` is one of the keys of `VERDICTS`."""

    sample: Sample
    grade: Grade | None
    verdict: str
    scores: Mapping[str, float | None]
    methods: Sequence[str]  # those that chose it, best first

    @property
    def answer(self) -> str | None:
        return self.grade.answer if self.grade else None


VERDICTS = {
    "right": ("✓", "right"),
    "wrong": ("✗", "wrong"),
    "none": ("∅", "no answer"),
    "ungraded": ("?", "not graded"),
    "failed": ("!", "failed"),
}


def candidates_section(pools: Sequence[Pool], choices: Iterable[Choice], ranking: Sequence[str], scale: Scale | None) -> str:
    """The section of the page. `ranking` names the methods, best first: the choice of the first of them is THE chosen one."""
    if not pools:
        return ""
    place = {method: index for index, method in enumerate(ranking)}
    by_problem: dict[str, list[Choice]] = {}
    for choice in choices:
        by_problem.setdefault(choice.problem_id, []).append(choice)
    for made in by_problem.values():
        made.sort(key=lambda choice: place.get(choice.selector, len(place)))
    cards, links = [], []
    for index, pool in enumerate(pools, 1):
        card, kind = _card(index, pool, by_problem.get(pool.problem.id, []), scale)
        cards.append(card)
        sign, word = VERDICTS.get(kind, ("", ""))
        links.append(f'<a href="#problem-{index}" class="{kind}">{index} <span class="sign" title="{word}">{sign}</span></a>')
    note = "No method chose among these candidates."
    if by_problem:
        note = "The candidate that the best method chose stands first, open. Beside each stand the methods that chose it."
    colour = scale.legend() if scale else '<p class="scale"><small>No token statistics, so no colours.</small></p>'
    return (
        '<section aria-labelledby="problems"><h2 id="problems">Problems and their candidates</h2>'
        f'<p class="note">{note}</p><div class="tools">{colour}'
        f'<nav aria-label="Problems">{"".join(links)}</nav>'
        '<button type="button" data-unfold aria-expanded="false">Unfold all</button></div>'
        f"{''.join(cards)}</section>"
    )


def _card(index: int, pool: Pool, made: Sequence[Choice], scale: Scale | None) -> tuple[str, str]:
    """The card of one problem, and the verdict on its chosen candidate (`` when no method chose)."""
    everyone = _candidates(pool, made)
    chosen = next((c.index for c in made if c.index is not None), None)
    first = [candidate for candidate in everyone if candidate.sample.index == chosen]
    others = [candidate for candidate in everyone if candidate.sample.index != chosen]
    # those that some method chose come before the limit, yet all stand in the order of their draw
    kept = sorted(others, key=lambda candidate: not candidate.methods)[: MOST_CANDIDATES - len(first)]
    kept.sort(key=lambda candidate: candidate.sample.index)
    left_out = len(others) - len(kept)
    rows = [_row(candidate, pool, scale, chosen=True) for candidate in first]
    rows += [_row(candidate, pool, scale, chosen=False) for candidate in kept]
    if left_out:
        rows.append(f'<p class="note">{count(left_out)} more candidates, chosen by no method, are not shown here.</p>')
    name = esc(shorten(pool.problem.id, ANSWER_CHARS))
    card = (
        f'<article class="problem" id="problem-{index}" aria-labelledby="problem-{index}-name">'
        f'<h3 id="problem-{index}-name"><span>Problem {index}</span> <small>{name}</small></h3>'
        f"{_problem_text(pool.problem)}{_reference(pool.problem)}{_answers(everyone, pool)}{_abstained(made)}"
        f'<div class="candidates">{"".join(rows)}</div></article>'
    )
    return card, first[0].verdict if first else ""


def _candidates(pool: Pool, made: Sequence[Choice]) -> list[_Candidate]:
    methods: dict[int, list[str]] = {}
    for choice in made:
        if choice.index is not None:
            note = "" if choice.accepted else " (below its threshold)"
            methods.setdefault(choice.index, []).append(choice.selector + note)
    found = []
    for place, sample in enumerate(pool.samples):
        grade = pool.grades[place] if place < len(pool.grades) else None
        scores = {name: values[place] for name, values in pool.scores.items() if place < len(values)}
        found.append(_Candidate(sample, grade, _verdict(sample, grade), scores, methods.get(sample.index, ())))
    return found


def _verdict(sample: Sample, grade: Grade | None) -> str:
    if sample.error:
        return "failed"
    if grade is not None and grade.correct:
        return "right"
    if grade is not None and grade.answer is None:
        return "none"
    return "ungraded" if grade is None or grade.correct is None else "wrong"


# --- the problem -------------------------------------------------------------------------------------------------


def _problem_text(problem: Problem) -> str:
    turns = [(message.role, message.content) for message in problem.messages] or [("", problem.prompt)]
    parts = []
    for role, content in turns:
        text = content.replace("\r\n", "\n").strip()
        more = len(text) - PROBLEM_CHARS
        cut = f'<p class="cut">{count(more)} characters are not shown here</p>' if more > 0 else ""
        label = f'<p class="label">{esc(role)}</p>' if role else ""
        parts.append(f'{label}<div class="text" dir="auto" lang="">{esc(text[:PROBLEM_CHARS])}</div>{cut}')
    images = f'<p class="note">Images: {esc(", ".join(problem.images))}</p>' if problem.images else ""
    return f'<div class="question">{"".join(parts)}{images}</div>'


def _reference(problem: Problem) -> str:
    answer = "none given" if problem.answer is None else f"<bdi>{esc(shorten(problem.answer, 4 * ANSWER_CHARS))}</bdi>"
    return f'<p class="reference"><span class="label">Reference</span> {answer}</p>'


def _answers(everyone: Sequence[_Candidate], pool: Pool) -> str:
    """How the candidates divide over the answers: one bar, and one label an answer, the most frequent first."""
    groups: dict[object, list[_Candidate]] = {}
    for place, candidate in enumerate(everyone):
        cluster = pool.clusters[place] if place < len(pool.clusters) else -1
        key: object = cluster if cluster >= 0 else candidate.answer if candidate.answer is not None else candidate.verdict
        groups.setdefault(key, []).append(candidate)
    ordered = sorted(groups.values(), key=lambda group: -len(group))
    if not ordered:
        return '<p class="note">No samples.</p>'
    bars: list[str] = []
    labels: list[str] = []
    left = 0.0
    for group in ordered:
        width = STRIP_WIDTH * len(group) / len(everyone)
        kind = Counter(candidate.verdict for candidate in group).most_common(1)[0][0]
        bars.append(f'<rect class="{kind}" x="{left:.1f}" width="{max(1.0, width - 4):.1f}" height="8"/>')
        left += width
        sign, word = VERDICTS[kind]
        answer = group[0].answer
        name = f"<bdi>{esc(shorten(answer, ANSWER_CHARS // 2))}</bdi> " if answer is not None else ""
        described = f'<span class="sign" aria-hidden="true">{sign}</span> ' + (
            f'<span class="aside">{word}</span>' if answer is not None else f"{word} "
        )
        if len(labels) < 8:
            labels.append(f'<li class="{kind}">{described}{name}<small>× {len(group)}</small></li>')
    more = f"<li><small>and {len(ordered) - len(labels)} more</small></li>" if len(ordered) > len(labels) else ""
    return (
        f'<svg class="strip" viewBox="0 0 {STRIP_WIDTH} 8" preserveAspectRatio="none" aria-hidden="true">{"".join(bars)}</svg>'
        f'<ul class="answers" aria-label="Answers of the {len(everyone)} candidates">{"".join(labels)}{more}</ul>'
    )


def _abstained(made: Sequence[Choice]) -> str:
    names = [choice.selector for choice in made if choice.index is None]
    return f'<p class="note">Chose nothing: {esc(", ".join(names))}.</p>' if names else ""


# --- a candidate -------------------------------------------------------------------------------------------------


def _row(candidate: _Candidate, pool: Pool, scale: Scale | None, *, chosen: bool) -> str:
    sample = candidate.sample
    sign, word = VERDICTS[candidate.verdict]
    answer = f"<bdi>{esc(shorten(candidate.answer, ANSWER_CHARS))}</bdi>" if candidate.answer is not None else ""
    badges = "".join(f"<li>{esc(method)}</li>" for method in candidate.methods)
    badge_list = f'<ul class="badges" aria-label="chosen by">{badges}</ul>' if badges else ""
    mark = '<span class="mark">chosen</span>' if chosen else ""
    cut = '<span class="warn">truncated</span>' if sample.truncated else ""
    confidence = candidate.scores.get(scale.name) if scale else None
    aside = f"{count(sample.completion_tokens)} tokens"
    if scale and confidence is not None:
        aside += f" · {scale.name} {number(confidence)}"
    return (
        f'<details class="candidate{" chosen" if chosen else ""}"{" open" if chosen else ""}><summary>'
        f'<span class="index">{sample.index}</span><span class="verdict {candidate.verdict}">'
        f'<span class="sign" aria-hidden="true">{sign}</span> {word}</span>'
        f'<span class="answer">{answer}</span>{mark}{cut}<small>{aside}</small>'
        f'{badge_list}</summary><div class="body">{_body(candidate, scale)}{_scores(candidate, pool)}</div></details>'
    )


def _body(candidate: _Candidate, scale: Scale | None) -> str:
    sample, grade = candidate.sample, candidate.grade
    parts = []
    if sample.error:
        parts.append(f'<p class="warn">Failed ({esc(sample.error.boundary)}): {esc(shorten(sample.error.message, 400))}</p>')
    if sample.text:
        parts.append(token_text(sample, scale))
    elif not sample.error:
        parts.append('<p class="note">The text is empty.</p>')
    if images := [part.path for part in sample.parts if isinstance(part, Image)]:
        parts.append(f'<p class="note">Images: {esc(", ".join(images))}</p>')
    if grade is not None and grade.reason:
        parts.append(f'<p class="note">Not graded: {esc(grade.reason.replace("_", " "))}.</p>')
    return "".join(parts)


def _scores(candidate: _Candidate, pool: Pool) -> str:
    """All scores with their rank among the candidates of the problem; a score that is missing has no rank."""
    items = []
    for name, value in candidate.scores.items():
        known = [other for other in pool.scores[name] if other is not None]
        rank = f"<small>{1 + sum(other > value for other in known)} of {len(known)}</small>" if value is not None else ""
        items.append(f"<div><dt>{esc(name)}</dt><dd>{number(value) if value is not None else NOTHING} {rank}</dd></div>")
    return f'<dl class="scores">{"".join(items)}</dl>' if items else ""
