"""Figures for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["Metrics"]


class _Present(Collector):
    """Figures that are looked up when they are asked for: name, help text and values by label."""

    def __init__(self, look: Callable[[], Iterator[tuple[str, str, dict[str, float]]]]) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        for name, text, values in self._look():
            family = GaugeMetricFamily(name, text, labels=["state"] if any(values) else [])
            for label, value in values.items():
                family.add_metric([label] if label else [], value)
            yield family


class Metrics:
    """Requests as they are counted, and the state of the service as it is found.

    Parameters
    ----------
    look : callable
        ``look()`` yields name, help text and values of figures that are looked up on demand, the values by state or
        under an empty text.
    """

    def __init__(self, look: Callable[[], Iterator[tuple[str, str, dict[str, float]]]]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sunaug_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "sunaug_request_seconds", "Time until a request was answered.", ["route"], registry=self._registry
        )
        self._registry.register(_Present(look))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        method = method if method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All figures in the text format of Prometheus."""
        return generate_latest(self._registry)
