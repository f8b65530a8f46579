"""What Prometheus may know: counts and times, never a name, a hash of a file or a tag."""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from pneumoscope.web.frames import Facts
from pneumoscope.web.served_bundle import ServedBundle

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
_TENTHS: Final = tuple(step / 10 for step in range(1, 11))


class Metrics:
    """The server's counters, in a registry of their own."""

    def __init__(self, bundle: ServedBundle) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"pneumoscope_{name}", text, labels, registry=self._registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"pneumoscope_{name}", text, labels, registry=self._registry)

        def histogram(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                f"pneumoscope_{name}", text, labels, buckets=bounds, registry=self._registry
            )

        self.requests = counter(
            "requests", "Requests by what was asked and how it ended.", "method", "route", "status"
        )
        self.request_seconds = histogram(
            "request_seconds", "From the headers to the end of the reply.", _SECONDS, "route"
        )
        self.files = counter("files", "Files by label, or by the error's type.", "outcome")
        self.file_seconds = histogram("file_seconds", "Decoding and inference of a file.", _SECONDS)
        self.probability = histogram(
            "probability", "Calibrated probabilities of pneumonia.", _TENTHS
        )
        self.warnings = counter("warnings", "Warnings by their code.", "code")
        self.queue = gauge("queue_files", "Files that wait for a worker.")
        self.workers = gauge("workers_ready", "Workers that are warm.")
        self.replaced = counter("workers_replaced", "Workers that were replaced.", "reason")
        self.held = gauge("held_bytes", "Uploads and answers that are held in memory.")
        info = gauge("bundle_info", "The bundle that answers.", "name", "version", "sha256")
        info.labels(bundle.card.name, bundle.card.version, bundle.sha256).set(1)

    def count_file(self, facts: Facts) -> None:
        """Count one answered or failed file, by what its worker said of it."""
        self.files.labels(facts["outcome"]).inc()
        if "probability" in facts:
            self.probability.observe(facts["probability"])
            self.file_seconds.observe(facts["seconds"])
            for code in facts["warnings"]:
                self.warnings.labels(code).inc()

    def render(self) -> bytes:
        """Return the page that Prometheus reads."""
        return generate_latest(self._registry)
