"""Configuration: one frozen dataclass a stage. Values only: no logic, no file, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tamis.prompts import PromptTemplate
from tamis.records import Sampling

EMBEDDED, EMBEDDED_REMAINDERS, EMBEDDED_VISION = "embedded", "embedded-remainders", "embedded-vision"
EMBEDDED_INTERLEAVE = "embedded-interleave"
"""The names of the models that ship with Tamis; the second is an adapter over the first."""

TokenStatsMode = Literal["full", "none"]


AdaptiveRule = Literal["adaptive-consistency", "adaptive-dirichlet", "esc", "deepconf-online"]


@dataclass(frozen=True, slots=True)
class AdaptiveSampling:
    """When a problem has samples enough before it has `Sampling.n` of them."""

    rule: AdaptiveRule  # see `select.stopping.RULES`
    threshold: float = 0.95  # chance that the leading answer is the likeliest; of deepconf-online, its share of the weight
    window: int | Literal["auto"] = "auto"  # deepconf-online: tokens a group


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which model, on which engine, in which numbers."""

    model: str  # local folder, hub name, "embedded", or its name on a server
    engine: str = "hf"
    batch_size: int | Literal["auto"] = "auto"
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    base_model: str | None = None  # of an adapter; None: the one that it names
    use_lora: bool | None = None  # True wants an adapter, False a whole model; None: what the folder holds
    allow_pickle: bool = False
    max_prompt_tokens: int | None = None  # None: as many as the model's context holds
    truncate: bool = False  # a longer prompt, instead of refusing it
    tensor_parallel: int = 1  # devices that the vllm engine spreads the model over
    base_urls: tuple[str, ...] = ()  # of servers
    max_rps: float | None = None  # requests a second that they are sent together; None: no limit
    api_key: str | None = field(default=None, repr=False)  # never written anywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing(ModelSettings):
    """All that decides which samples are drawn, and where they are kept."""

    dataset: str
    sampling: Sampling
    prompt: PromptTemplate = field(default_factory=PromptTemplate)
    split: str = "test"
    limit: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)  # our name (question, answer, id) -> the source's
    run: Path | None = None  # None: runs/<dataset>-<model>
    resume: bool = False  # refuse to start afresh where there is nothing to resume
    fork: bool = False
    token_stats: TokenStatsMode = "full"
    hidden_states: bool = False  # take the chains of embedding too
    adaptive: AdaptiveSampling | None = None
    workers: int = 0  # on a Ray cluster, each of which holds the model; 0: it is held by this process


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving(ModelSettings):
    """A service: which model, where it listens, and how much it lets be asked."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0: one that is free
    max_concurrent: int = 256  # requests under work
    max_body: int = 1 << 20  # bytes of a request
    max_tokens: int = 4096  # of an answer
    max_samples: int = 64  # drawn for a request
    keys: tuple[str, ...] = field(default=(), repr=False)  # one of which a client must have; never written anywhere


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """What can be set about scores; the defaults are those of docs/methods.md."""

    alpha: float = 0.4  # `infer`: self-certainty against negative entropy inside each step
    normalize: Literal["none", "zscore"] = "none"  # `infer`: bring both parts to one scale within each problem first
    lambda_weight: float = 0.5  # the blends of `compare`: step probability against confidence
    window: int | Literal["auto"] = "auto"  # `deepconf-*`: tokens a group
    reward_steps: Literal["last", "min", "prod", "mean"] = "last"  # `reward`: the step rewards of an answer to one


@dataclass(frozen=True, slots=True)
class Choosing:
    """How the best of a problem's samples is chosen."""

    method: str = "infer"
    scores: ScoreSettings = field(default_factory=ScoreSettings)
    seed: int = 0
    key_steps: bool = False  # say of the chosen sample which steps decide


@dataclass(frozen=True, slots=True)
class Asking:
    """Who is asked about samples that are there, and how."""

    itself: ModelSettings | None = None  # the model that drew them: reads them again, and judges them itself
    judge: ModelSettings | None = None
    reward: ModelSettings | None = None
    judge_template: str | None = None  # None: our own
    judge_sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, max_tokens=512))
    fork: bool = False


Strategy = Literal["random", "grid", "adaptive"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One cell of a grid: a prompt and a way to sample ("arm" as of bandits)."""

    prompt_key: str
    temperature: float
    top_p: float
    top_k: int  # 0 is off


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejecting:
    """Rejection sampling: which candidates are drawn for each image, who judges them, and which are kept."""

    generator: ModelSettings
    judge: ModelSettings
    prompts: Mapping[str, str]  # key -> what is asked about an image
    grading_template: str  # see `score.grading`
    arms: tuple[Arm, ...]  # the whole grid
    num_candidates: int  # an image, at most
    output_dir: Path
    strategy: Strategy = "random"  # see `sample.strategies`
    threshold: float = 80.0  # the score, 0 to 100, from which on the best candidate is accepted
    stop_early: bool = False  # candidates one after another, until one reaches the threshold
    max_tokens: int = 1024
    judge_max_tokens: int = 2048
    judge_temperature: float = 0.0
    seed: int = 0
    resume: bool = False  # refuse to start afresh where there is nothing to resume
    fork: bool = False
    retry_failed: bool = False  # ask the judge again about what it gave no score; failures are owed anyway
    rejudge: bool = False  # draw nothing: judge what is there, by another judge or template if these are others
    extend_truncated: bool = False  # draw again, under a larger `max_tokens`, what was cut off
    max_in_flight: int = 256  # images
