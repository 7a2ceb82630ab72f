"""Twilio's REST API: Messages, Media, Accounts and the typing indicator.

Load tests make many creates, so their forms are parsed by hand. The store decides what a create means. Faults are
applied here, because they change answers, not messages.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from recado.emulator.messages import (
    API_VERSION,
    EmulatedMessage,
    JsonObject,
    Media,
    date,
    media_resource,
    message_resource,
)
from recado.emulator.rules.faults import ANSWER, FETCHING, READING, REFUSING, Fault
from recado.emulator.rules.refusals import BROKEN, DAILY_CAP, NOT_FOUND, THROTTLED, UNAUTHENTICATED, Refusal
from recado.emulator.rules.validation import read_create_request
from recado.emulator.service import Emulator
from recado.emulator.wire.paging import list_page, read_list_request
from recado.emulator.wire.requests import authenticate, read_fields, read_form

Answer = Response | Refusal
Handler = Callable[[Request, str], Awaitable[Answer]]
Endpoint = Callable[[Request], Awaitable[Response]]

_ACCOUNT = f"/{API_VERSION}/Accounts/{{account}}"
_MESSAGE = f"{_ACCOUNT}/Messages/{{message}}"
_HANG_SECONDS = 600.0
_CREATED_AT = 1_600_000_000.0


def rest_routes(emulator: Emulator) -> list[Route]:
    api = Rest(emulator)
    return [
        Route(f"{_ACCOUNT}/Messages.json", api.owned(api.create), methods=["POST"]),
        Route(f"{_ACCOUNT}/Messages.json", api.owned(api.list_messages), methods=["GET"]),
        Route(f"{_MESSAGE}/Media.json", api.owned(api.list_media), methods=["GET"]),
        Route(f"{_MESSAGE}/Media/{{media}}.json", api.owned(api.fetch_media), methods=["GET"]),
        Route(f"{_MESSAGE}/Media/{{media}}.json", api.owned(api.delete_media), methods=["DELETE"]),
        Route(f"{_MESSAGE}/Media/{{media}}", api.owned(api.media_bytes), methods=["GET"]),
        Route(f"{_MESSAGE}.json", api.owned(api.fetch), methods=["GET"]),
        Route(f"{_MESSAGE}.json", api.owned(api.update), methods=["POST"]),
        Route(f"{_MESSAGE}.json", api.owned(api.delete), methods=["DELETE"]),
        Route(f"{_ACCOUNT}.json", api.owned(api.account), methods=["GET"]),
        Route(f"{_ACCOUNT}/IncomingPhoneNumbers.json", api.owned(api.phone_numbers), methods=["GET"]),
        Route("/v2/Channels/Senders", api.any_owner(api.senders), methods=["GET"]),
        Route("/v2/Indicators/Typing.json", api.any_owner(api.typing), methods=["POST"]),
        Route("/v3/Indicators/Typing.json", api.any_owner(api.typing), methods=["POST"]),
        # The file host behind the redirect. Its addresses are secret, so it needs no credentials.
        Route("/_cdn/{account}/{message}/{media}", api.cdn, methods=["GET"]),
    ]


class Rest:
    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._store = emulator.store
        self._running: Counter[str] = Counter()

    def owned(self, handler: Handler) -> Endpoint:
        """Require that the account in the path is the authenticated one."""
        return self._guarded(handler, lambda request, owner: request.path_params["account"] == owner)

    def any_owner(self, handler: Handler) -> Endpoint:
        return self._guarded(handler, lambda _request, _owner: True)

    def _guarded(self, handler: Handler, may: Callable[[Request, str], bool]) -> Endpoint:
        async def guarded(request: Request) -> Response:
            owner = authenticate(self._store, request.headers.get("authorization"))
            if owner is None:
                return self._say(UNAUTHENTICATED, "")
            if not may(request, owner):
                return self._say(NOT_FOUND, owner)
            return await self._counted(handler, request, owner)

        return guarded

    async def _counted(self, handler: Handler, request: Request, owner: str) -> Response:
        limit = self._store.policies.max_concurrency
        if limit and self._running[owner] >= limit:
            return self._say(THROTTLED, owner)
        self._running[owner] += 1
        try:
            answer = await handler(request, owner)
            return self._say(answer, owner)
        finally:
            self._running[owner] -= 1

    def _say(self, answer: Answer, owner: str) -> Response:
        response = refuse(answer) if isinstance(answer, Refusal) else answer
        response.raw_headers += (
            (b"twilio-request-id", self._emulator.ids.sid("RQ").encode()),
            (b"twilio-concurrent-requests", str(max(self._running[owner], 1)).encode()),
            (b"twilio-request-duration", b"0.001"),
            (b"x-home-region", b"us1"),
            (b"x-api-domain", b"api.twilio.com"),
            (b"x-shenanigans", b"none"),
        )
        return response

    # Messages.

    async def create(self, request: Request, owner: str) -> Answer:
        draft = read_create_request(await read_form(request))
        fault = self._store.faults.take(ANSWER, draft.to, draft.body)
        if fault is not None and fault.kind in REFUSING:
            return _refusal_of(fault)
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.seconds or 1.0)
        message = self._store.create(owner, draft, fault=None if fault is None else fault.kind)
        if isinstance(message, Refusal):
            return message
        resource = message_resource(message)
        for outgoing in self._store.hurry(message):
            await self._emulator.courier.deliver(outgoing)
        return _json(resource, 201) if fault is None else await _lose(request, fault, resource)

    async def list_messages(self, request: Request, owner: str) -> Answer:
        if self._store.faults.take(READING) is not None:
            return BROKEN
        listing = read_list_request(request.url.path, dict(request.query_params))
        return listing if isinstance(listing, Refusal) else _json(list_page(self._store, owner, listing))

    async def fetch(self, request: Request, owner: str) -> Answer:
        message = self._message(request, owner)
        return NOT_FOUND if message is None else _json(message_resource(message))

    async def update(self, request: Request, owner: str) -> Answer:
        message = self._message(request, owner)
        if message is None:
            return NOT_FOUND
        fields = dict(await read_form(request))
        if fields.get("Status") == "canceled":
            refusal = self._store.cancel(message)
            return refusal or _json(message_resource(message))
        if fields.get("Body") != "":
            return Refusal(20001)
        self._store.redact(message)
        return _json(message_resource(message))

    async def delete(self, request: Request, owner: str) -> Answer:
        message = self._message(request, owner)
        if message is None:
            return NOT_FOUND
        return self._store.delete(message) or Response(status_code=204)

    def _message(self, request: Request, owner: str) -> EmulatedMessage | None:
        return self._store.message(owner, request.path_params["message"])

    # Media.

    async def list_media(self, request: Request, owner: str) -> Answer:
        message = self._message(request, owner)
        if message is None:
            return NOT_FOUND
        return _json(_media_page(message, request.url.path))

    async def fetch_media(self, request: Request, owner: str) -> Answer:
        message = self._message(request, owner)
        media = _media_of(message, request.path_params["media"])
        return NOT_FOUND if message is None or media is None else _json(media_resource(message, media))

    async def delete_media(self, request: Request, owner: str) -> Answer:
        message = self._message(request, owner)
        media = _media_of(message, request.path_params["media"])
        if message is None or media is None:
            return NOT_FOUND
        self._store.delete_media(message, media.sid)
        return Response(status_code=204)

    async def media_bytes(self, request: Request, owner: str) -> Answer:
        message = self._message(request, owner)
        media = _media_of(message, request.path_params["media"])
        if message is None or media is None or self._store.faults.take(FETCHING) is not None:
            return NOT_FOUND
        return RedirectResponse(media.location or f"/_cdn/{owner}/{message.sid}/{media.sid}", status_code=307)

    async def cdn(self, request: Request) -> Response:
        media = _media_of(self._message(request, request.path_params["account"]), request.path_params["media"])
        if media is None:
            return Response(status_code=404)
        return Response(media.content, media_type=media.content_type)

    # The rest.

    async def account(self, request: Request, owner: str) -> Answer:
        uri = request.url.path.removesuffix(".json")
        return _json(
            {
                "auth_token": self._store.accounts[owner],
                "date_created": date(_CREATED_AT),
                "date_updated": date(_CREATED_AT),
                "friendly_name": "Emulated account",
                "owner_account_sid": owner,
                "sid": owner,
                "status": "active",
                "subresource_uris": {"messages": f"{uri}/Messages.json"},
                "type": "Full",
                "uri": f"{uri}.json",
            }
        )

    async def phone_numbers(self, request: Request, owner: str) -> Answer:
        """List the account's numbers. If any address may send, the requested one is in the list."""
        listing = request.query_params.get("PhoneNumber", "")
        found = self._store.own_numbers(owner, listing)
        uri = f"{request.url.path}?PageSize=50&Page=0"
        return _json(
            {
                "end": max(len(found) - 1, 0),
                "first_page_uri": uri,
                "incoming_phone_numbers": [_phone_number(owner, address) for address in found],
                "next_page_uri": None,
                "page": 0,
                "page_size": 50,
                "previous_page_uri": None,
                "start": 0,
                "uri": uri,
            }
        )

    async def senders(self, request: Request, owner: str) -> Answer:
        """List WhatsApp senders. 404 if none is configured and any address may send."""
        channel = request.query_params.get("Channel", "")
        found = self._store.senders_of(owner, f"{channel}:")
        if not found and not self._store.policies.restrict_senders:
            return NOT_FOUND
        url = str(request.url)
        meta: JsonObject = {
            "first_page_url": url,
            "key": "senders",
            "next_page_url": None,
            "page": 0,
            "page_size": 50,
            "previous_page_url": None,
            "url": url,
        }
        return _json({"meta": meta, "senders": [_sender(url, address) for address in found]})

    async def typing(self, request: Request, owner: str) -> Answer:
        fields = await read_fields(request)
        sid = fields.get("messageId", "")
        if fields.get("channel", "").lower() != "whatsapp" or not sid:
            return Refusal(20001)
        message = self._store.message(owner, sid)
        if message is None or message.direction != "inbound":
            return NOT_FOUND
        self._store.type_for(message)
        return _json({"success": True})


