"""Follows one message through the processes that handle it, from its webhook to the settling of its answer.

A span is a piece of work; spans that belong together share a trace. A line of text connects two processes
(`traceparent`, W3C Trace Context): the job's row carries it across the queue, and the callback URL carries it across
the provider. So the domain hands on a text and knows no tracer, and every backend is traced the same way.

Spans contain ids, names and results, never a customer's words or numbers: they leave the installation. Unless
`RECADO_TRACING` is on, `NoTraces` is used, which costs less than a microsecond.
"""

import re
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal, Protocol, TypeAlias

SpanKind: TypeAlias = Literal["server", "consumer", "client", "internal"]
"""Somebody called us, a job was claimed, we call somebody, none of these."""
Attribute: TypeAlias = str | int | float | bool

JOB: Final = "job"
AGENT: Final = "agent.run"
SEND: Final = "channel.send"
FIND: Final = "channel.find"

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_in(text: str | None) -> str | None:
    """Return the text if it is a valid `traceparent`, else None: it may come from anywhere."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None


class Span(Protocol):
    """A piece of work in progress."""

    @property
    def traceparent(self) -> str | None:
        """The text with which another process continues the trace; None without tracing."""
        ...

    def note(self, **attributes: Attribute) -> None:
        """Add attributes that were not known at the start; each name gets the prefix `recado.`."""
        ...


class Traces(Protocol):
    """Where spans go. An exception that leaves a span marks it failed, with the error's type, without its text."""

    def begin(
        self, name: str, kind: SpanKind, after: str | None, **attributes: Attribute
    ) -> AbstractContextManager[Span]:
        """Start the first span of this process: it continues the trace `after`, or starts a new one."""
        ...

    def within(self, name: str, kind: SpanKind, **attributes: Attribute) -> AbstractContextManager[Span]:
        """Start a child of the current span."""
        ...

    def flush(self, seconds: float) -> None:
        """Send waiting spans; block for `seconds` at most and raise nothing."""
        ...

    def close(self) -> None:
        """Send waiting spans and stop."""
        ...


class _NullSpan:
    @property
    def traceparent(self) -> str | None:
        return None

    def note(self, **attributes: Attribute) -> None:
        pass


_NULL_SPAN: Final[nullcontext[Span]] = nullcontext(_NullSpan())


class NoTraces:
    """Tracing is off. A trace that came in from outside is not continued either."""

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
