"""HTTP clients for addresses that owners choose: shared, and guarded against requests into our own network.

Clients are shared because an SSL context alone takes about a megabyte: a thousand conversations that wait for a slow
model share one client per event loop and one context. Owners share them, so they keep no cookies.
"""

import asyncio
import contextlib
import functools
import ssl
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, Literal, TypeAlias

import httpx2

from recado.core.outbound.addresses import is_not_metadata, is_public
from recado.core.outbound.dialling import IDLE_CONNECTIONS, GuardedTransport

Reach: TypeAlias = Literal["public", "anywhere", "provider"]
"""Where a client may connect: to public addresses only; also to private ones, but never to the metadata service of a
cloud; to a known provider (through proxies if there are any)."""

CONNECT_SECONDS = 3.0
READ_SECONDS = 300.0
"""A last resort: the caller enforces the deadline of the turn."""

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
                transport=transport,
                timeout=timeout,
                headers={"Accept-Encoding": "identity"},  # The transport unpacks nothing.
                cookies=_NO_COOKIES,
                trust_env=False,
                event_hooks=_HOOKS,
            )
        return httpx2.AsyncClient(
            verify=_tls(),
            timeout=timeout,
            cookies=_NO_COOKIES,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=IDLE_CONNECTIONS),
            trust_env=True,
            event_hooks=_HOOKS,
        )
