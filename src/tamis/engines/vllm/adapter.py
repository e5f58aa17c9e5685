"""A LoRA adapter for vLLM, which applies it unmerged: what vLLM itself would pass over in silence is found here."""

from __future__ import annotations

import re

from tamis.engines.folders import ADAPTER_CONFIG, Adapter
from tamis.engines.hf.adapter import read_weights
from tamis.errors import EngineError

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # vLLM's own
_HALF = re.compile(r"(.+)\.lora_(A|B|embedding_A|embedding_B)(\.weight)?")
_OTHER = {"A": "B", "B": "A", "embedding_A": "embedding_B", "embedding_B": "embedding_A"}


def rank_room(adapter: Adapter, *, allow_pickle: bool) -> int:
    """The rank that vLLM must make room for.

    Raises:
        EngineError: The adapter is not whole, or its rank is more than vLLM takes.
    """
    weights = read_weights(adapter, allow_pickle=allow_pickle)
    rank = int(adapter.config["r"])
    halves = {(match[1], match[2]): tensor for name, tensor in weights.items() if (match := _HALF.fullmatch(name))}
    for module, half in sorted(halves):
        if (module, _OTHER[half]) not in halves:
            raise _broken(adapter, f"lacks the lora_{_OTHER[half]} of {module}")
        found = halves[module, half].shape[0]
        if half == "A" and not adapter.config.get("rank_pattern") and found != rank:
            raise _broken(adapter, f"has rank {found} in {module}.lora_A.weight, and {rank} by its {ADAPTER_CONFIG}")
    targets = adapter.config.get("target_modules")
    modules = {module.rpartition(".")[2] for module, _ in halves}
    if isinstance(targets, list) and (lacking := sorted({target.rpartition(".")[2] for target in targets} - modules)):
        raise _broken(adapter, f"lacks all tensors of the modules {', '.join(lacking)} that its {ADAPTER_CONFIG} names")
    widest = max([rank, *(tensor.shape[0] for (_, half), tensor in halves.items() if half == "A")])
    if widest > _RANKS[-1]:
        raise EngineError(f"the adapter in {adapter.folder} has rank {widest}, and vLLM takes {_RANKS[-1]}", "Use --engine hf")
    return next(room for room in _RANKS if room >= widest)


def _broken(adapter: Adapter, what: str) -> EngineError:
    return EngineError(f"the adapter in {adapter.folder} {what}", "Copy the adapter again")
