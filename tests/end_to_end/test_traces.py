"""One message is one trace, from its webhook through the queue and Twilio to the last tick: real processes and OTLP."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import BAKERY, Road, customer, until
from tests.support.servers.collector import Collector, SeenSpan, collecting

pytestmark = pytest.mark.proof

TEXT = "segredo de pastelaria"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def road(tmp_path: Path, collector: Collector) -> Iterator[Road]:
    with Road.open(tmp_path, tracing=1) as road:
        road.env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
        yield road


def trace_of_the_answer(collector: Collector) -> list[SeenSpan]:
    """The spans of the trace that ends with the tick `delivered`, once they are all there."""

    def complete() -> list[SeenSpan]:
        for spans in collector.traces().values():
            if any(span.facts.get("recado.status") == "delivered" for span in spans):
                return spans if {"job answer.send", "job conversation.reply"} <= {span.name for span in spans} else []
        return []

    return until(complete, said=lambda: str([(span.name, span.trace[:4]) for span in collector.spans]))


def parent_of(span: SeenSpan, spans: list[SeenSpan]) -> str | None:
    return next((each.name for each in spans if each.id == span.parent), None)


def test_one_trace_leads_from_the_webhook_to_the_delivered_tick(road: Road, collector: Collector) -> None:
    road.serve()
    worker = road.worker()
    road.emulator.send(customer(1), BAKERY.number, TEXT)
    assert road.answers_to(customer(1)) == [f"echo: {TEXT}"]

    spans = trace_of_the_answer(collector)
    family = {(span.name, parent_of(span, spans)) for span in spans}
    assert family == {
        ("twilio.webhook messages", None),
        ("job conversation.reply", "twilio.webhook messages"),
        ("agent.run", "job conversation.reply"),
        ("job answer.send", "job conversation.reply"),
        ("channel.send", "job answer.send"),
        ("twilio.webhook status", "channel.send"),
    }
    assert {span.service for span in spans} == {"recado"}
    assert not any(span.failed for span in spans)
    assert worker.stop() == 0

    sent = b"".join(collector.bodies)
    assert customer(1)[-11:].encode() not in sent
    assert TEXT.encode() not in sent


def test_a_collector_that_is_away_holds_up_nothing(road: Road) -> None:
    road.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    api, worker = road.serve(), road.worker()
    road.emulator.send(customer(1), BAKERY.number, "oi")
    assert road.answers_to(customer(1)) == ["echo: oi"]
    road.quiet(accepted=1)

    for process in (worker, api):  # Each waits three seconds for its last spans.
        process.tell()

    assert worker.ends() == 0
    assert api.ends() in {0, -signal.SIGTERM}
    assert road.verified().outcomes == {"answered": 1}


def test_a_worker_that_dies_leaves_the_trace_to_the_next(road: Road, collector: Collector) -> None:
    """The second run is isolated, in a process of its own."""
    road.serve()
    road.emulator.send(customer(1), BAKERY.number, "oi")
    road.worker(crash_at="after_agent").dies()
    road.worker()

    spans = trace_of_the_answer(collector)
    replies = [span for span in spans if span.name == "job conversation.reply"]  # More than one where leases ran out.
    assert {parent_of(reply, spans) for reply in replies} == {"twilio.webhook messages"}
    assert 1 in {reply.facts["recado.crashes"] for reply in replies}
