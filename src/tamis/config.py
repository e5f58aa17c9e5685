"""Configuration: one frozen dataclass a stage. Values only: no logic, no file, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tamis.prompts import PromptTemplate
from tamis.records import Sampling

EMBEDDED = "embedded"
"""The name of the model that ships with Tamis."""

TokenStatsMode = Literal["full", "none"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """All that decides which samples are drawn, and where they are kept."""

    model: str  # local folder, hub name, or "embedded"
    dataset: str
    sampling: Sampling
    prompt: PromptTemplate = field(default_factory=PromptTemplate)
    engine: str = "hf"
    batch_size: int | Literal["auto"] = "auto"
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    split: str = "test"
    limit: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)  # our name (question, answer, id) -> the source's
    run: Path | None = None  # None: runs/<dataset>-<model>
    resume: bool = False  # refuse to start afresh where there is nothing to resume
    fork: bool = False
    token_stats: TokenStatsMode = "full"


@dataclass(frozen=True, slots=True)
class Choosing:
    """How the best of a problem's samples is chosen, and by whom the answers are graded."""

    method: str = "infer"
    alpha: float = 0.4  # weight of self-certainty against negative entropy inside each step
    seed: int = 0
