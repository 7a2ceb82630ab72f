"""The agent on an owner's own server: it gets the turn as signed JSON and returns a typed answer.

The owner's server is not trusted. Its answer may be anything, so the answer is limited in size and checked completely.
Its address may be anywhere, so connections are guarded (`dialling.py`) and redirects are not followed.

    POST <url>
    Recado-Signature: t=<seconds>,v1=<hex of HMAC-SHA256(secret, "<seconds>." + body)>
    Idempotency-Key: <turn id>        the same turn may be asked again after a failure
    traceparent: <W3C trace context>  when Recado traces

    {"type": "reply", "text": "…", "closes": false} | {"type": "hand_off", "reason": "…", "notice": "…"}
    | {"type": "no_reply"}
"""

import asyncio
import hashlib
import hmac
import json
from typing import Annotated, Literal, TypeAlias

import httpx2
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from recado.agents.registry import AgentSetup
from recado.agents.results import MAX_ANSWER, MAX_REASON
from recado.conversation.errors import AgentFailed
from recado.conversation.ports import AgentResult, HandOff, NoReply, Reply, TurnContext
from recado.core.database.types import JsonValue
from recado.core.outbound.dialling import PACKED, AddressRefused
from recado.core.outbound.http_clients import CONNECT_SECONDS, Reach
from recado.core.outbound.reasons import reason_of

MAX_BODY = 64 * 1024
_TRY_AGAIN = frozenset({408, 425, 429})


class _Answer(BaseModel):
    """Unknown fields are ignored, so that a newer server may send more than we know."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _ReplyAnswer(_Answer):
    type: Literal["reply"]
    text: str = Field(min_length=1, max_length=MAX_ANSWER)
    closes: bool = False


class _HandOffAnswer(_Answer):
    type: Literal["hand_off"]
    reason: str = Field(default="", max_length=MAX_REASON)
    notice: str | None = Field(default=None, min_length=1, max_length=MAX_ANSWER)


class _NoReplyAnswer(_Answer):
    type: Literal["no_reply"]
    reason: str = Field(default="", max_length=MAX_REASON)


_AnyAnswer: TypeAlias = Annotated[_ReplyAnswer | _HandOffAnswer | _NoReplyAnswer, Field(discriminator="type")]
_ANSWERS: TypeAdapter[_ReplyAnswer | _HandOffAnswer | _NoReplyAnswer] = TypeAdapter(_AnyAnswer)


class HttpAgent:
    """Sends the turn to the owner's own server."""

    cooperative = True

    def __init__(self, setup: AgentSetup) -> None:
        settings, secret = setup.settings, setup.credentials.secret
        if settings.url is None or secret is None:
            raise AgentFailed("the http agent has no URL or no secret; set it again", retryable=False)
        self._url = settings.url
        self._secret = secret.encode()
        self._history_limit = settings.history_limit
        self._reach: Reach = "anywhere" if settings.allow_private else "public"
        self._http = setup.http
        self._clock = setup.clock

    async def respond(self, turn: TurnContext) -> AgentResult:
        left = (turn.deadline - self._clock.now()).total_seconds()
        try:
            async with asyncio.timeout(max(0.0, left)):
                return _parse_answer(await self._ask(turn, left))
        except (TimeoutError, httpx2.TimeoutException):
            raise AgentFailed("the agent's server took too long") from None
        except AddressRefused:
            raise AgentFailed("the agent's URL leads to an address that is not public", retryable=False) from None
        except httpx2.InvalidURL:  # An older release took it.
            raise AgentFailed("the agent's URL cannot be called; set another one", retryable=False) from None
        except httpx2.HTTPError as error:
            raise AgentFailed(f"the agent's server could not be reached: {reason_of(error)}") from None

    async def _ask(self, turn: TurnContext, left: float) -> bytes:
        body = _request_body(turn, self._history_limit)
        timeout = httpx2.Timeout(left, connect=min(CONNECT_SECONDS, left))
        client = self._http.client(self._reach)
        headers = self._headers(turn, body)
        async with client.stream("POST", self._url, content=body, headers=headers, timeout=timeout) as response:
            _check(response)
            read = bytearray()
            async for part in response.aiter_raw():
                read += part
                if len(read) > MAX_BODY:
                    raise AgentFailed(f"the agent's server answered more than {MAX_BODY // 1024} KB")
            return bytes(read)

    def _headers(self, turn: TurnContext, body: bytes) -> dict[str, str]:
        trace = {} if turn.trace is None else {"traceparent": turn.trace}
        return trace | {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "recado",
            "Idempotency-Key": str(turn.turn_id),
            "Recado-Signature": signature(self._secret, int(self._clock.now().timestamp()), body),
        }


def signature(secret: bytes, timestamp: int, body: bytes) -> str:
    """Return the signature that a receiver computes again to check that we sent `body`, and when."""
    mac = hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"


def _request_body(turn: TurnContext, history_limit: int) -> bytes:
    history = turn.history[-history_limit:] if history_limit else ()
    asked: JsonValue = {
        "version": 1,
        "turn_id": str(turn.turn_id),
        "conversation_id": str(turn.conversation_id),
        "contact": {"id": str(turn.contact_id), "name": turn.contact_name},
        "locale": turn.locale,
        "deadline": turn.deadline.isoformat(),
        "messages": [
            {"text": message.text, "kind": message.kind, "received_at": message.received_at.isoformat()}
            for message in turn.messages
        ],
        "history": [{"author": entry.author, "text": entry.text, "at": entry.at.isoformat()} for entry in history],
    }
    return json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _check(response: httpx2.Response) -> None:
    if response.status_code != 200:
        retryable = response.status_code >= 500 or response.status_code in _TRY_AGAIN
        raise AgentFailed(f"the agent's server answered {response.status_code}", retryable=retryable)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise AgentFailed("the agent's server answered something else than application/json")
    if PACKED in response.extensions:
        raise AgentFailed("the agent's server compressed its answer although asked not to")


def _parse_answer(body: bytes) -> AgentResult:
    try:
        answer = _ANSWERS.validate_json(body)
    except ValidationError:
        # The text of the error quotes the answer, so it is left out.
        raise AgentFailed("the agent's server answered JSON of another shape") from None
    match answer:
        case _ReplyAnswer(text=text, closes=closes):
            return Reply(text, closes=closes)
        case _HandOffAnswer(reason=reason, notice=notice):
            return HandOff(reason, notice)
        case _NoReplyAnswer(reason=reason):
            return NoReply(reason)
