"""Traces by OpenTelemetry, sent to a collector over OTLP (HTTP, protobuf).

OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME …) say where and how
spans are sent. Spans wait in memory for a thread that sends them; while the collector is away they are dropped, and
nothing else waits for it.

The library takes half a second to import, so only a process that traces imports this module.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

import structlog
from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from recado.core.tracing import Attribute, Span, SpanKind

CLOSE_SECONDS: Final = 3.0
"""How long the end of a process waits until its last spans are sent."""

_KINDS: Final[Mapping[SpanKind, trace.SpanKind]] = {
    "server": trace.SpanKind.SERVER,
    "consumer": trace.SpanKind.CONSUMER,
    "client": trace.SpanKind.CLIENT,
    "internal": trace.SpanKind.INTERNAL,
}
_PROPAGATOR: Final = TraceContextTextMapPropagator()


def to_collector() -> SpanProcessor:
    """Return a processor that collects spans and sends them by OTLP, several at a time."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter())


class OtelTraces:
    """The spans of this process; see `recado.core.tracing`."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._sending: threading.Thread | None = None
        self._tracer = self._provider.get_tracer("recado", version("recado"))

    @contextmanager
    def begin(self, name: str, kind: SpanKind, after: str | None, **attributes: Attribute) -> Iterator[Span]:
        origin = context.Context() if after is None else _PROPAGATOR.extract({"traceparent": after}, context.Context())
        with self._span(name, kind, origin, attributes) as span:
            yield span

    @contextmanager
    def within(self, name: str, kind: SpanKind, **attributes: Attribute) -> Iterator[Span]:
        with self._span(name, kind, None, attributes) as span:
            yield span

    @contextmanager
    def _span(
        self, name: str, kind: SpanKind, origin: context.Context | None, attributes: Mapping[str, Attribute]
    ) -> Iterator[Span]:
        span = self._tracer.start_span(name, origin, _KINDS[kind], _prefixed(attributes))
        trace_id = trace.format_trace_id(span.get_span_context().trace_id)
        with (
            trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False),
            structlog.contextvars.bound_contextvars(trace_id=trace_id),
        ):
            try:
                yield _OtelSpan(span)
            except asyncio.CancelledError:  # A worker that is told to stop gives its jobs back, which is no error.
                span.set_attribute("recado.cancelled", True)
                raise
            except BaseException as error:
                # The error's text may quote a customer.
                span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise

    def flush(self, seconds: float) -> None:
        self._run_bounded(self._provider.force_flush, seconds)

    def close(self) -> None:
        self._run_bounded(self._provider.shutdown, CLOSE_SECONDS)

    def _run_bounded(self, step: Callable[[], object], seconds: float) -> None:
        """Run a step of the library in a thread and wait for `seconds` at most, and not while an earlier one still
        runs. The library itself would wait as long as a collector is away.
        """
        if self._sending is not None and self._sending.is_alive():
            return
        self._sending = threading.Thread(target=step, name="recado-traces", daemon=True)
        self._sending.start()
        self._sending.join(seconds)


class _OtelSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(self._span, context.Context()))
        return carrier.get("traceparent")

    def note(self, **attributes: Attribute) -> None:
        self._span.set_attributes(_prefixed(attributes))


def _resource() -> Resource:
    """Return the resource that OpenTelemetry's variables describe;

    its service is `recado` unless they say otherwise.
    """
    told = Resource.create({"service.version": version("recado")})
    unknown = str(told.attributes["service.name"]).startswith("unknown_service")
    return told.merge(Resource({"service.name": "recado"})) if unknown else told


def _prefixed(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {f"recado.{name}": value for name, value in attributes.items()}
