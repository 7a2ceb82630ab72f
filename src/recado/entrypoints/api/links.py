"""The page that a link opens: its user chooses a password there.

It needs no script and loads nothing. The link is a secret, so nothing of the page is kept, and no other site is told
where its reader came from.
"""

import base64
import hashlib
from collections.abc import Awaitable
from html import escape
from typing import Final
from urllib.parse import parse_qs

from fastapi import FastAPI
from fastapi.requests import Request
from fastapi.responses import HTMLResponse

from recado.core.errors import Busy, NotFound, StorageUnavailable
from recado.core.i18n import DEFAULT_LOCALE, Text, nearest, translate
from recado.identity.access.links import LinkOver, LinkService
from recado.identity.errors import PasswordRefused
from recado.identity.models import User
from recado.identity.owners import OwnerService

PATH: Final = "/links/{token}"

_STYLE: Final = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:26rem;margin:15vh auto;padding:0 1rem}"
    "input,button{font:inherit;padding:.5rem;width:100%;box-sizing:border-box;margin:.3rem 0 1rem}"
)
_PAGE: Final = (
    '<!doctype html><html lang="{language}"><meta charset="utf-8"><title>Recado</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f"<style>{_STYLE.replace('{', '{{').replace('}', '}}')}</style><main>{{content}}</main></html>"
)
_FORM: Final = (
    '<h1>{heading}</h1><form method="post">{refusal}<label for="password">{field}</label>'
    '<input id="password" name="password" type="password" autocomplete="new-password" required minlength="8">'
    "<button>{button}</button></form>"
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}


class LinkPages:
    """The pages, in the language of the user's organisation."""

    def __init__(self, links: LinkService, owners: OwnerService) -> None:
        self._links = links
        self._owners = owners

    async def show(self, token: str, request: Request) -> HTMLResponse:
        """Return the form."""
        user = await self._links.user_of(token)
        if isinstance(user, LinkOver):
            return _over(request)
        locale = await self._locale(user)
        return _page(200, locale, _form(locale, user))

    async def choose(self, token: str, request: Request) -> HTMLResponse:
        """Set the password that was typed."""
        user = await self._links.user_of(token)
        if isinstance(user, LinkOver):
            return _over(request)
        locale = await self._locale(user)
        password = _password(await request.body())
        try:
            chosen = await self._links.redeem(token, password, None if request.client is None else request.client.host)
        except PasswordRefused:
            return _page(422, locale, _form(locale, user, Text.HOW_TO_CHOOSE))
        if isinstance(chosen, LinkOver):
            return _over(request)
        return _page(200, locale, _paragraph(locale, Text.LINK_DONE))

    async def _locale(self, user: User) -> str:
        return (await self._owners.owner(user.owner_id)).locale


def add_links(app: FastAPI, links: LinkService, owners: OwnerService) -> None:
    """Add the page."""
    pages = LinkPages(links, owners)

    @app.get(PATH, tags=["links"], include_in_schema=False)
    async def show(token: str, request: Request) -> HTMLResponse:
        return await _answered(request, pages.show(token, request))

    @app.post(PATH, tags=["links"], include_in_schema=False)
    async def choose(token: str, request: Request) -> HTMLResponse:
        return await _answered(request, pages.choose(token, request))


def _password(body: bytes) -> str:
    """Return the password of a form, or the empty text, which no user can have."""
    try:
        form = parse_qs(body.decode("ascii"), max_num_fields=10, keep_blank_values=True, errors="strict")
        return form.get("password", [""])[0]
    except ValueError:
        return ""


async def _answered(request: Request, page: Awaitable[HTMLResponse]) -> HTMLResponse:
    """Return a page, also for what goes wrong: its reader is a person with a browser."""
    try:
        return await page
    except NotFound:
        return _over(request)
    except (Busy, StorageUnavailable):
        return _told(503, request, Text.LINK_LATER)


def _over(request: Request) -> HTMLResponse:
    return _told(410, request, Text.LINK_OVER)


def _told(status: int, request: Request, text: Text) -> HTMLResponse:
    """Return a page in the language of the browser."""
    given = request.headers.get("accept-language", DEFAULT_LOCALE).partition(",")[0].partition(";")[0]
    return _page(status, nearest(given), _paragraph(nearest(given), text))


def _form(locale: str, user: User, refusal: Text | None = None) -> str:
    return _FORM.format(
        heading=escape(translate(locale, Text.LINK_HEADING, email=user.email)),
        refusal="" if refusal is None else _paragraph(locale, refusal),
        field=escape(translate(locale, Text.LINK_FIELD)),
        button=escape(translate(locale, Text.LINK_BUTTON)),
    )


def _paragraph(locale: str, text: Text) -> str:
    return f'<p role="status">{escape(translate(locale, text))}</p>'


def _page(status: int, locale: str, content: str) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(language=nearest(locale), content=content), status, _HEADERS)
