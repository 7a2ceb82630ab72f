"""What a span contains and what it leaves out, and how another process continues a trace."""

import asyncio
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from recado.core.otel import OtelTraces
from recado.core.tracing import NoTraces, traceparent_in

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traces(exporter: InMemorySpanExporter) -> Iterator[OtelTraces]:
    traces = OtelTraces(SimpleSpanProcessor(exporter))
    yield traces
    traces.close()


def the_only(exporter: InMemorySpanExporter) -> ReadableSpan:
    [span] = exporter.get_finished_spans()
    return span


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        (PARENT, True),
        (UNSAMPLED, True),
        (None, False),
        ("", False),
        (PARENT.upper(), False),
        (f"{PARENT}-more", False),
        (f"{PARENT}\n", False),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", False),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
    ],
)
def test_only_a_traceparent_is_gone_on_from(text: str | None, usable: bool) -> None:
    assert (traceparent_in(text) is not None) is usable


def test_a_span_goes_on_from_what_came_in(traces: OtelTraces, exporter: InMemorySpanExporter) -> None:
    with traces.begin("job", "consumer", PARENT, attempts=1) as span:
        handed_on = span.traceparent
    seen = the_only(exporter)
    assert seen.parent is not None
    assert (f"{seen.context.trace_id:032x}", f"{seen.parent.span_id:016x}") == (PARENT[3:35], PARENT[36:52])
    assert handed_on == f"00-{PARENT[3:35]}-{seen.context.span_id:016x}-01"
    assert dict(seen.attributes or {}) == {"recado.attempts": 1}


def test_a_first_span_has_no_parent_whatever_span_is_current(
    traces: OtelTraces, exporter: InMemorySpanExporter
) -> None:
    with traces.begin("webhook", "server", None), traces.begin("job", "consumer", None):
        pass
    job, webhook = exporter.get_finished_spans()
    assert job.parent is None
    assert job.context.trace_id != webhook.context.trace_id


def test_a_child_belongs_to_the_current_span(traces: OtelTraces, exporter: InMemorySpanExporter) -> None:
    with traces.begin("job", "consumer", PARENT), traces.within("agent", "internal") as agent:
        agent.note(result="reply")
    part, whole = exporter.get_finished_spans()
    assert part.parent is not None
    assert part.parent.span_id == whole.context.span_id
    assert dict(part.attributes or {}) == {"recado.result": "reply"}


def test_an_error_is_recorded_with_its_type_and_without_its_text(
    traces: OtelTraces, exporter: InMemorySpanExporter
) -> None:
    with pytest.raises(ValueError, match="canary"), traces.begin("job", "consumer", None):
        raise ValueError("the customer said canary")
    seen = the_only(exporter)
    assert seen.status.description == "ValueError"
    assert "canary" not in seen.to_json()


def test_a_job_that_is_given_back_is_no_failure(traces: OtelTraces, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(asyncio.CancelledError), traces.begin("job", "consumer", None):
        raise asyncio.CancelledError
    seen = the_only(exporter)
    assert (seen.status.status_code, dict(seen.attributes or {})) == (StatusCode.UNSET, {"recado.cancelled": True})


def test_an_unsampled_trace_is_continued_as_such(traces: OtelTraces, exporter: InMemorySpanExporter) -> None:
    with traces.begin("job", "consumer", UNSAMPLED) as span:
        assert (span.traceparent or "").endswith("-00")
    assert exporter.get_finished_spans() == ()


def test_log_lines_carry_the_trace(traces: OtelTraces) -> None:
    with traces.begin("job", "consumer", PARENT):
        assert structlog.contextvars.get_contextvars() == {"trace_id": PARENT[3:35]}
    assert structlog.contextvars.get_contextvars() == {}


def test_without_tracing_no_trace_is_handed_on() -> None:
    traces = NoTraces()
    with traces.begin("job", "consumer", PARENT) as span, traces.within("agent", "internal") as part:
        part.note(result="reply")
        assert (span.traceparent, part.traceparent) == (None, None)
    traces.flush(1)
    traces.close()
