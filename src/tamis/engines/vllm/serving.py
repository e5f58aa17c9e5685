"""`vllm serve` with our plug-in: exact token statistics over HTTP for whoever asks (see `middleware`)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import ipaddress
import os
import sys
from collections.abc import Sequence

from tamis.engines.vllm.plugin import NAME
from tamis.errors import MissingExtra, UsageError

_ENTRY_GROUP = "vllm.general_plugins"
_KVCACHE_GIB = "4"  # on a CPU; without a limit vLLM takes nearly all memory


def serve_command(model: str, port: int, extra: Sequence[str] = ()) -> list[str]:
    """The command line of a server of `model` on a port of loopback, with statistics; `extra` are flags of `vllm serve`.

    It ends on SIGTERM. A key that it shall ask for goes into its environment, as VLLM_API_KEY.
    """
    return [sys.executable, "-m", "tamis", "vllm", model, "--port", str(port), *extra]


def serve(model: str, flags: Sequence[str]) -> None:
    """Serve until interrupted: this process becomes vLLM's.

    Raises:
        UsageError: vLLM is not installed or does not see our plug-in, or the server would be open to other machines without a
            key.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtra("Serving a model", "vllm")
    if not importlib.metadata.entry_points(group=_ENTRY_GROUP, name=NAME):
        raise UsageError(
            f"the plug-in of tamis is not registered in {_ENTRY_GROUP}", "Install tamis here again: pip install tamis"
        )
    arguments = ["serve", model, *server_flags(flags)]
    os.environ["VLLM_PLUGINS"] = _plugins()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", _KVCACHE_GIB)
    run_vllm(arguments)


def server_flags(flags: Sequence[str]) -> list[str]:
    """The flags of `vllm serve`, with what is ours where they leave it open: loopback, and no settings from the model's folder.

    Raises:
        UsageError: The server would be open to other machines without a key.
    """
    host = _value(flags, "--host")
    has_key = _value(flags, "--api-key") or os.environ.get("VLLM_API_KEY")
    if host is not None and not is_loopback(host) and not has_key:
        raise UsageError(
            f"--host {host} opens the server to other machines without a key", "Set VLLM_API_KEY, or leave it away"
        )
    defaults = {"--host": "127.0.0.1", "--generation-config": "vllm"}
    missing = [(flag, value) for flag, value in defaults.items() if _value(flags, flag) is None]
    return [*flags, *(word for pair in missing for word in pair)]


def run_vllm(arguments: Sequence[str]) -> None:
    """Run vLLM's own command line in this process."""
    _name_vllm()
    from vllm.entrypoints.cli.main import main

    sys.argv = ["vllm", *arguments]
    main()


def _value(flags: Sequence[str], flag: str) -> str | None:
    """What is given for a flag; None: nothing."""
    for place, word in enumerate(flags):
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
        if word == flag and place + 1 < len(flags):
            return flags[place + 1]
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine gets there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _plugins() -> str:
    """The value of VLLM_PLUGINS that names us, and leaves all others as they are."""
    given = os.environ.get("VLLM_PLUGINS")
    if given is not None:
        names = [name for name in given.split(",") if name]
    else:  # all that vLLM would load without the variable
        entries = importlib.metadata.entry_points()
        groups = [group for group in entries.groups if group.startswith("vllm.") and group != "vllm.endpoint_plugins"]
        names = sorted({name for group in groups for name in entries.select(group=group).names})
    return ",".join(dict.fromkeys([*names, NAME]))


def _name_vllm() -> None:
    """Let the CPU build be asked for its version by vLLM's name, which its command line does and it has no answer to."""
    asked = importlib.metadata.version

    def version(distribution_name: str) -> str:
        try:
            return asked(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return asked("vllm-cpu") + "+cpu"  # by which it knows its platform

    importlib.metadata.version = version
