"""`/metrics`: what the process has counted and how the line stands, in Prometheus' text.

The library that writes it is imported when it is first asked for, in a thread beside the event loop: it takes up to a
third of a second, which no start and no webhook should wait for.
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
from recado.operations.gauges import Gauge, Gauges

if TYPE_CHECKING:
    from prometheus_client import Metric

log = structlog.get_logger(__name__)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
CACHE_SECONDS: Final = 1.0
"""How old what is told may be: to write it takes as long as ten webhooks, and without a key strangers may ask."""


class Exposition:
    """Writes everything that can be measured of one process, and of the line if it is asked to."""

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
        """Whether a caller may see it: with RECADO_INTERNAL_API_KEY only who bears it, without it anybody."""
        if self._key is None:
            return True
        scheme, _, given = authorization.partition(" ")  # Headers are read as latin-1, whatever was sent.
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), self._key.encode())

    async def render_all(self) -> bytes:
        """The process and the line, as they were a second ago at most; all who ask meanwhile get the same."""
        async with self._writing:
            if self._clock.monotonic() >= self._cached_until:
                self._cached = await self._render_all()
                self._cached_until = self._clock.monotonic() + CACHE_SECONDS
            return self._cached

    async def _render_all(self) -> bytes:
        try:
            gauges = await self._gauges().read()
        except Exception:  # Whatever is wrong there: what the process knows by itself is told all the more.
            log.exception("metrics.database_unreadable")
            gauges = []
        gauges.append(
            Gauge(
                "recado_database_readable", "Whether the gauges of the line could be read", [((), float(bool(gauges)))]
            )
        )
        deadline = "RECADO_ANSWER_DEADLINE_SECONDS, for comparisons"
        gauges.append(Gauge("recado_answer_deadline_seconds", deadline, [((), self._deadline)]))
        return await asyncio.to_thread(self._exposition_text, gauges)

    async def render_process(self) -> bytes:
        """The process alone: the line is the same whichever worker is asked."""
        return await asyncio.to_thread(self._exposition_text, ())

    def _exposition_text(self, gauges: Sequence[Gauge]) -> bytes:
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(_Collector(self._meters.counted(), self._meters.timed(), gauges))
        return generate_latest(registry)


@dataclass(frozen=True, slots=True, eq=False)
class _Collector:
    """What one answer tells; a registry asks for it."""

    counted: Mapping[Counter, Mapping[Labels, float]]
    timed: Mapping[Histogram, Mapping[Labels, Timed]]
    gauges: Sequence[Gauge]

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for counter, series in self.counted.items():
            told = CounterMetricFamily(counter.name, counter.help, labels=counter.labels)
            for labels, number in series.items():
                told.add_metric(labels, number)
            yield told
        for histogram, times in self.timed.items():
            spread = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.labels)
            for labels, timed in times.items():
                spread.add_metric(labels, _buckets(timed), timed.total)
            yield spread
        for fact in self.gauges:
            gauge = GaugeMetricFamily(fact.name, fact.help, labels=fact.labels)
            for labels, number in fact.series:
                gauge.add_metric(labels, number)
            yield gauge


def _buckets(timed: Timed) -> list[tuple[str, float]]:
    """Each upper bound with all that took no longer."""
    bounds = [*(str(second) for second in SECONDS), "+Inf"]
    return [(bound, float(number)) for bound, number in zip(bounds, accumulate(timed.buckets), strict=True)]
