"""The one way out for agents: shared HTTP clients, and a guard against being sent into our own network.

Tenants choose addresses (`url`, `base_url`), so a tenant could name the metadata service of the cloud, a database or
our own internal routes. The guard sits where the connection is made: the name is resolved once, what it resolved to is
judged, and that very address is dialled, so a name that changes its mind between look and leap gains nothing. TLS still
checks the name.

Clients are shared because an SSL context alone is about a megabyte: a thousand conversations that wait on a slow model
share one client per event loop and one context in all.
"""

import asyncio
import contextlib
import functools
import ipaddress
import socket
import ssl
import threading
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import httpcore2
import httpx2

from recado.core.errors import InvalidInput

Reach: TypeAlias = Literal["public", "anywhere", "provider"]
"""Where a client may go: public addresses only; private ones too; a known provider (through proxies if there are)."""

CONNECT_SECONDS = 3.0
READ_SECONDS = 300.0
"""A last resort: whoever asks keeps the turn's deadline."""
_IDLE_CONNECTIONS = 100
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(httpx2.ConnectError):
    """The name leads to an address that is not public, and the owner's agent may not go there."""


class _Refused(httpcore2.ConnectError):
    """The same, in the words of the layer that dials."""


# --- What is public ---------------------------------------------------------------------------------------------------


def is_public(address: IpAddress) -> bool:
    """Whether an address belongs to the open internet, also when it hides an IPv4 address inside."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def literal_address(host: str) -> IpAddress | None:
    """The address, if the host is written as one; `localhost` counts."""
    if host.rstrip(".").lower() == "localhost":
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def names_private_address(url: str) -> bool:
    """Whether a URL says by itself, without asking DNS, that it leads to a private address."""
    try:
        address = literal_address(urlsplit(url).hostname or "")
    except ValueError:  # No URL at all; `checked_url` says so in words.
        return False
    return address is not None and not is_public(address)


def origin(url: str) -> str:
    """Scheme, host and port: who gets what is sent to `url`."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc}".lower()
    except ValueError:
        return ""


def checked_url(name: str, url: str, *, private: bool) -> str:
    """`url` if an agent may be given it: http(s), a host, no password; plain http within a private network only."""
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        raise InvalidInput(f"{name} is not a URL; write it as https://host/path") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_fine or not url.isprintable():
        raise InvalidInput(f"{name} is not a URL; write it as https://host/path")
    if parts.username is not None or parts.password is not None or " " in url:
        raise InvalidInput(f"{name} must not hold a user name, a password or spaces")
    address = literal_address(parts.hostname)
    if parts.scheme == "http" and not private and not (address is not None and address.is_loopback):
        raise InvalidInput(f"{name} must start with https://; plain http is for loopback and private networks only")
    return url


# --- Dialling ---------------------------------------------------------------------------------------------------------


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves, judges and dials the judged address."""

    def __init__(self) -> None:
        self._plain = httpcore2.AnyIOBackend()

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
                address = await _public_address(host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the name took too long to resolve") from error
        return await self._plain.connect_tcp(address, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._plain.sleep(seconds)


async def _public_address(host: str, port: int) -> str:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError("the name could not be resolved") from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    # One private address among public ones is no accident, so it spoils them all.
    if not addresses or not all(is_public(address) for address in addresses):
        raise _Refused("the name leads to an address that is not public")
    return str(addresses[0])


class GuardedTransport(httpx2.AsyncBaseTransport):
    """A connection pool that only dials public addresses."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=30.0,
            network_backend=_GuardedBackend(),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        assert isinstance(request.stream, httpx2.AsyncByteStream)  # noqa: S101 - narrows: an async client's requests are
        inner = httpcore2.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            response = await self._pool.handle_async_request(inner)
        except _FAILURES as error:
            raise _translated(error) from error
        assert isinstance(response.stream, AsyncIterable)  # noqa: S101 - narrows: an async pool's responses are
        return httpx2.Response(
            response.status,
            headers=response.headers,
            stream=_Stream(response.stream, response.aclose),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx2.AsyncByteStream):
    """A response body whose failures speak the client's language."""

    def __init__(self, parts: AsyncIterable[bytes], close: Callable[[], Awaitable[None]]) -> None:
        self._parts = parts
        self._close = close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._parts:
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


# --- Sharing ----------------------------------------------------------------------------------------------------------


PREPARING = 4
_departing: ContextVar[Callable[[], None] | None] = ContextVar("recado_departing", default=None)


async def _on_departure(_request: httpx2.Request) -> None:
    release = _departing.get()
    if release is not None:
        release()


def _hooks() -> dict[str, list[Callable[[httpx2.Request], Awaitable[None]]]]:
    return {"request": [_on_departure]}


@functools.cache
def _tls() -> ssl.SSLContext:
    """The process's one client context: reading the system's certificates takes long, and nothing here differs."""
    return httpx2.create_ssl_context()


class HttpClients:
    """One client per event loop and reach, made when first asked for; whoever owns a loop closes its clients."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Reach, httpx2.AsyncClient]]
        self._clients = weakref.WeakKeyDictionary()
        self._gates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._gates = weakref.WeakKeyDictionary()

    def here(self, reach: Reach) -> httpx2.AsyncClient:
        """The running loop's client; not to be closed by whoever borrows it."""
        loop = asyncio.get_running_loop()
        with self._lock:
            mine = self._clients.setdefault(loop, {})
            if reach not in mine:
                mine[reach] = self._make(reach)
            return mine[reach]

    @contextlib.asynccontextmanager
    async def preparing(self) -> AsyncIterator[None]:
        """Hold one of few places until the block's first request leaves through one of our clients, or the block ends.

        Preparing a model's request costs ten milliseconds of work. A thousand prepared side by side would all leave
        after ten seconds; a few at a time, the first leaves at once and the others only as late as before.
        """
        with self._lock:
            gate = self._gates.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(PREPARING))
        await gate.acquire()
        held = [gate]

        def release() -> None:
            if held:
                held.pop().release()

        token = _departing.set(release)
        try:
            yield
        finally:
            _departing.reset(token)
            release()

    async def close_here(self) -> None:
        """Close what the running loop has open."""
        with self._lock:
            mine = self._clients.pop(asyncio.get_running_loop(), {})
        for client in mine.values():
            await client.aclose()

    def _make(self, reach: Reach) -> httpx2.AsyncClient:
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None)
        if reach == "public":
            transport = GuardedTransport(_tls())
            return httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False, event_hooks=_hooks())
        return httpx2.AsyncClient(
            verify=_tls(),
            timeout=timeout,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS),
            trust_env=reach == "provider",
            event_hooks=_hooks(),
        )
