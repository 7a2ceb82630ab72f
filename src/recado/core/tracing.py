"""Follows one message through the processes that handle it: from its webhook to the last tick of its answer.

A span is a stretch of work; spans that belong together share a trace. What connects two processes is a line of text
(`traceparent`, W3C Trace Context): the job's row carries it across the queue, and the address that Twilio calls back
across Twilio. So the domain hands on a text and knows no tracer, and a message is followed the same with every backend.

Spans tell ids, names and how something ended, never a customer's words or numbers: they leave the house. Unless
`RECADO_TRACING` is on there is `NoTraces`, which costs less than a microsecond.
"""

import re
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal, Protocol, TypeAlias

SpanKind: TypeAlias = Literal["server", "consumer", "client", "internal"]
"""Somebody called us, a job was taken from the line, we call somebody, none of these."""
Attribute: TypeAlias = str | int | float | bool

WEBHOOK: Final = "twilio.webhook"
JOB: Final = "job"
AGENT: Final = "agent.run"
SEND: Final = "channel.send"
FIND: Final = "channel.find"
SPANS: Final = (WEBHOOK, JOB, AGENT, SEND, FIND)

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_in(text: str | None) -> str | None:
    """The text if it is a `traceparent` that we can go on from, else None: it may come from anywhere."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None


class Span(Protocol):
    """A stretch of work that is going on."""

    @property
    def traceparent(self) -> str | None:
        """What another process needs to go on from here; None when nobody traces."""
        ...

    def note(self, **attributes: Attribute) -> None:
        """Tell something of it that was not known when it began; names get `recado.` in front."""
        ...


class Traces(Protocol):
    """Where spans go. An exception that leaves one marks it as failed, with the error's type and none of its text."""

    def begin(
        self, name: str, kind: SpanKind, after: str | None, **attributes: Attribute
    ) -> AbstractContextManager[Span]:
        """The first span of this process: it goes on from `after`, or begins a trace of its own."""
        ...

    def within(self, name: str, kind: SpanKind, **attributes: Attribute) -> AbstractContextManager[Span]:
        """A part of the span that is going on here."""
        ...

    def flush(self, seconds: float) -> None:
        """Send what waits; blocks for so long at most, and raises nothing."""
        ...

    def close(self) -> None:
        """Send what waits, and end."""
        ...


class _NullSpan:
    @property
    def traceparent(self) -> str | None:
        return None

    def note(self, **attributes: Attribute) -> None:
        pass


_NULL_SPAN: Final[nullcontext[Span]] = nullcontext(_NullSpan())


class NoTraces:
    """Nobody traces. What came in from outside is not handed on either."""

    def begin(
        self,
        name: str,  # noqa: ARG002
        kind: SpanKind,  # noqa: ARG002
        after: str | None,  # noqa: ARG002
        **attributes: Attribute,  # noqa: ARG002
    ) -> AbstractContextManager[Span]:
        return _NULL_SPAN

    def within(self, name: str, kind: SpanKind, **attributes: Attribute) -> AbstractContextManager[Span]:  # noqa: ARG002
        return _NULL_SPAN

    def flush(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        pass
