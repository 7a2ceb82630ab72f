"""The text of `/metrics`: the counters of this process and the gauges of the queue, in Prometheus' format.

The library that writes the text is imported at the first request, in a thread: the import takes up to a third of a
second, and neither the start nor a webhook should wait for it.
"""

import asyncio
import hmac
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import structlog

from recado.core.clock import Clock
from recado.core.metrics import SECONDS, Counter, Histogram, Labels, Meters, Timed
from recado.operations.gauges import Gauges
from recado.operations.storage.gauges import Gauge

if TYPE_CHECKING:
    from prometheus_client import Metric

log = structlog.get_logger(__name__)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
CACHE_SECONDS: Final = 1.0
"""An answer is reused this long: to write one costs as much as ten webhooks, and without a key anybody may ask."""


class Exposition:
    """Renders the counters of one process and, on request, the gauges of the queue."""

    def __init__(
        self,
        meters: Meters,
        gauges: Callable[[], Gauges],
        api_key: str | None,
        answer_deadline_seconds: float,
        clock: Clock,
    ) -> None:
        self._meters = meters
        self._gauges = gauges
        self._key = api_key
        self._deadline = answer_deadline_seconds
        self._clock = clock
        self._writing = asyncio.Lock()
        self._cached = b""
        self._cached_until = -math.inf

    def allows(self, authorization: str) -> bool:
        """Whether a caller may read the metrics. With RECADO_INTERNAL_API_KEY set, only one who sends that key."""
        if self._key is None:
            return True
        scheme, _, given = authorization.partition(" ")  # Headers are decoded as latin-1.
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), self._key.encode())

    async def render_all(self) -> bytes:
        """Return the metrics of process and queue, at most a second old. Concurrent callers share one answer."""
        async with self._writing:
            if self._clock.monotonic() >= self._cached_until:
                self._cached = await self._render_all()
                self._cached_until = self._clock.monotonic() + CACHE_SECONDS
            return self._cached

    async def _render_all(self) -> bytes:
        try:
            gauges = await self._gauges().read()
        except Exception:  # The counters of the process are shown whatever is wrong with the database.
            log.exception("metrics.database_unreadable")
            gauges = []
        gauges.append(
            Gauge(
                "recado_database_readable", "Whether the gauges of the queue could be read", [((), float(bool(gauges)))]
            )
        )
        deadline = "RECADO_ANSWER_DEADLINE_SECONDS, for comparisons"
        gauges.append(Gauge("recado_answer_deadline_seconds", deadline, [((), self._deadline)]))
        return await asyncio.to_thread(self._exposition_text, gauges)

    async def render_process(self) -> bytes:
        """Return the metrics of the process only. The gauges of the queue are the same for every worker."""
        return await asyncio.to_thread(self._exposition_text, ())

    def _exposition_text(self, gauges: Sequence[Gauge]) -> bytes:
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(_Collector(self._meters.counted(), self._meters.timed(), gauges))
        return generate_latest(registry)


@dataclass(frozen=True, slots=True, eq=False)
class _Collector:
    """The content of one exposition, as a collector of the Prometheus library."""

    counted: Mapping[Counter, Mapping[Labels, float]]
    timed: Mapping[Histogram, Mapping[Labels, Timed]]
    gauges: Sequence[Gauge]

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for counter, series in self.counted.items():
            counted = CounterMetricFamily(counter.name, counter.help, labels=counter.labels)
            for labels, number in series.items():
                counted.add_metric(labels, number)
            yield counted
        for histogram, times in self.timed.items():
            measured = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.labels)
            for labels, timed in times.items():
                measured.add_metric(labels, _buckets(timed), timed.total)
            yield measured
        for gauge in self.gauges:
            shown = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for labels, number in gauge.series:
                shown.add_metric(labels, number)
            yield shown


def _buckets(timed: Timed) -> list[tuple[str, float]]:
    """Return each upper bound with the number of measurements up to it."""
    bounds = [*(str(second) for second in SECONDS), "+Inf"]
    return [(bound, float(number)) for bound, number in zip(bounds, accumulate(timed.buckets), strict=True)]
