"""How often an image is accepted, by how many candidates it is given and by the temperature they are drawn at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.summarise.intervals import mean_interval
from tamis.summarise.metrics import pass_at_k
from tamis.summarise.results import Interval

if TYPE_CHECKING:
    from tamis.score.grading import Rejected


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The images with enough graded candidates at one temperature."""

    temperature: float
    num_candidates: int  # drawn of each
    num_images: int
    share: Interval  # of the images: expected over all choices of so many of the candidates that are there


def acceptance(results: Iterable[Rejected], threshold: float, sizes: Sequence[int]) -> list[Acceptance]:
    """The share at each temperature, in rising order, and at each size; images with fewer graded candidates are left out."""
    counts: dict[float, list[tuple[int, int]]] = {}  # a temperature: of each image the graded and the accepted
    for rejected in results:
        graded, accepted = Counter[float](), Counter[float]()
        for candidate in rejected.candidates:
            score = candidate.judgement.score if candidate.judgement else None
            if score is not None:
                graded[candidate.arm.temperature] += 1
                accepted[candidate.arm.temperature] += score >= threshold
        for temperature, num in graded.items():
            counts.setdefault(temperature, []).append((num, accepted[temperature]))
    found = []
    for temperature in sorted(counts):
        for size in sizes:
            chances = np.array([pass_at_k(n, c, size) for n, c in counts[temperature] if n >= size])
            found.append(Acceptance(temperature, size, len(chances), mean_interval(chances, bounds=(0.0, 1.0))))
    return found
