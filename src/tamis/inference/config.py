"""What a trained model is asked with: `InferenceConfig`, and what it comes to for the engines and the workflows."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, Self

from tamis.config import EMBEDDED, Drawing, ModelSettings, TokenStatsMode
from tamis.errors import UsageError
from tamis.inference.kinds import KINDS, complaint
from tamis.inference.yaml_file import read_settings
from tamis.prompts import PromptTemplate
from tamis.records import Sampling

_LOCAL = ("hf", "vllm")
"""Engines that load the model themselves; others are told its name."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceConfig:
    """The settings of inference_config.yaml, by its names and with its values as defaults, and a few that it does not have.

    What depends on the machine or on the model is found out unless it is given: the device, the batch size, the base of an
    adapter, the numbers (`fp16`). The detailed log is written only if asked for. Paths are relative to the working directory.

    Raises:
        UsageError: A value that cannot be; all of them are named.
    """

    model_path: str = EMBEDDED  # a folder, a hub name, or one of the models that ship with Tamis
    base_model: str | None = None  # of an adapter; None: the one that it names itself
    use_lora: bool = True  # apply the adapter where the folder holds one; false: it must hold a whole model
    lora_r: int | None = None  # what the adapter must have; None: anything
    lora_alpha: float | None = None
    lora_dropout: float | None = None  # of training alone
    max_length: int = 1024  # tokens of a prompt; a longer one fails, see `truncate`
    max_new_tokens: int = 512
    temperature: float = 0.8  # 0 is greedy
    top_p: float = 0.9
    top_k: int = 50  # 0 is off
    num_return_sequences: int = 1
    device: str = "auto"  # "cuda" is a GPU where there is one, else the CPU with a warning
    dataset_name: str = "HuggingFaceH4/MATH-500"
    split: str = "test"
    max_samples: int | None = 100  # None: all
    results_path: str = "./inference_results.json"
    save_detailed_log: bool = False
    log_path: str = "./inference_log.txt"
    batch_size: int | Literal["auto"] = "auto"
    gradient_checkpointing: bool = False  # of training alone
    fp16: bool | None = None  # true: float16 on a GPU; false: float32; None: as the checkpoint is
    engine: str = "hf"
    seed: int = 0
    truncate: bool = False  # drop the beginning of a prompt that is longer than `max_length`
    allow_pickle: bool = False
    trust_remote_code: bool = False
    tensor_parallel: int = 1
    base_urls: tuple[str, ...] = ()
    api_key: str | None = field(default=None, repr=False)
    dtype: str = "auto"  # stands before `fp16`
    min_p: float = 0.0
    stop: tuple[str, ...] = ()
    prompt: PromptTemplate = field(default_factory=PromptTemplate)

    def __post_init__(self) -> None:
        pairs = ((name, getattr(self, name), kind) for name, kind in KINDS.items())
        if mistakes := [complaint(name, value, kind) for name, value, kind in pairs if not kind.holds(value)]:
            raise UsageError("; ".join(mistakes), "Correct the settings")

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """The settings of a file like inference_config.yaml; what it leaves out has its default.

        Raises:
            InputError: The file cannot be read, or it sets what does not exist or cannot be; all mistakes are named.
        """
        return cls(**read_settings(Path(path)))

    def sampling(self) -> Sampling:
        """How answers are drawn."""
        return Sampling(
            temperature=float(self.temperature),
            top_p=float(self.top_p),
            top_k=self.top_k,
            min_p=self.min_p,
            max_tokens=self.max_new_tokens,
            stop=self.stop,
            n=self.num_return_sequences,
            seed=self.seed,
        )

    def model_settings(self) -> ModelSettings:
        """Which model, on which engine, in which numbers; settings that cannot have their effect here are told to the log.

        Raises:
            UsageError: The adapter is not the one that is described.
        """
        if self.gradient_checkpointing:
            _log.warning("gradient_checkpointing has no effect: it saves memory in training, not in inference")
        is_local = self.engine in _LOCAL
        if not is_local:
            idle = ("base_model", "lora_r", "lora_alpha", "max_length", "fp16")
            if set_ := [name for name in idle if getattr(self, name) != getattr(_DEFAULTS, name)]:
                _log.warning("%s: without effect, for the model is not loaded by the %s engine", ", ".join(set_), self.engine)
        device, dtype = self._device_and_dtype() if is_local else ("auto", self.dtype)
        return ModelSettings(
            model=self.model_path,
            engine=self.engine,
            batch_size=self.batch_size,
            device=device,
            dtype=dtype,
            trust_remote_code=self.trust_remote_code,
            tensor_parallel=self.tensor_parallel,
            base_urls=self.base_urls,
            api_key=self.api_key,
            base_model=self.base_model if is_local else None,
            use_lora=self._use_lora() if is_local else None,
            allow_pickle=self.allow_pickle,
            max_prompt_tokens=self.max_length if is_local else None,
            truncate=self.truncate,
        )

    def drawing(
        self, dataset: str, model: ModelSettings, *, limit: int | None, token_stats: TokenStatsMode = "none"
    ) -> Drawing:
        """The same as the configuration of a run over a dataset."""
        settings = {each.name: getattr(model, each.name) for each in fields(ModelSettings)}
        return Drawing(
            **settings,
            dataset=dataset,
            split=self.split,
            limit=limit,
            sampling=self.sampling(),
            prompt=self.prompt,
            token_stats=token_stats,
        )

    def _device_and_dtype(self) -> tuple[str, str]:
        device, dtype = self.device, self.dtype
        if not device.startswith("cuda") and not self.fp16:
            return device, "float32" if self.fp16 is False and dtype == "auto" else dtype
        try:
            import torch
        except ImportError:  # the engine says so
            return device, dtype
        if device.startswith("cuda") and not torch.cuda.is_available():
            _log.warning("device %s: there is no GPU here, so the CPU computes", device)
            device = "cpu" if self.engine == "hf" else "auto"
        if self.fp16 and dtype == "auto":
            is_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
            dtype = "float16" if is_gpu else "float32"
            if not is_gpu:
                _log.warning("fp16: float32 instead, for a CPU computes half precision hundreds of times slower")
        return device, dtype

    def _use_lora(self) -> bool | None:
        """Whether there must be an adapter: only where there is one, for a whole model needs none."""
        from tamis.engines.folders import ADAPTER_CONFIG, check_lora
        from tamis.workflows.models import model_path

        if not self.use_lora:
            return False
        folder = Path(model_path(self.model_path)).expanduser()
        if not (folder / ADAPTER_CONFIG).is_file():
            if folder.is_dir() and (self.lora_r, self.lora_alpha) != (None, None):
                _log.warning("%s is a whole model: use_lora and lora play no part", self.model_path)
            return None
        check_lora(folder, r=self.lora_r, alpha=self.lora_alpha)
        return True


_DEFAULTS = InferenceConfig()
