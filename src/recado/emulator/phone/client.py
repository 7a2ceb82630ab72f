"""The client of the control API: write as a customer, wait for answers, order faults.

It uses the standard library only, so that the command line can import it quickly. Each call opens its own connection
and may wait in it; threads can share a client.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TypeAlias
from urllib.parse import urlencode, urlsplit

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
Query: TypeAlias = Mapping[str, str | int | float | None]

_PATIENCE_SECONDS = 30.0


class EmulatorRefused(Exception):
    """The emulator refused a control request. The sentence says why."""


@dataclass(frozen=True, slots=True)
class SeenMedia:
    sid: str
    content_type: str
    url: str


@dataclass(frozen=True, slots=True)
class SeenMessage:
    seq: int
    sid: str
    account_sid: str
    direction: str
    sender: str
    to: str
    body: str
    status: str
    error_code: int | None
    created: float
    media: tuple[SeenMedia, ...]
    content_sid: str | None
    status_callback: str | None
    typing_at: float | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class SeenDelivery:
    """One attempt to reach the application; `status` is what it answered, `error` the code Twilio would log."""

    seq: int
    kind: str
    message_sid: str
    message_status: str
    url: str
    attempt: int
    status: int | None
    error: int | None
    at: float


class EmulatorClient:
    def __init__(self, base_url: str) -> None:
        self._base = urlsplit(base_url)

    def send(
        self,
        sender: str,
        to: str,
        body: str = "",
        *,
        num_media: int = 0,
        media_urls: Sequence[str] = (),
        media: Sequence[Mapping[str, str]] = (),
        fields: Mapping[str, str | Sequence[str]] | None = None,
        duplicates: int | None = None,
        delay: float | None = None,
        **details: str | None,
    ) -> SeenMessage:
        """Writes to `to` as the customer `sender`; `details` are the other names of `POST /_emulator/inbound`."""
        document: dict[str, Json] = {"from": sender, "to": to, "body": body, **details}
        document |= {"num_media": num_media, "media_urls": list(media_urls), "media": list(media)}
        document |= {"fields": fields or {}, "duplicates": duplicates, "delay": delay}
        return _message(self._call("POST", "inbound", document))

    def messages(
        self,
        after: int = 0,
        wait: float = 0.0,
        *,
        sender: str | None = None,
        to: str | None = None,
        direction: str | None = None,
        status: str | None = None,
        account_sid: str | None = None,
    ) -> list[SeenMessage]:
        """Those with a `seq` above `after`, the oldest first; with `wait` it returns as soon as there is one."""
        query: Query = {"from": sender, "to": to, "direction": direction, "status": status, "account_sid": account_sid}
        return [_message(item) for item in self._items("messages", {**query, "after": after}, wait)]

    def message(self, sid: str, status: str | None = None, wait: float = 0.0) -> SeenMessage:
        """The message as it is now, or as soon as it has come to `status`."""
        path = f"messages/{sid}?{_query({'status': status, 'wait': wait})}"
        return _message(self._call("GET", path, wait=wait))

    def deliveries(
        self,
        after: int = 0,
        wait: float = 0.0,
        *,
        kind: str | None = None,
        message_sid: str | None = None,
        message_status: str | None = None,
    ) -> list[SeenDelivery]:
        query: Query = {"kind": kind, "message_sid": message_sid, "message_status": message_status}
        return [_delivery(item) for item in self._items("deliveries", {**query, "after": after}, wait)]

    def fault(
        self,
        kind: str,
        *,
        times: int | None = 1,
        to: str | None = None,
        body: str | None = None,
        code: int | None = None,
        status: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """The next `times` matching requests go wrong in this way; `times=None` until `clear_faults`."""
        document: dict[str, Json] = {"kind": kind, "times": times, "to": to, "body": body}
        self._call("POST", "faults", document | {"code": code, "status": status, "seconds": seconds})

    def clear_faults(self) -> None:
        self._call("DELETE", "faults")

    def configure_number(
        self,
        address: str,
        webhook_url: str | None,
        *,
        fallback_url: str | None = None,
        account_sid: str | None = None,
    ) -> None:
        document: dict[str, Json] = {"address": address, "webhook_url": webhook_url}
        self._call("POST", "numbers", document | {"fallback_url": fallback_url, "account_sid": account_sid})

    def webhooks(self) -> dict[str, str | None]:
        """Return the configured numbers with the URLs that receive their messages."""
        found = self._items("numbers", {})
        return {_text(item, "address"): _text(item, "webhook_url") or None for item in found}

    def configure_account(self, sid: str, token: str) -> None:
        """Adds an account, or gives a known one a new token."""
        self._call("POST", "accounts", {"sid": sid, "token": token})

    def add_api_key(self, account_sid: str, key_sid: str, key_secret: str) -> None:
        self._call("POST", "accounts", {"sid": account_sid, "key_sid": key_sid, "key_secret": key_secret})

    def opt_out(self, number: str, user: str) -> None:
        self._call("POST", "opt-outs", {"number": number, "user": user})

    def opt_in(self, number: str, user: str) -> None:
        self._call("DELETE", "opt-outs", {"number": number, "user": user})

    def opt_outs(self) -> list[tuple[str, str]]:
        """Pairs of a number of ours and a customer."""
        return [(_text(item, "number"), _text(item, "user")) for item in self._items("opt-outs", {})]

    def set_policies(self, **changed: float | bool) -> None:
        """Changes the named policies (`settings.Policies`) and leaves the others."""
        self._call("POST", "policies", changed)

    def reset(self) -> None:
        self._call("POST", "reset", {})

    def _items(self, path: str, query: Query, wait: float = 0.0) -> Iterator[Json]:
        page = self._call("GET", f"{path}?{_query({**query, 'wait': wait})}", wait=wait)
        items = page.get("items")
        return iter(items if isinstance(items, list) else [])

    def _call(self, method: str, path: str, document: Json = None, wait: float = 0.0) -> Mapping[str, Json]:
        body = None if document is None else json.dumps(document)
        target = f"{self._base.path.rstrip('/')}/_emulator/{path}"
        with closing(self._connect(_PATIENCE_SECONDS + wait)) as connection:
            connection.request(method, target, body, {"Content-Type": "application/json", "Connection": "close"})
            response = connection.getresponse()
            answer: Json = json.loads(response.read())
        if not isinstance(answer, Mapping):
            raise EmulatorRefused("The answer is not a JSON object.")
        if response.status >= 400:
            raise EmulatorRefused(str(answer.get("error", f"status {response.status}")))
        return answer

    def _connect(self, patience: float) -> HTTPConnection:
        return HTTPConnection(self._base.hostname or "127.0.0.1", self._base.port or 80, timeout=patience)


def _query(values: Query) -> str:
    return urlencode({name: value for name, value in values.items() if value is not None})


def _message(item: Json) -> SeenMessage:
    media = item.get("media") if isinstance(item, Mapping) else None
    return SeenMessage(
        seq=_integer(item, "seq"),
        sid=_text(item, "sid"),
        account_sid=_text(item, "account_sid"),
        direction=_text(item, "direction"),
        sender=_text(item, "from"),
        to=_text(item, "to"),
        body=_text(item, "body"),
        status=_text(item, "status"),
        error_code=_maybe_integer(item, "error_code"),
        created=_number(item, "created"),
        media=tuple(_media(one) for one in media) if isinstance(media, list) else (),
        content_sid=_text(item, "content_sid") or None,
        status_callback=_text(item, "status_callback") or None,
        typing_at=_number(item, "typing_at") or None,
        deleted=_value(item, "deleted") is True,
    )


def _media(item: Json) -> SeenMedia:
    return SeenMedia(_text(item, "sid"), _text(item, "content_type"), _text(item, "url"))


def _delivery(item: Json) -> SeenDelivery:
    return SeenDelivery(
        seq=_integer(item, "seq"),
        kind=_text(item, "kind"),
        message_sid=_text(item, "message_sid"),
        message_status=_text(item, "message_status"),
        url=_text(item, "url"),
        attempt=_integer(item, "attempt"),
        status=_maybe_integer(item, "status"),
        error=_maybe_integer(item, "error"),
        at=_number(item, "at"),
    )


def _value(item: Json, name: str) -> Json:
    return item.get(name) if isinstance(item, Mapping) else None


def _text(item: Json, name: str) -> str:
    value = _value(item, name)
    return value if isinstance(value, str) else ""


def _number(item: Json, name: str) -> float:
    value = _value(item, name)
    return value if isinstance(value, int | float) else 0.0


def _maybe_integer(item: Json, name: str) -> int | None:
    value = _value(item, name)
    return value if isinstance(value, int) else None


def _integer(item: Json, name: str) -> int:
    return _maybe_integer(item, name) or 0