def _refusal_of(fault: Fault) -> Refusal:
    match fault.kind:
        case "throttle":
            return THROTTLED
        case "daily_cap":
            return DAILY_CAP
        case "error":
            return Refusal(fault.code or 21211, fault.status or 400)
        case _:
            return BROKEN


async def _lose(request: Request, fault: Fault, resource: JsonObject) -> Answer:
    """Answer a create whose message exists as if it did not."""
    match fault.kind:
        case "accept_then_500":
            return BROKEN
        case "accept_then_hang":
            await _wait_for_hang_up(request, fault.seconds or _HANG_SECONDS)
            return BROKEN
        case "accept_then_reset":
            request.scope["recado.reset"]()
            await _wait_for_hang_up(request, _HANG_SECONDS)
            return BROKEN
        case "no_sid":
            return _json({name: value for name, value in resource.items() if name not in ("sid", "uri")}, 201)
        case _:
            return _json(resource, 201)


async def _wait_for_hang_up(request: Request, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return


def _media_of(message: EmulatedMessage | None, sid: str) -> Media | None:
    return None if message is None else next((media for media in message.media if media.sid == sid), None)


def _media_page(message: EmulatedMessage, path: str) -> JsonObject:
    uri = f"{path}?PageSize=50&Page=0"
    return {
        "end": max(len(message.media) - 1, 0),
        "first_page_uri": uri,
        "media_list": [media_resource(message, media) for media in message.media],
        "next_page_uri": None,
        "page": 0,
        "page_size": 50,
        "previous_page_uri": None,
        "start": 0,
        "uri": uri,
    }


def _phone_number(account_sid: str, address: str) -> JsonObject:
    sid = _stable_sid("PN", address)
    return {
        "account_sid": account_sid,
        "capabilities": {"fax": False, "mms": True, "sms": True, "voice": True},
        "date_created": date(_CREATED_AT),
        "date_updated": date(_CREATED_AT),
        "friendly_name": address,
        "phone_number": address,
        "sid": sid,
        "status": "in-use",
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/IncomingPhoneNumbers/{sid}.json",
    }


def _sender(url: str, address: str) -> JsonObject:
    sid = _stable_sid("XE", address)
    return {"sender_id": address, "sid": sid, "status": "ONLINE", "url": f"{url.partition('?')[0]}/{sid}"}


def _stable_sid(prefix: str, address: str) -> str:
    return prefix + hashlib.md5(address.encode(), usedforsecurity=False).hexdigest()


def _json(resource: JsonObject, status: int = 200) -> Response:
    return Response(json.dumps(resource), status, media_type="application/json")


def refuse(refusal: Refusal) -> Response:
    response = _json(refusal.resource(), refusal.status)
    if refusal.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
    return response
