"""Models behind one protocol (`base`): one module an engine, imported only when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tamis.errors import UsageError

if TYPE_CHECKING:
    from tamis.engines.base import Engine

ENGINES = ("hf", "scripted")


def open_engine(
    name: str,
    model: str,
    *,
    batch_size: int | Literal["auto"] = "auto",
    device: str = "auto",
    dtype: str = "auto",
    token_stats: bool = True,
    hidden_states: bool = False,
    trust_remote_code: bool = False,
) -> Engine:
    """The engine `name` over `model`: a folder or hub name for `hf`, a JSON file of answers for `scripted`.

    Raises:
        UsageError: there is no engine of that name.
        MissingExtra: its packages are not installed.
        EngineError: the model does not load.
    """
    if name == "hf":
        from tamis.engines.hf import HFEngine

        return HFEngine(
            model,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            token_stats=token_stats,
            hidden_states=hidden_states,
            trust_remote_code=trust_remote_code,
        )
    if name == "scripted":
        from tamis.engines.scripted import ScriptedEngine

        return ScriptedEngine.from_file(model, token_stats=token_stats, hidden_states=hidden_states)
    raise UsageError(f"unknown engine: {name}", f"Choose one of: {', '.join(ENGINES)}")
