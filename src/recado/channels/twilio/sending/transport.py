"""Carry the SDK's requests to Twilio, and say how far a failed request got.

The SDK reaches one fixed host, has no timeouts and turns every failure into one or two exceptions. The conversation
must know whether a request can have reached Twilio: a request that certainly did not may be sent again, any other may
not. Nothing is retried here.
"""

import base64
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlencode, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from twilio.http import AsyncHttpClient
from twilio.http.response import Response

from recado.core.errors import ConfigurationError
from recado.core.unicode import storable

TWILIO_API_URL = "https://api.twilio.com"
CONNECT_SECONDS = 3.0
READ_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class NeverSent:
    """No connection was made, so Twilio cannot have seen the request."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Declined:
    """Twilio answered with an error. Digits of phone numbers in `message` are masked."""

    status: int
    code: str | None
    message: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Twilio may have accepted the request: the answer was lost, late or unreadable."""

    code: str
    detail: str


CallProblem: TypeAlias = NeverSent | Declined | Uncertain


class CallEnded(Exception):
    def __init__(self, problem: CallProblem) -> None:
        super().__init__(problem)
        self.problem = problem


_LONGEST_ANSWER = 16 * 1024 * 1024

# Twilio's side closes idle connections after a while, and a request that crosses that close on the wire is lost without
# a trace of whether it was read. Reusing only connections that were busy a moment ago makes such unknowns rare.
_KEEP_ALIVE_SECONDS = 5.0


class Transport(AsyncHttpClient):
    """Carries the SDK's requests to the configured host over one bounded pool of connections.

    The session belongs to the event loop in which it is first used. It keeps no cookies, because all tenants share it,
    and ignores proxy settings and `.netrc` of the environment.
    """

    def __init__(
        self,
        base_url: str = TWILIO_API_URL,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
        connections: int = 50,
        resolver: AbstractResolver | None = None,
    ) -> None:
        super().__init__(logging.getLogger(__name__), is_async=True)
        self._base = _checked_base(base_url)
        # The wait for a free connection counts as connecting. The total bounds an answer that arrives slowly.
        self._timeouts = aiohttp.ClientTimeout(
            total=connect_seconds + read_seconds,
            connect=connect_seconds,
            sock_connect=connect_seconds,
            sock_read=read_seconds,
        )
        self._connections = connections
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def request(  # type: ignore[override] # the SDK's own async class overrides its sync one the same way
        self,
        method: str,
        uri: str,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the SDK's signature; ours are fixed
        allow_redirects: bool = False,  # noqa: ARG002 - never: it would carry credentials to another host
    ) -> Response:
        """Return the SDK's answer for a 2xx. Every other result is raised as its problem."""
        url, body = self._rebased(uri, params), _encoded(data)
        all_headers = {**(headers or {}), **_authorization(auth)}
        try:
            response, text = await self._exchange(method, url, body, all_headers)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise CallEnded(NeverSent(_connecting_failure(error), type(error).__name__)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            code = "read_timeout" if isinstance(error, TimeoutError) else "connection_lost"
            raise CallEnded(Uncertain(code, type(error).__name__)) from error
        if not 200 <= response.status < 300:
            raise CallEnded(_declined(response.status, text, response.headers.get("Retry-After")))
        return Response(response.status, text, dict(response.headers))

    async def _exchange(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[aiohttp.ClientResponse, str]:
        session = self._open_session()
        async with session.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
            return response, await _bounded_text(response)

    async def aclose(self) -> None:
        """Close the connections. A later request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, keepalive_timeout=_KEEP_ALIVE_SECONDS, resolver=self._resolver
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeouts,
                trust_env=False,
            )
        return self._session

    def _rebased(self, uri: str, params: Mapping[str, object] | None) -> str:
        """Return the same path and query at our base URL, so that no answer of the API can name another host."""
        parts = urlsplit(uri)
        query = "&".join(filter(None, (parts.query, urlencode(params or {}, doseq=True))))
        return f"{self._base}{parts.path}" + (f"?{query}" if query else "")


def _checked_base(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in base_url:
        raise ConfigurationError(f"RECADO_TWILIO_API_URL must look like {TWILIO_API_URL}, not {parts.scheme}://…")
    return base_url.rstrip("/")


def _encoded(data: Mapping[str, object] | None) -> bytes | None:
    return urlencode(data, doseq=True).encode("ascii") if data else None


def _authorization(auth: tuple[str, str] | None) -> dict[str, str]:
    if auth is None:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(":".join(auth).encode("utf-8")).decode("ascii")}


async def _bounded_text(response: aiohttp.ClientResponse) -> str:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > _LONGEST_ANSWER:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return content.decode("utf-8", "replace")


def _connecting_failure(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns"
    if isinstance(error, aiohttp.ClientSSLError):
        return "tls"
    return "connect_timeout" if isinstance(error, TimeoutError) else "connect_failed"


def _declined(status: int, text: str, retry_after: str | None) -> Declined:
    """Read both forms of Twilio's errors: `code` and `message`, or RFC 9457 with `title` and `detail`."""
    try:
        payload = json.loads(text)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        return Declined(status, None, "", _seconds(retry_after))
    code = payload.get("code")
    message = payload.get("message") or payload.get("detail") or payload.get("title")
    known_code = str(code) if isinstance(code, int | str) and not isinstance(code, bool) else None
    return Declined(status, known_code, _presentable(message), _seconds(retry_after))


_LONG_NUMBER = re.compile(r"[0-9]{3,}(?=[0-9]{4})")


def _presentable(message: object) -> str:
    """Return Twilio's sentence with masked numbers: it often quotes the recipient's number."""
    return storable(_LONG_NUMBER.sub("…", message))[:200] if isinstance(message, str) else ""


def _seconds(header: str | None) -> float | None:
    """Return `Retry-After` in seconds. Twilio does not use its other form, a date."""
    text = (header or "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else None
