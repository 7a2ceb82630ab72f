"""Send one event over HTTP. The receiver is not trusted: it may be anywhere, answer anything, or never answer."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Final

import httpx2

from recado.core.clock import Clock
from recado.core.event_log.models import Event
from recado.core.ids import Chance
from recado.core.outbound.dialling import AddressRefused
from recado.core.outbound.http_clients import CONNECT_SECONDS, HttpClients, Reach
from recado.core.outbound.reasons import reason_of
from recado.events.models import Endpoint, PostResult
from recado.events.wire.rendering import body_of
from recado.events.wire.signing import signed_headers

ANSWER_SECONDS: Final = 15.0
"""How long an endpoint may take at least, from the connection to the end of its answer's head."""
_LONGER: Final = 1 / 3
"""By how much an attempt's limit may be longer than that.

Attempts at endpoints that hang begin together, when events come. If they ended together too, answers to customers
waited for the transactions of them all: beside 12 endpoints p99 was 4 to 15 times as long.
"""
_MOST_DIGITS: Final = 6
_MOST_READ: Final = 16 * 1024


class Poster:
    """Posts signed events. Redirects are not followed, and what an answer says is not kept."""

    def __init__(
        self, http: HttpClients, clock: Clock, chance: Chance, *, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._answer_seconds = answer_seconds
        self._http = http
        self._clock = clock
        self._chance = chance

    async def post(self, endpoint: Endpoint, event: Event, secrets: Sequence[str]) -> PostResult:
        """Send an event to an endpoint. Every failure is a value."""
        limit = answer_limit(self._answer_seconds, self._chance)
        try:
            async with asyncio.timeout(limit):
                return await self._post(endpoint, event, secrets, limit)
        except (TimeoutError, httpx2.TimeoutException):
            return PostResult(None, "no answer in time")
        except AddressRefused:
            return PostResult(None, "the URL leads to an address that is not public")
        except httpx2.InvalidURL:  # An older release took it.
            return PostResult(None, "its URL cannot be called")
        except httpx2.HTTPError as error:
            return PostResult(None, f"it could not be reached: {reason_of(error)}")

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._http.close_loop_clients()

    async def _post(self, endpoint: Endpoint, event: Event, secrets: Sequence[str], limit: float) -> PostResult:
        body = body_of(event)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "recado",
            **signed_headers(str(event.id), int(self._clock.now().timestamp()), body, secrets),
        }
        reach: Reach = "anywhere" if endpoint.allow_private else "public"
        timeout = httpx2.Timeout(limit, connect=CONNECT_SECONDS)
        client = self._http.client(reach)
        async with client.stream("POST", endpoint.url, content=body, headers=headers, timeout=timeout) as response:
            await _read_to_end(response)
            return _answered(response)


def answer_limit(seconds: float, chance: Chance) -> float:
    """Return how many seconds one attempt may take: `seconds`, or up to a third more."""
    return seconds * (1 + _LONGER * chance.random())


async def _read_to_end(response: httpx2.Response) -> None:
    """Read a short answer, so that the connection can be used again. A long one is cut off with its connection."""
    read = 0
    async for part in response.aiter_raw():
        read += len(part)
        if read > _MOST_READ:
            return


def _answered(response: httpx2.Response) -> PostResult:
    status, after = response.status_code, response.headers.get("retry-after", "")
    if 200 <= status < 300:
        return PostResult(status)
    seconds = int(after) if after.isascii() and after.isdigit() and len(after) <= _MOST_DIGITS else 0
    known = {each.value: each.phrase for each in HTTPStatus}
    return PostResult(status, f"it answered {status} {known.get(status, '')}".rstrip(), timedelta(seconds=seconds))
