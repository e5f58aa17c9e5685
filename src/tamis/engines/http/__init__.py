"""Any OpenAI-compatible server as an engine: the client, and a scheduler of our own on aiohttp."""

from tamis.engines.http.engine import HTTPEngine

__all__ = ["HTTPEngine"]
