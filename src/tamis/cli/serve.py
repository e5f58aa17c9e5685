"""`tamis serve`: a model behind OpenAI's protocol, with the best of several answers for whoever asks."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import re
import sys
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.cli import options as shared
from tamis.config import EMBEDDED, Serving
from tamis.errors import EXIT_DONE, MissingExtra, UsageError

if TYPE_CHECKING:
    from tamis.serve.service import Service

EXAMPLE = "tamis serve --model-path embedded --port 8000"

_DEFAULTS = Serving(model=EMBEDDED)
_PACKAGES = ("fastapi", "uvicorn", "prometheus_client")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, where it is served, and how much may be asked."""
    shared.add_model(parser)
    group = parser.add_argument_group("service")
    group.add_argument(
        "--host", default=_DEFAULTS.host, help="address to listen at; any but loopback needs a key (default: %(default)s)"
    )
    group.add_argument("--port", type=_port, default=_DEFAULTS.port, help="0 takes a free one (default: %(default)s)")
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="keys, one a line, of which clients must have one (or TAMIS_API_KEYS, with commas between them)",
    )
    group.add_argument(
        "--max-concurrent", type=shared.positive, default=_DEFAULTS.max_concurrent, metavar="N",
        help="requests under work; more get 429 (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--max-body",
        type=shared.positive,
        default=_DEFAULTS.max_body,
        metavar="BYTES",
        help="of a request (default: %(default)s)",
    )
    group.add_argument(
        "--max-tokens-limit", type=shared.positive, default=_DEFAULTS.max_tokens, metavar="N",
        help="the most tokens that an answer may be asked to have (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--max-samples", type=shared.positive, default=_DEFAULTS.max_samples, metavar="N",
        help="the most answers drawn for a request (default: %(default)s)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Serve until told to end."""
    if any(importlib.util.find_spec(package) is None for package in _PACKAGES):
        raise MissingExtra("tamis serve", "serve")
    from tamis.serve.running import listen, url_of
    from tamis.serve.running import run as run_service
    from tamis.workflows.models import open_model

    serving = Serving(
        **shared.model_fields(options, options.model_path or EMBEDDED, options.engine),
        host=options.host,
        port=options.port,
        max_concurrent=options.max_concurrent,
        max_body=options.max_body,
        max_tokens=options.max_tokens_limit,
        max_samples=options.max_samples,
        keys=_keys(options.api_key_file),
    )

    def ready(service: Service) -> None:
        print(f"{service.name} is served at {url_of(port)}; Ctrl-C ends it once all is answered", file=sys.stderr, flush=True)

    with closing(listen(serving)) as port, redirect_stdout(sys.stderr), closing(open_model(serving)) as engine:
        asyncio.run(run_service(engine, serving, port, ready))
    return EXIT_DONE


def _keys(path: Path | None) -> tuple[str, ...]:
    """The keys of the file and of the environment.

    Raises:
        UsageError: The file cannot be read, holds none, or one that no header can hold.
    """
    from tamis.engines.http.settings import setting

    keys = [key for key in re.split(r"[,\s]+", setting("TAMIS_API_KEYS")) if key]
    if path is not None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--api-key-file: cannot read {path}: {error}", "Name a file with a key a line") from None
        found = [line.strip() for line in lines if line.strip()]
        if not found:
            raise UsageError(f"--api-key-file: {path} holds no key", "Write one a line")
        keys += found
    if any(not key.isascii() or not key.isprintable() or " " in key for key in keys):
        raise UsageError("an API key holds characters that no key has", "Write one a line, without spaces in it")
    return tuple(dict.fromkeys(keys))


def _port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)
