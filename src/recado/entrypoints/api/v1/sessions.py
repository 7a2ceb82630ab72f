"""Sessions: sign in and out, where I am signed in, and who I am."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, NoReturn
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.requests import Request
from pydantic import Field

from recado.core.errors import DomainError
from recado.entrypoints.api.door.authentication import session_cookie
from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Input, Limit, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.rates import TooManyRequests
from recado.entrypoints.api.door.routes import Door
from recado.entrypoints.api.v1.users import UserView
from recado.identity.access.models import LONGEST
from recado.identity.access.own_sessions import OwnSessions
from recado.identity.access.sign_in import SignInForm, SignInService, TooManyTries, WrongCredentials
from recado.identity.permissions import Permission
from recado.identity.principal import Principal, PrincipalKind

LONGEST_TEXT: Final = 1_024


class SignInRefused(DomainError):
    """Address and password do not fit, or the user may not come in: it is not told which."""

    code = "api.wrong_credentials"
    status = 401


class SignInInput(Input):
    """Who signs in."""

    email: str = Field(max_length=LONGEST_TEXT, examples=["ana@padaria.example"])
    password: str = Field(max_length=LONGEST_TEXT, repr=False, examples=["pão quente às seis"])


class SessionView(Output):
    """A session that was opened. Its token is in the cookie."""

    user: UserView
    expires_at: datetime = Field(description="It ends then, or after 12 hours without a request.")


class OwnSessionView(Output):
    """A place where you are signed in."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    source: str | None = Field(examples=["203.0.113.7"], description="The network address of the sign-in.")
    created_at: datetime
    last_used_at: datetime = Field(description="The last request, to the minute.")
    expires_at: datetime = Field(description="It ends then, or after 12 hours without a request.")
    current: bool = Field(description="Whether it is the session of this request.")


class MeView(Output):
    """Who calls."""

    kind: PrincipalKind
    id: UUID | None = Field(examples=[EXAMPLE_ID])
    owner_id: UUID = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["Ana"])
    permissions: Sequence[Permission] = Field(examples=[["conversations.read"]])


def sessions_router(door: Door, sign_ins: SignInService, own: OwnSessions, public_url: str) -> APIRouter:
    router, cookie = door.router("sessions"), session_cookie(public_url)
    secure = public_url.startswith("https:")

    @router.post(
        "/sessions",
        summary="Sign in",
        status_code=201,
        dependencies=[door.anyone("a password proves who calls")],
        responses=problems(401),
    )
    async def sign_in(request: Request, body: SignInInput, response: Response) -> SessionView:
        form = SignInForm(body.email, body.password, source_of(request))
        found = await sign_ins.sign_in(form, replacing=request.cookies.get(cookie))
        if isinstance(found, WrongCredentials | TooManyTries):
            refuse(found)
        response.set_cookie(
            cookie,
            found.token,
            max_age=int(LONGEST.total_seconds()),
            secure=secure,
            httponly=True,
            samesite="lax",
        )
        response.headers["Cache-Control"] = "no-store"
        return SessionView(user=UserView.of(found.user), expires_at=found.expires_at)

    @router.delete("/sessions/current", summary="Sign out", status_code=204)
    async def sign_out(
        principal: Annotated[Principal, door.signed_in()],  # noqa: ARG001 - only who is signed in signs out
        request: Request,
        response: Response,
    ) -> None:
        token = request.cookies.get(cookie)
        if token is not None:
            await sign_ins.sign_out(token, source=source_of(request))
        response.delete_cookie(cookie, secure=secure, httponly=True, samesite="lax")

    @router.get("/sessions", summary="List where you are signed in, the newest first")
    async def list_sessions(
        principal: Annotated[Principal, door.signed_in()],
        request: Request,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> PageOf[OwnSessionView]:
        """An API key has no sessions: its list is empty."""
        page = await own.page(principal, request.cookies.get(cookie), cursor, limit=limit)
        return PageOf(items=[OwnSessionView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    @router.delete("/sessions/{session_id}", summary="End one of your sessions", status_code=204)
    async def end_session(
        principal: Annotated[Principal, door.signed_in()], session_id: UUID, request: Request, response: Response
    ) -> None:
        if await own.end(principal, session_id, request.cookies.get(cookie)):
            response.delete_cookie(cookie, secure=secure, httponly=True, samesite="lax")

    @router.get("/me", summary="Who calls")
    async def read_me(principal: Annotated[Principal, door.signed_in()]) -> MeView:
        return MeView(
            kind=principal.kind,
            id=principal.id,
            owner_id=principal.owner_id,
            name=principal.name,
            permissions=sorted(principal.permissions),
        )

    return router


def refuse(found: WrongCredentials | TooManyTries) -> NoReturn:
    """Raise what tells a caller to wait, or that the password is wrong."""
    if isinstance(found, TooManyTries):
        wait = math.ceil(found.wait.total_seconds())
        raise TooManyRequests(f"too many tries: wait {wait} s", {"Retry-After": str(wait)})
    raise SignInRefused("e-mail address and password do not fit")


def source_of(request: Request) -> str | None:
    """Return the network address that a request came from."""
    return None if request.client is None else request.client.host
