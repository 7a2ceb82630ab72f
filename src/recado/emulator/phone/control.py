"""The control API for testers, under `/_emulator/`: write as a customer, cause faults, read what Twilio saw.

It needs no credentials: it is meant for loopback and has no counterpart at Twilio. Lists take `after`, the `seq` of the
last item seen, and `wait`, the seconds to wait for something new.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from recado.emulator.archive import WebhookDelivery
from recado.emulator.messages import EmulatedMessage, JsonObject, JsonValue
from recado.emulator.phone.documents import (
    InvalidDocument,
    JsonDocument,
    parse,
    read_fault,
    read_inbound,
    read_number,
    read_policies,
)
from recado.emulator.rules.refusals import Refusal
from recado.emulator.service import Emulator
from recado.emulator.settings import ApiKey

Handler = Callable[[Request], Awaitable[Response]]

MAX_ITEMS = 1000


def control_routes(emulator: Emulator) -> list[Route]:
    control = Control(emulator)
    endpoints: list[tuple[str, str, Handler]] = [
        ("POST", "inbound", control.inbound),
        ("GET", "messages", control.messages),
        ("GET", "messages/{sid}", control.message),
        ("GET", "deliveries", control.deliveries),
        ("GET", "faults", control.faults),
        ("POST", "faults", control.add_fault),
        ("DELETE", "faults", control.clear_faults),
        ("GET", "numbers", control.numbers),
        ("POST", "numbers", control.add_number),
        ("GET", "accounts", control.accounts),
        ("POST", "accounts", control.add_account),
        ("GET", "opt-outs", control.opt_outs),
        ("POST", "opt-outs", control.add_opt_out),
        ("DELETE", "opt-outs", control.remove_opt_out),
        ("GET", "policies", control.policies),
        ("POST", "policies", control.change_policies),
        ("POST", "reset", control.reset),
    ]
    return [Route(f"/_emulator/{path}", _readable(handler), methods=[method]) for method, path, handler in endpoints]


class Control:
    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._store = emulator.store

    async def inbound(self, request: Request) -> Response:
        """One message, or a list of them; the answer has the same form."""
        value = parse(await request.body())
        if isinstance(value, Mapping):
            return _json(self._receive(value), 201)
        if not isinstance(value, list):
            raise InvalidDocument("A message or a list of messages is expected.")
        return _json([self._receive(one) for one in value], 201)

    def _receive(self, value: JsonValue) -> JsonObject:
        message = self._store.receive(read_inbound(value))
        if isinstance(message, Refusal):
            raise InvalidDocument("No account is known for this 'to'; configure the number or give 'account_sid'.")
        return view_message(message)

    async def messages(self, request: Request) -> Response:
        query = request.query_params
        wanted = {name: query[name] for name in ("account_sid", "direction", "from", "to", "status") if name in query}
        after, wait = _number(request, "after"), _number(request, "wait")

        def read() -> list[JsonObject]:
            views = (view_message(message) for message in self._store.messages_after(int(after)))
            return [view for view in views if all(view[name] == value for name, value in wanted.items())][:MAX_ITEMS]

        return _page(await self._emulator.wait_until(read, wait), after)

    async def message(self, request: Request) -> Response:
        """With `status` and `wait` it is held until the message has come to that status."""
        sid, status = request.path_params["sid"], request.query_params.get("status")

        def read() -> EmulatedMessage | None:
            message = self._store.any_message(sid)
            return message if message is not None and status in (None, message.status) else None

        found = await self._emulator.wait_until(read, _number(request, "wait")) or self._store.any_message(sid)
        return _json({"error": f"There is no message {sid}."}, 404) if found is None else _json(view_message(found))

    async def deliveries(self, request: Request) -> Response:
        query = request.query_params
        wanted = {name: query[name] for name in ("kind", "message_sid", "message_status") if name in query}
        after, wait = _number(request, "after"), _number(request, "wait")

        def read() -> list[JsonObject]:
            views = (view_delivery(delivery) for delivery in self._store.deliveries_after(int(after)))
            return [view for view in views if all(view[name] == value for name, value in wanted.items())][:MAX_ITEMS]

        return _page(await self._emulator.wait_until(read, wait), after)

    async def faults(self, _: Request) -> Response:
        return _json({"items": [asdict(fault) for fault in self._store.faults.waiting()]})

    async def add_fault(self, request: Request) -> Response:
        return _json(asdict(self._store.faults.add(read_fault(parse(await request.body())))), 201)

    async def clear_faults(self, _: Request) -> Response:
        self._store.faults.clear()
        return _json({})

    async def numbers(self, _: Request) -> Response:
        return _json({"items": [asdict(number) for number in self._store.numbers.values()]})

    async def add_number(self, request: Request) -> Response:
        accounts = list(self._store.accounts)
        number = read_number(parse(await request.body()), accounts[0] if len(accounts) == 1 else None)
        if number.account_sid not in self._store.accounts:
            raise InvalidDocument(f"There is no account {number.account_sid}.")
        self._store.numbers[number.address] = number
        return _json(asdict(number), 201)

    async def accounts(self, _: Request) -> Response:
        return _json({"items": [{"sid": sid, "token": token} for sid, token in self._store.accounts.items()]})

    async def add_account(self, request: Request) -> Response:
        """Add an account, give a known one a new token (a rotation), or add an API key."""
        document = JsonDocument(parse(await request.body()))
        document.allow("sid", "token", "key_sid", "key_secret")
        sid, token, key = document.text("sid"), document.maybe_text("token"), document.maybe_text("key_sid")
        if token is not None:
            self._store.accounts[sid] = token
        elif sid not in self._store.accounts:
            raise InvalidDocument("'token' is missing.")
        if key is not None:
            self._store.keys[key] = ApiKey(sid, document.text("key_secret"))
        return _json({"sid": sid}, 201)

    async def opt_outs(self, _: Request) -> Response:
        return _json({"items": [{"number": number, "user": user} for number, user in sorted(self._store.opted_out)]})

    async def add_opt_out(self, request: Request) -> Response:
        number, user = _opt_out(parse(await request.body()))
        self._store.opted_out.add((number, user))
        return _json({"number": number, "user": user}, 201)

    async def remove_opt_out(self, request: Request) -> Response:
        self._store.opted_out.discard(_opt_out(parse(await request.body())))
        return _json({})

    async def policies(self, _: Request) -> Response:
        return _json(asdict(self._store.policies))

    async def change_policies(self, request: Request) -> Response:
        self._store.policies = read_policies(parse(await request.body()), self._store.policies)
        return _json(asdict(self._store.policies))

    async def reset(self, _: Request) -> Response:
        self._store.reset()
        return _json({})


def view_message(message: EmulatedMessage) -> JsonObject:
    return {
        "seq": message.seq,
        "sid": message.sid,
        "account_sid": message.account_sid,
        "direction": message.direction,
        "from": message.sender,
        "to": message.to,
        "body": message.body,
        "status": message.status,
        "error_code": message.error_code,
        "created": message.created,
        "media": [
            {
                "sid": media.sid,
                "content_type": media.content_type,
                "url": media.location or f"{message.uri}/Media/{media.sid}",
            }
            for media in message.media
        ],
        "messaging_service_sid": message.messaging_service_sid,
        "status_callback": message.status_callback,
        "content_sid": message.content_sid,
        "content_variables": message.content_variables,
        "persistent_action": message.persistent_action,
        "typing_at": message.typing_at,
        "deleted": message.deleted,
    }


def view_delivery(delivery: WebhookDelivery) -> JsonObject:
    return asdict(delivery)


def _opt_out(value: JsonValue) -> tuple[str, str]:
    document = JsonDocument(value)
    document.allow("number", "user")
    return document.text("number"), document.text("user")


def _number(request: Request, name: str) -> float:
    try:
        return max(0.0, float(request.query_params.get(name, "0")))
    except ValueError as error:
        raise InvalidDocument(f"{name!r} must be a number.") from error


def _readable(handler: Handler) -> Handler:
    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except InvalidDocument as error:
            return _json({"error": str(error)}, 400)

    return answered


def _page(items: Iterable[JsonObject], after: float) -> Response:
    """Return a page. The cursor of an empty page is the requested one, so it can be used again."""
    shown = list(items)
    return _json({"items": shown, "cursor": shown[-1]["seq"] if shown else int(after)})


def _json(document: JsonValue, status: int = 200) -> Response:
    return Response(json.dumps(document), status, media_type="application/json")
