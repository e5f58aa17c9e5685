"""`tamis vllm`: a model behind vLLM's HTTP server, with exact token statistics."""

from __future__ import annotations

import argparse

from tamis.errors import EXIT_DONE

EXAMPLE = "tamis vllm Qwen/Qwen2.5-0.5B-Instruct --port 8000 --max-model-len 4096"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model; the rest is vLLM's."""
    parser.add_argument("model", metavar="MODEL", help="a folder or hub name; first of all")
    parser.add_argument(
        "flags",
        nargs=argparse.REMAINDER,
        metavar="FLAGS",
        help="of `vllm serve`; unless given, --host is 127.0.0.1 and --generation-config vllm; a key is read from VLLM_API_KEY",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from tamis.engines.vllm.serving import serve

    serve(options.model, options.flags)
    return EXIT_DONE
