"""What is added to vLLM in the process that runs the model: statistics of the tokens that it samples, and one repair.

vLLM has no public place that sees a step's raw logits, its sampled tokens and whose rows they are. So two private methods are
wrapped, one of each model runner: this module is bound to the versions that the extra `vllm` allows, and an engine compares
what it gives with a known answer before it relies on it (`check`).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tamis.engines.token_stats import token_states_there
from tamis.engines.vllm.lines import line_states
from tamis.engines.vllm.store import KEY, STORE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    Place = tuple[str, int]

_installed: list[str] = []
_copies: list[Tensor] = []
"""Room for the raw logits of a step, kept: to get it anew from the system takes longer than to fill it."""
LISTENERS: list[Callable[[Sequence[Place], Sequence[int], NDArray[np.integer]], None]] = []
"""Told of each step of the first runner: places, their rows in the batch, and the tokens."""


class Extension:
    """Named as an engine's `worker_extension_cls`, it brings this module into the engine's workers."""


def install() -> None:
    """Patch vLLM in this process. Idempotent; requests without a key cost nothing."""
    if _installed:
        return
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner
    from vllm.v1.worker.worker_base import WorkerBase

    _installed.append("runner")
    WorkerBase.tamis_take = lambda _, keys: STORE.take(keys)
    WorkerBase.tamis_drop = lambda _, keys: STORE.drop(keys)
    WorkerBase.tamis_record = _record
    _wrap_runner(GPUModelRunner)
    try:
        from vllm.v1.worker.gpu.sample.sampler import Sampler
    except ImportError:  # it needs Triton
        return
    _wrap_second_runner(Sampler)


def _record(worker: Any, begin: bool) -> bytes:  # noqa: FBT001 - called by name from another process
    """Begin to record the logits of each step, or end it: all that were recorded, as float32."""
    model = worker.model_runner.get_model()
    if not begin:
        recorded = model.__dict__.pop("tamis_recorded", [])
        model.__dict__.pop("compute_logits", None)
        return b"".join(logits.float().cpu().numpy().tobytes() for logits in recorded)
    recorded = model.__dict__["tamis_recorded"] = []
    compute = model.compute_logits

    def recording(*args: Any, **kwargs: Any) -> Any:
        logits = compute(*args, **kwargs)
        if logits is not None:
            recorded.append(logits.clone())
        return logits

    model.__dict__["compute_logits"] = recording
    return b""


def _wrap_runner(runner_class: Any) -> None:
    """The model runner of CPUs, and of GPUs under VLLM_USE_V2_MODEL_RUNNER=0; the CPU's is a subclass."""
    sample, settle = runner_class._sample, runner_class._bookkeeping_sync
    # A generator that is not used must stay as it is; vLLM turns it back, which those of a CPU cannot
    repair = "set_offset" in inspect.getsource(settle)

    def wrapped_sample(runner: Any, logits: Tensor | None, spec_decode_metadata: Any, *args: Any, **kwargs: Any) -> Any:
        runner.tamis_hidden_generators = _take_unused_generators(runner) if repair and runner.device.type == "cpu" else {}
        rows, places = _marked(runner) if spec_decode_metadata is None else ([], [])
        if logits is None or not rows:
            return sample(runner, logits, spec_decode_metadata, *args, **kwargs)
        raw = _raw(logits, rows)
        output = sample(runner, logits, spec_decode_metadata, *args, **kwargs)
        _keep(places, rows, raw, output.sampled_token_ids[:, 0])
        return output

    def wrapped_settle(runner: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return settle(runner, *args, **kwargs)
        finally:
            runner.input_batch.generators.update(runner.tamis_hidden_generators)

    runner_class._sample, runner_class._bookkeeping_sync = wrapped_sample, wrapped_settle


def _take_unused_generators(runner: Any) -> dict[int, torch.Generator]:
    """Take out the generators of rows whose token will be thrown away: their prompts are not read to the end."""
    generators = runner.input_batch.generators
    unused = np.flatnonzero(runner.discard_request_mask.np[: runner.input_batch.num_reqs]).tolist()
    return {row: generators.pop(row) for row in unused if row in generators}


def _marked(runner: Any) -> tuple[list[int], list[Place]]:
    """The rows of the batch that ask for statistics and whose token will be kept, and the place of each token."""
    batch = runner.input_batch
    unused = runner.discard_request_mask.np[: batch.num_reqs].tolist()
    rows, places = [], []
    for row, request_id in enumerate(batch.req_ids[: batch.num_reqs]):
        request = runner.requests[request_id]
        key = _key(request.sampling_params)
        if key is not None and not unused[row]:
            rows.append(row)
            places.append((key, len(request.output_token_ids)))
    return rows, places


def _key(params: Any) -> str | None:
    extra = params.extra_args if params is not None else None
    key = extra.get(KEY) if extra else None
    return None if key is None else str(key)


def _raw(logits: Tensor, rows: list[int]) -> Tensor:
    """These rows as the model gave them: the sampler works in fp32, and in place."""
    is_whole = len(rows) == len(logits)
    if is_whole and logits.dtype != torch.float32:
        return logits
    if logits.device.type != "cpu":
        return logits.clone() if is_whole else logits[torch.tensor(rows, device=logits.device)]
    if (
        not _copies
        or _copies[0].shape[1:] != logits.shape[1:]
        or _copies[0].dtype != logits.dtype
        or len(_copies[0]) < len(rows)
    ):
        _copies[:] = [torch.empty_like(logits)]
    copy = _copies[0][: len(rows)]
    return copy.copy_(logits) if is_whole else torch.index_select(logits, 0, torch.tensor(rows), out=copy)


def _keep(places: list[Place], rows: list[int], raw: Tensor, sampled: Tensor) -> None:
    ids = sampled.long()
    if len(rows) < len(ids):
        ids = ids[torch.tensor(rows, device=ids.device)]
    if raw.device.type != "cpu":
        STORE.add_later(places, token_states_there(raw, ids), ids, raw.shape[-1])
        return
    STORE.add(places, line_states(raw, ids), ids.numpy(), raw.shape[-1])
    for listener in LISTENERS:
        listener(places, rows, ids.numpy())


def _wrap_second_runner(sampler_class: Any) -> None:
    """Model Runner V2, which GPUs have. Written after its source; it has not been run."""
    add_request, call = sampler_class.add_request, sampler_class.__call__

    def wrapped_add_request(sampler: Any, slot: int, params: Any) -> None:
        sampler.__dict__.setdefault("tamis_keys", {})[slot] = _key(params)
        add_request(sampler, slot, params)

    def wrapped_call(sampler: Any, logits: Tensor, batch: Any) -> Any:
        rows, places = _marked_by_slot(sampler, batch) if len(logits) == batch.num_reqs else ([], [])
        raw = _raw(logits, rows) if rows else logits
        output = call(sampler, logits, batch)
        if rows:
            _keep(places, rows, raw, output.sampled_token_ids[:, 0])
        return output

    sampler_class.add_request, sampler_class.__call__ = wrapped_add_request, wrapped_call


def _marked_by_slot(sampler: Any, batch: Any) -> tuple[list[int], list[Place]]:
    """`_marked` of Model Runner V2: a request keeps its slot, and its length says where its token goes."""
    keys: dict[int, str | None] = sampler.__dict__.get("tamis_keys", {})
    state = sampler.req_states
    rows, places = [], []
    lengths = batch.seq_lens_cpu_upper_bound.tolist()
    for row, slot in enumerate(batch.idx_mapping_np.tolist()):
        key = keys.get(slot)
        if key is not None and lengths[row] >= state.prefill_len.np[slot]:
            rows.append(row)
            places.append((key, lengths[row] - int(state.prompt_len.np[slot])))
    return rows, places


install()
