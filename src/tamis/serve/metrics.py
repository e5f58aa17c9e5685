"""What the service counts, in Prometheus' form."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tamis.records import Sample

_BOUNDS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """The counts of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("tamis_requests", "Requests answered", ["endpoint", "status"], registry=self._registry)
        self._seconds = Histogram(
            "tamis_request_seconds",
            "From a request's first byte to its answer's last",
            ["endpoint"],
            registry=self._registry,
            buckets=_BOUNDS_S,
        )
        self.in_flight = Gauge("tamis_requests_in_flight", "Requests under work", registry=self._registry)
        self._refused = Counter(
            "tamis_requests_refused", "Requests refused, by the code of the error", ["code"], registry=self._registry
        )
        self._samples = Counter("tamis_samples", "Answers drawn, by how they ended", ["finish_reason"], registry=self._registry)
        self._tokens = Counter(
            "tamis_tokens", "Tokens of prompts, once a request, and of all answers drawn", ["kind"], registry=self._registry
        )

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """A request is over."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def refused(self, code: str) -> None:
        """A request gets an error."""
        self._refused.labels(code).inc()

    def drawn(self, samples: tuple[Sample, ...]) -> None:
        """The samples of a request."""
        for sample in samples:
            self._samples.labels(sample.finish_reason).inc()
            self._tokens.labels("completion").inc(sample.completion_tokens)
        self._tokens.labels("prompt").inc(max((sample.prompt_tokens for sample in samples), default=0))

    def page(self) -> bytes:
        """As text."""
        return generate_latest(self._registry)
