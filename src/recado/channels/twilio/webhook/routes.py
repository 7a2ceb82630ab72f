"""The two endpoints that Twilio calls, as plain ASGI.

They are not routes of the web framework: ten thousand webhooks a second share one core with everything else, and the
framework's work around a handler costs as much as storing the message.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias
from urllib.parse import quote

from starlette.types import Message, Receive, Scope, Send

from recado.channels.twilio.webhook.deadlines import Deadlines
from recado.channels.twilio.webhook.service import (
    Forbidden,
    InvalidForm,
    Orphaned,
    Reception,
    Reported,
    SignedRequest,
    TwilioWebhookService,
)
from recado.conversation.replying.accept import Accepted, Duplicate
from recado.core.errors import Busy, NotConfirmed, StorageUnavailable
from recado.core.metrics import FORBIDDEN, WEBHOOKS, Meters
from recado.core.tracing import NoTraces, Span, Traces

MESSAGES_PATH: Final = "/webhooks/twilio/messages"
STATUS_PREFIX: Final = "/webhooks/twilio/status/"
ANSWER_SECONDS: Final = 8.0
"""Twilio waits fifteen seconds. If no commit is confirmed by then, Twilio is asked to send again: a write that has not
begun is withdrawn, and one that is stored late makes the second webhook a duplicate."""
MAX_BODY: Final = 256 * 1024
"""A signed form is a few kilobytes; a filled-in WhatsApp Flow may be larger."""
WEBHOOK: Final = "twilio.webhook"
"""The name of a webhook's span; the endpoint follows."""


_SAFE: Final = "/~:@!$&'()*+,;="
_TWIML: Final = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'

AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def _respond(
    status: int, body: bytes = b"", content_type: bytes = b"text/plain; charset=utf-8"
) -> tuple[Message, Message]:
    headers = [(b"content-length", str(len(body)).encode())]
    if body:
        headers.append((b"content-type", content_type))
    if status == 503:
        headers.append((b"retry-after", b"1"))
    return (
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": body},
    )


# An empty TwiML document means "no reply"; text/plain would be sent to the customer as one.
_OK: Final = _respond(200, _TWIML, b"text/xml; charset=utf-8")
_NO_CONTENT: Final = _respond(204)
_BAD: Final = _respond(400, b"this form cannot be read as a message\n")
_FORBIDDEN: Final = _respond(403, b"the signature does not fit\n")
_NOT_ALLOWED: Final = _respond(405, b"POST only\n")
_TOO_LARGE: Final = _respond(413, b"the body is too large\n")
_UNAVAILABLE: Final = _respond(503, b"nothing was stored; try again\n")
_NOT_CONFIRMED: Final = _respond(503, b"not confirmed; send again\n")


class TwilioWebhooks:
    """Answers Twilio's calls and passes every other request on."""

    def __init__(
        self,
        service: TwilioWebhookService,
        rest: AsgiApp,
        meters: Meters,
        traces: Traces | None = None,
        *,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._deadlines = Deadlines(answer_seconds)
        self._service = service
        self._rest = rest
        self._meters = meters
        self._traces = traces or NoTraces()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith("/webhooks/twilio/"):
            await self._rest(scope, receive, send)
            return
        if path == MESSAGES_PATH or path.startswith(STATUS_PREFIX):
            endpoint = "messages" if path == MESSAGES_PATH else "status"
            try:
                start, body = await self._traced(scope, receive, path, endpoint)
            except _ClientDisconnected:  # The caller is gone.
                self._meters.count(WEBHOOKS, endpoint, "499")
                return
            except Exception:  # The server answers 500 for it.
                self._meters.count(WEBHOOKS, endpoint, "500")
                raise
            self._meters.count(WEBHOOKS, endpoint, str(start["status"]))
            await send(start)
            await send(body)
        else:
            await self._rest(scope, receive, send)

    async def _traced(self, scope: Scope, receive: Receive, path: str, endpoint: str) -> tuple[Message, Message]:
        ref, query = path.removeprefix(STATUS_PREFIX), scope["query_string"]
        after = await self._service.trace_of(ref, query) if endpoint == "status" and query else None
        with self._traces.begin(f"{WEBHOOK} {endpoint}", "server", after) as span:
            start, body = await self._respond(scope, receive, path, span)
            span.note(http_status=start["status"])
            return start, body

    async def _respond(self, scope: Scope, receive: Receive, path: str, span: Span) -> tuple[Message, Message]:
        if scope["method"] != "POST":
            return _NOT_ALLOWED
        try:
            with self._deadlines.bounded():
                reception = await self._receive(scope, receive, path, span)
        except (TimeoutError, NotConfirmed) as error:
            self._service.not_confirmed(error)
            return _NOT_CONFIRMED
        except (Busy, StorageUnavailable) as error:
            self._service.not_stored(error)
            return _UNAVAILABLE
        if reception is None:
            return _TOO_LARGE
        span.note(result=type(reception).__name__.lower(), **_trace_attributes(reception))
        if isinstance(reception, Forbidden):
            self._meters.count(FORBIDDEN, reception.account or "unknown")
        return _response_to(reception)

    async def _receive(self, scope: Scope, receive: Receive, path: str, span: Span) -> Reception | None:
        """Return the result; None when the body is too large."""
        raw = await _body(receive)
        if raw is None:
            return None
        request = SignedRequest(raw, _raw_path(scope), scope["query_string"], _signature(scope), span.traceparent)
        if path == MESSAGES_PATH:
            return await self._service.receive_message(request)
        return await self._service.receive_status(request, path.removeprefix(STATUS_PREFIX))


def _trace_attributes(reception: Reception) -> dict[str, str]:
    """Return the attributes of the result for its trace."""
    match reception:
        case Accepted(message_id):
            return {"message": str(message_id)}
        case Duplicate(provider_message_id):
            return {"message_sid": provider_message_id}
        case Reported(status):
            return {"status": status}
        case _:
            return {}


def _response_to(reception: Reception) -> tuple[Message, Message]:
    match reception:
        case Accepted() | Duplicate() | Orphaned():
            return _OK
        case Reported():
            return _NO_CONTENT
        case Forbidden():
            return _FORBIDDEN
        case InvalidForm():
            return _BAD


def _raw_path(scope: Scope) -> bytes:
    """Return the path as it was sent.

    Gateways of serverless hosts know only the decoded path; our paths are the same in both forms.
    """
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"], safe=_SAFE).encode() if raw is None else raw.partition(b"?")[0]


def _signature(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-twilio-signature":
            return bytes(value).decode("latin-1")
    return ""


class _ClientDisconnected(Exception):
    """The caller closed the connection, so the form is incomplete."""


async def _body(receive: Receive) -> bytes | None:
    """Return the whole body; None when it is longer than Twilio signs. Raises `_ClientDisconnected`."""
    message = await _next_chunk(receive)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body if len(body) <= MAX_BODY else None
    pieces, size = [body], len(body)
    while message.get("more_body") and size <= MAX_BODY:
        message = await _next_chunk(receive)
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
    return b"".join(pieces) if size <= MAX_BODY else None


async def _next_chunk(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _ClientDisconnected
    return message
