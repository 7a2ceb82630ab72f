"""The address of a caller behind proxies of the operator's, for the audit and for slowing down guesses at passwords.

Only a proxy that the settings name is believed: of `X-Forwarded-For`, which any caller can send, the last address
counts that is no proxy's.
"""

import ipaddress
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware


class CallersBehindProxies:
    """Gives each request to `app` with the address of its caller."""

    def __init__(self, app: ASGIApp, proxies: Sequence[str]) -> None:
        self._app = app
        self._replacing = ProxyHeadersMiddleware(self._called, list(proxies))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._replacing(scope, receive, send)  # type: ignore[arg-type]

    async def _called(self, scope: Scope, receive: Receive, send: Send) -> None:
        if client := scope.get("client"):
            address = _address(client[0])
            scope["client"] = None if address is None else (address, client[1])
        await self._app(scope, receive, send)


def _address(text: str) -> str | None:
    """Return an address without its zone, which can be of any length and says nothing outside the proxy."""
    address = text.partition("%")[0]
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return None
    return address
