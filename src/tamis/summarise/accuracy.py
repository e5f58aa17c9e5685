"""Right and wrong, counted one by one: accuracy with its interval, in all and by groups. What is not graded is neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tamis.summarise.intervals import wilson


@dataclass(slots=True)
class Accuracy:
    """How many are right of how many."""

    correct: int = 0
    total: int = 0

    def add(self, correct: bool | None) -> None:  # noqa: FBT001 it is the value
        """Take in one; None counts nowhere."""
        if correct is not None:
            self.correct += correct
            self.total += 1

    def to_json(self) -> dict[str, Any]:
        """`accuracy`, `correct`, `total` and `interval` (Wilson, 95 %); null where nothing was graded."""
        share = wilson(self.correct, self.total)
        known = self.total > 0
        return {
            "accuracy": share.value if known else None,
            "correct": self.correct,
            "total": self.total,
            "interval": [share.low, share.high] if known else None,
        }


@dataclass(slots=True)
class Grouped:
    """The same in all, and by each value of some labels."""

    names: tuple[str, ...]
    all: Accuracy = field(default_factory=Accuracy)
    groups: dict[str, dict[str, Accuracy]] = field(default_factory=dict)

    def add(self, correct: bool | None, labels: Mapping[str, Any]) -> None:  # noqa: FBT001
        """Take in one with its labels; one that it lacks puts it into no group."""
        self.all.add(correct)
        for name in self.names:
            if labels.get(name) is not None:
                self.groups.setdefault(name, {}).setdefault(str(labels[name]), Accuracy()).add(correct)

    def by(self, name: str) -> dict[str, Any]:
        """The accuracies by the values of a label, in order of the values."""
        return {value: found.to_json() for value, found in sorted(self.groups.get(name, {}).items())}
