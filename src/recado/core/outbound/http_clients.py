"""HTTP clients for addresses that owners choose: shared, and guarded against requests into our own network.

Owners choose the addresses of agents, models and event endpoints, so a tenant could name the metadata service of the
cloud, a database or our internal routes. The guard is where the connection is made: the name is resolved once, the
addresses are checked, and exactly the checked address is dialled. A name that resolves to another address a moment
later gains nothing. TLS still checks the name.

Clients are shared because an SSL context alone takes about a megabyte: a thousand conversations that wait for a slow
model share one client per event loop and one context. Owners share them, so they keep no cookies.
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
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

import httpcore2
import httpx2

from recado.core.errors import InvalidInput
from recado.core.unicode import normalized

Reach: TypeAlias = Literal["public", "anywhere", "provider"]
"""Where a client may connect: to public addresses only; also to private ones, but never to the metadata service of a
cloud; to a known provider (through proxies if there are any)."""

MOST_URL = 2_000
CONNECT_SECONDS = 3.0
READ_SECONDS = 300.0
"""A last resort: the caller enforces the deadline of the turn."""
_IDLE_CONNECTIONS = 100
_MOST_TRIED = 4
"""At most this many addresses of a name are tried: this machine may be unable to reach one kind of them."""

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressPolicy: TypeAlias = Callable[[IpAddress], bool]


class AddressRefused(httpx2.ConnectError):
    """The name has an address that is not public, and what the owner set up may not connect to it."""


class _Refused(httpcore2.ConnectError):
    """The same, as an error of the layer that dials."""


# --- What is public ---------------------------------------------------------------------------------------------------


def _networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# The result of `is_global` depends on the patch release of Python, so every range that matters is listed here too.
_NOT_PUBLIC: Final = _networks(
    # IPv4: all ranges that IANA keeps for special purposes, multicast and reserved ranges …
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4"),
    # … and addresses of clouds that look public: Azure's host; services inside the clouds of IBM and Equinix Metal
    # (their metadata).
    *("168.63.129.16/32", "161.26.0.0/16", "166.8.0.0/14", "192.80.8.124/32"),
    # IPv6: ranges inside the public space that are not public: protocols (such as Teredo), examples, 6to4.
    *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)
_PUBLIC_IPV6: Final = ipaddress.IPv6Network("2000::/3")
_WITH_IPV4_INSIDE: Final = _networks("::ffff:0:0/96", "64:ff9b::/96")
"""The IPv6 forms of an IPv4 address: as IPv6 writes it, and as a translator of the network writes it."""
_METADATA: Final = _networks(
    *("169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "169.254.0.23/32", "fd00:ec2::/32"),
    *("168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "192.80.8.124/32", "fd20:ce::254/128"),
    "fe80::a9fe:a9fe/128",
)
"""Addresses where clouds give the keys of a machine to every program on it. No model and no agent runs there."""


def is_public(address: IpAddress) -> bool:
    """Return whether an address is public, even if it contains an IPv4 address."""
    inner = _ipv4_inside(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and address not in _PUBLIC_IPV6:
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


def is_not_metadata(address: IpAddress) -> bool:
    """Return whether an address is none of those where a cloud gives away the keys of the machine."""
    inner = _ipv4_inside(address) or address
    return not any(inner in network for network in _METADATA)


def _ipv4_inside(address: IpAddress) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv6Address) and any(address in network for network in _WITH_IPV4_INSIDE):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def literal_address(host: str) -> IpAddress | None:
    """Return the address if the host is written as one, in any spelling that a resolver accepts. `localhost` counts."""
    plain = normalized("NFKC", host[:300]).replace("。", ".").rstrip(".").lower()
    if plain == "localhost" or plain.endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(plain)
    except ValueError:
        pass
    try:  # A dialler reads 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1.
        return ipaddress.IPv4Address(socket.inet_aton(plain))
    except (OSError, UnicodeError):
        return None


def names_private_address(url: str) -> bool:
    """Return whether a URL names a private address, without a DNS query."""
    address = _address_in(url)
    return address is not None and not is_public(address)


def names_metadata(url: str) -> bool:
    """Return whether a URL names the metadata service of a cloud, without a DNS query."""
    address = _address_in(url)
    return address is not None and not is_not_metadata(address)


def _address_in(url: str) -> IpAddress | None:
    try:
        return literal_address(urlsplit(url[:MOST_URL]).hostname or "")
    except ValueError:  # Not a URL; the error of `checked_url` says so.
        return None


def origin(url: str) -> str:
    """Return scheme, host and port: the place that receives what is sent to `url`."""
    try:
        parts = urlsplit(url[:MOST_URL])
        return f"{parts.scheme}://{parts.netloc}".lower()
    except ValueError:
        return ""


def checked_url(name: str, url: str, *, private: bool) -> str:
    """Return `url` if an agent may use it: http(s), a host, no password; plain http only within a private network."""
    if len(url) > MOST_URL:  # Checked before parsing, which takes long for some texts.
        raise InvalidInput(f"{name} is too long: {len(url):,} characters, {MOST_URL:,} at most")
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
        httpx2.URL(url)  # It refuses some hosts that the standard library takes, when it is to call them.
    except (ValueError, httpx2.InvalidURL):
        raise InvalidInput(f"{name} is not a URL; write it as https://host/path") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_fine or not url.isprintable():
        raise InvalidInput(f"{name} is not a URL; write it as https://host/path")
    if parts.username is not None or parts.password is not None or " " in url:
        raise InvalidInput(f"{name} must not hold a user name, a password or spaces")
    address = literal_address(parts.hostname)
    if parts.scheme == "http" and not private and not (address is not None and address.is_loopback):
        raise InvalidInput(f"{name} must start with https://; plain http is for loopback and private networks only")
    if (private or address is None or is_public(address)) and not _can_be_called(url):
        raise InvalidInput(f"{name} is not a URL; write it as https://host/path")
    return url


def _can_be_called(url: str) -> bool:
    """Return whether our client takes a URL. It refuses some that Python parses, such as https://300.1.1.1/."""
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL:
        return False
    return True


