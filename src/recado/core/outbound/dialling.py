"""Connections to addresses that owners choose: guarded when they are made, and bounded in what they may send.

The name is resolved once, its addresses are checked, and exactly a checked address is dialled: a name that resolves to
another address a moment later gains nothing. TLS still checks the name.

What a server sends is parsed in the event loop that all owners share, and kept in the memory that they share. So it is
read in small parts. The head of an answer, before which a server may send any number of others (1xx), has an end, and
so has its body, which is not unpacked.
"""

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final

import httpcore2
import httpx2

from recado.core.outbound.addresses import AddressPolicy, IpAddress, is_public
from recado.core.outbound.names import Names, NamesBusy, shared_names

IDLE_CONNECTIONS = 100
_MOST_TRIED = 4
"""At most this many addresses of a name are tried: this machine may be unable to reach one kind of them."""

READ_AT_ONCE: Final = 4 * 1024
"""Of the shortest lines there are, these many take the event loop some twenty milliseconds."""
MOST_HEAD: Final = 64 * 1024
MOST_BODY: Final = 4 * 1024 * 1024
"""The library for models reads an answer to its end, however long it is. This is longer than any model's."""
MOST_PARTS: Final = 10_000
"""A part may be one byte, which costs the parser as much as four thousand."""
_PARTS_A_TURN: Final = 64
PACKED: Final = "recado_packed"
"""The extension of an answer that is compressed although it was asked not to be. It is not unpacked: a small one may be
enormous then."""


class AddressRefused(httpx2.ConnectError):
    """The name has an address that is not public, and what the owner set up may not connect to it."""


class _Refused(httpcore2.ConnectError):
    """The same, as an error of the layer that dials."""


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves a name, checks its addresses and dials a checked address."""

    def __init__(self, is_allowed: AddressPolicy, names: Names) -> None:
        self._plain = httpcore2.AnyIOBackend()
        self._is_allowed = is_allowed
        self._names = names

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._allowed_addresses(host)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the name took too long to resolve") from error
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._dial(address, port, timeout, local_address, socket_options)
        return await self._dial(addresses[-1], port, timeout, local_address, socket_options)

    async def _dial(
        self,
        address: str,
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None,
    ) -> "BoundedStream":
        return BoundedStream(await self._plain.connect_tcp(address, port, timeout, local_address, socket_options))

    async def _allowed_addresses(self, host: str) -> Sequence[str]:
        """Return the addresses of a name. Raises `_Refused` if a connection to them is not allowed."""
        try:
            addresses = await self._names.addresses(host)
        except NamesBusy as error:
            raise httpcore2.ConnectError("too many names of its domain wait to be resolved") from error
        if not addresses:
            raise httpcore2.ConnectError("the name could not be resolved")
        # A private address among public ones is no accident, so it refuses all of them.
        if not all(self._is_allowed(_without_zone(address)) for address in addresses):
            raise _Refused("the name leads to an address that is not public")
        return addresses[:_MOST_TRIED]

    async def sleep(self, seconds: float) -> None:
        await self._plain.sleep(seconds)


def _without_zone(address: str) -> IpAddress:
    return ipaddress.ip_address(address.partition("%")[0])


class BoundedStream(httpcore2.AsyncNetworkStream):
    """A connection that is read in small parts, and no further than `MOST_HEAD` before the head of an answer ended."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left: int | None = MOST_HEAD

    def head_has_ended(self) -> None:
        """Set no limit until the next request."""
        self._left = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._left is not None and self._left <= 0:
            raise httpcore2.RemoteProtocolError("the head of the answer does not end")
        data = await self._stream.read(min(max_bytes, READ_AT_ONCE), timeout)
        if self._left is not None:
            self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._left = MOST_HEAD
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return BoundedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class GuardedTransport(httpx2.AsyncBaseTransport):
    """A connection pool without proxies that dials only addresses which the guard allows."""

    def __init__(
        self, context: ssl.SSLContext, is_allowed: AddressPolicy = is_public, names: Names | None = None
    ) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=30.0,
            network_backend=_GuardedBackend(is_allowed, shared_names() if names is None else names),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        inner = _inner_request(request)
        try:
            response = await self._pool.handle_async_request(inner)
        except _FAILURES as error:
            raise _translated(error) from error
        stream = response.extensions.get("network_stream")
        if isinstance(stream, BoundedStream):
            stream.head_has_ended()
        assert isinstance(response.stream, AsyncIterable)  # noqa: S101 - narrows: an async pool's responses are
        headers = [each for each in response.headers if not _says_packed(*each)]
        packed = len(headers) < len(response.headers)
        return httpx2.Response(
            response.status,
            headers=headers,
            stream=_Stream(response.stream, response.aclose),
            extensions=dict(response.extensions) | ({PACKED: True} if packed else {}),
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


def _says_packed(name: bytes, value: bytes) -> bool:
    return name.lower() == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}


def _inner_request(request: httpx2.Request) -> httpcore2.Request:
    """Return the request as the layer that dials takes it."""
    url = httpcore2.URL(
        scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
    )
    assert isinstance(request.stream, httpx2.AsyncByteStream)  # noqa: S101 - narrows: an async client's requests are
    return httpcore2.Request(
        request.method, url, headers=request.headers.raw, content=request.stream, extensions=request.extensions
    )


class _Stream(httpx2.AsyncByteStream):
    """A response body that is not longer than `MOST_BODY`, and whose errors are those of the client."""

    def __init__(self, parts: AsyncIterable[bytes], close: Callable[[], Awaitable[None]]) -> None:
        self._parts = parts
        self._close = close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = count = 0
        try:
            async for part in self._parts:
                read, count = read + len(part), count + 1
                if read > MOST_BODY:
                    raise httpcore2.ReadError(f"the answer is longer than {MOST_BODY // 1024} KB")
                if count > MOST_PARTS:
                    raise httpcore2.ReadError("the answer has too many parts")
                if count % _PARTS_A_TURN == 0:
                    await asyncio.sleep(0)
                yield part
        except _FAILURES as error:
            raise _translated(error) from error

    async def aclose(self) -> None:
        await self._close()


_TRANSLATION: tuple[tuple[type[Exception], type[httpx2.TransportError]], ...] = (
    (_Refused, AddressRefused),
    (httpcore2.ConnectTimeout, httpx2.ConnectTimeout),
    (httpcore2.TimeoutException, httpx2.ReadTimeout),
    (httpcore2.ConnectError, httpx2.ConnectError),
    (httpcore2.NetworkError, httpx2.ReadError),
    (httpcore2.ProtocolError, httpx2.RemoteProtocolError),
    (httpcore2.UnsupportedProtocol, httpx2.UnsupportedProtocol),
)
_FAILURES = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
)


def _translated(error: Exception) -> httpx2.TransportError:
    kind = next(ours for theirs, ours in _TRANSLATION if isinstance(error, theirs))
    return kind(str(error))
