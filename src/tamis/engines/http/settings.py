"""Where a server is and what opens it: arguments first, then the environment, then `.env` in the working directory."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tamis.errors import UsageError

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*")
_ENDPOINT = re.compile(r"/(?:chat/)?completions/?$")
_VERSION = re.compile(r"/v\d")


def setting(name: str) -> str:
    """A variable of the environment, else of `.env`; "" where neither has it. Nothing of `.env` enters the environment."""
    return os.environ.get(name) or _read_env(Path(".env")).get(name, "")


def _read_env(path: Path) -> dict[str, str]:
    """Lines of NAME=value; quotes around a value are taken off, and a comment after one without quotes."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        if match := _LINE.fullmatch(line):
            name, value = match.groups()
            quoted = re.match(r"""(["'])(.*?)\1""", value)
            found[name] = quoted[2] if quoted else re.split(r"\s#", value)[0].strip()
    return found


def find_base_urls(given: Sequence[str] = ()) -> tuple[str, ...]:
    """The servers, each URL once and with its version; by default OPENAI_BASE_URL (or OPENAI_API_BASE).

    Raises:
        UsageError: There is none, or one is no URL.
    """
    urls = list(given) or [setting("OPENAI_BASE_URL") or setting("OPENAI_API_BASE")]
    if not any(urls):
        raise UsageError("no server is named", "Give --base-url, or set OPENAI_BASE_URL")
    return tuple(dict.fromkeys(normal_url(url) for url in urls))


def normal_url(url: str) -> str:
    """`localhost:8000` -> `http://localhost:8000/v1`; a URL that names a version, or an endpoint below it, keeps the version.

    Raises:
        UsageError: It is no URL, or holds a password or a query.
    """
    whole = url.strip() if "://" in url else f"http://{url.strip()}"
    try:
        parts = urlsplit(whole)
        is_server = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_server = False
    if not is_server or re.search(r"\s", whole):
        raise UsageError("a base URL is not a URL", "Write it as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError("a base URL holds more than scheme, host and path", "Give the key with --api-key")
    path = _ENDPOINT.sub("", parts.path).rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path if _VERSION.search(path) else path + '/v1'}"


def find_api_key(given: str | None = None) -> str:
    """The key: the argument, else OPENAI_API_KEY; "" is none.

    Raises:
        UsageError: It cannot be sent in a header.
    """
    key = (given if given is not None else setting("OPENAI_API_KEY")).strip()
    if not key.isascii() or not key.isprintable():
        raise UsageError("the API key holds characters that no key has", "Copy it again, without line breaks")
    return key