# --- Dialling ---------------------------------------------------------------------------------------------------------


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves a name, checks its addresses and dials a checked address."""

    def __init__(self, is_allowed: AddressPolicy) -> None:
        self._plain = httpcore2.AnyIOBackend()
        self._is_allowed = is_allowed

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
                addresses = await self._allowed_addresses(host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the name took too long to resolve") from error
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
        return await self._plain.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def _allowed_addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name. Raises `_Refused` if a connection to them is not allowed."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError("the name could not be resolved") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        # A private address among public ones is no accident, so it refuses all of them.
        if not addresses or not all(self._is_allowed(_without_zone(address)) for address in addresses):
            raise _Refused("the name leads to an address that is not public")
        return addresses[:_MOST_TRIED]

    async def sleep(self, seconds: float) -> None:
        await self._plain.sleep(seconds)


def _without_zone(address: str) -> IpAddress:
    return ipaddress.ip_address(address.partition("%")[0])


class GuardedTransport(httpx2.AsyncBaseTransport):
    """A connection pool without proxies that dials only addresses which the guard allows."""

    def __init__(self, context: ssl.SSLContext, is_allowed: AddressPolicy = is_public) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=30.0,
            network_backend=_GuardedBackend(is_allowed),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        inner = _inner_request(request)
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
    """A response body whose errors are those of the client."""

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


PREPARED_AT_ONCE = 4
_release_slot: ContextVar[Callable[[], None] | None] = ContextVar("recado_departing", default=None)


async def _release_when_sent(_request: httpx2.Request) -> None:
    release = _release_slot.get()
    if release is not None:
        release()


_HOOKS: Final[dict[str, list[Callable[[httpx2.Request], Awaitable[None]]]]] = {"request": [_release_when_sent]}
_NO_COOKIES: Final = CookieJar(DefaultCookiePolicy(allowed_domains=[]))


@functools.cache
def _tls() -> ssl.SSLContext:
    """The client's SSL context, one per process:

    reading the system's certificates takes long, and all clients need the same.
    """
    return httpx2.create_ssl_context()


class HttpClients:
    """Return the client of this event loop for a reach. It is created at first use; the owner of the loop closes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Reach, httpx2.AsyncClient]]
        self._clients = weakref.WeakKeyDictionary()
        self._gates: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._gates = weakref.WeakKeyDictionary()

    def client(self, reach: Reach) -> httpx2.AsyncClient:
        """Return the client of the running loop. The caller must not close it."""
        loop = asyncio.get_running_loop()
        with self._lock:
            mine = self._clients.setdefault(loop, {})
            if reach not in mine:
                mine[reach] = self._make(reach)
            return mine[reach]

    @contextlib.asynccontextmanager
    async def preparation_slot(self) -> AsyncIterator[None]:
        """Hold one of few places until the first request of the block leaves through our client, or the block ends.

        To prepare a request to a model takes ten milliseconds of work. If a thousand were prepared side by side, all
        would leave after ten seconds. With a few at a time the first leaves at once, and the others are no later.
        """
        with self._lock:
            gate = self._gates.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(PREPARED_AT_ONCE))
        await gate.acquire()
        held = [gate]

        def release() -> None:
            if held:
                held.pop().release()

        token = _release_slot.set(release)
        try:
            yield
        finally:
            _release_slot.reset(token)
            release()

    async def close_loop_clients(self) -> None:
        """Close the clients of the running loop."""
        with self._lock:
            mine = self._clients.pop(asyncio.get_running_loop(), {})
        for client in mine.values():
            await client.aclose()

    def _make(self, reach: Reach) -> httpx2.AsyncClient:
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None)
        if reach != "provider":
            transport = GuardedTransport(_tls(), is_public if reach == "public" else is_not_metadata)
            return httpx2.AsyncClient(
                transport=transport, timeout=timeout, cookies=_NO_COOKIES, trust_env=False, event_hooks=_HOOKS
            )
        return httpx2.AsyncClient(
            verify=_tls(),
            timeout=timeout,
            cookies=_NO_COOKIES,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS),
            trust_env=True,
            event_hooks=_HOOKS,
        )
