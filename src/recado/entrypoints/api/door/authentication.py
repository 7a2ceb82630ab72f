"""Who calls: `Authorization: Bearer <key>`, or the cookie of a session.

A browser sends the cookie also when another site's page makes the request. So a caller who has a cookie and changes
something must come from our own pages.
"""

from typing import Final
from urllib.parse import urlsplit

from fastapi.requests import Request

from recado.core.errors import DomainError
from recado.identity.access.authenticator import Authenticator
from recado.identity.principal import Principal

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Unauthenticated(DomainError):
    """No caller is known by what the request bears."""

    code = "api.unauthenticated"
    status = 401


class ForeignOrigin(DomainError):
    """A page of another site sent this with the cookie of a user who is signed in here."""

    code = "api.foreign_origin"
    status = 403


def session_cookie(public_url: str | None) -> str:
    """Return the name of the cookie. Browsers keep `__Host-` cookies only from https, and from no subdomain."""
    return "__Host-recado_session" if (public_url or "").startswith("https:") else "recado_session"


class Callers:
    """Finds out who sends a request."""

    def __init__(self, authenticator: Authenticator, public_url: str | None) -> None:
        self._authenticator = authenticator
        self._cookie = session_cookie(public_url)
        self._origin = _origin(public_url or "")

    async def identify(self, request: Request) -> Principal:
        """Return who sends it. Raises `Unauthenticated`, `ForeignOrigin`."""
        source = None if request.client is None else request.client.host
        header = request.headers.get("authorization")
        if header is not None:
            scheme, _, key = header.partition(" ")
            found = await self._authenticator.by_key(key.strip(), source) if scheme.lower() == "bearer" else None
        else:
            found = await self._of_session(request, source)
        if found is None:
            raise Unauthenticated("send the header Authorization: Bearer with a valid API key, or sign in")
        return found

    async def _of_session(self, request: Request, source: str | None) -> Principal | None:
        token = request.cookies.get(self._cookie)
        found = None if token is None else await self._authenticator.by_session(token, source)
        if found is not None and request.method not in _SAFE and not self._from_our_pages(request):
            raise ForeignOrigin("a page of another site sent this; use the pages of Recado, or an API key")
        return found

    def _from_our_pages(self, request: Request) -> bool:
        origin = request.headers.get("origin")
        if origin is None:
            return request.headers.get("sec-fetch-site") == "same-origin"
        if self._origin.startswith("https:"):  # Anybody on the way can forge a page of http://, also of our own host.
            return origin == self._origin
        # On this machine the server has several names; a page cannot choose the Host header of a request.
        return origin == self._origin or origin == f"http://{request.headers.get('host')}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
