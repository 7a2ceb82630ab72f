"""Sessions: sign in and out, where I am signed in, who I am, and passwords."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, NoReturn
from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.requests import Request
from pydantic import Field

from recado.core.errors import DomainError
from recado.entrypoints.api.door.authentication import session_cookie
from recado.entrypoints.api.door.models import EXAMPLE_ID, Cursor, Input, Limit, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.rates import TooManyRequests
from recado.entrypoints.api.door.routes import Door
from recado.entrypoints.api.v1.users import UserView
from recado.identity.access.links import LinkOver, LinkService
from recado.identity.access.models import LONGEST
from recado.identity.access.own_sessions import OwnSessions
from recado.identity.access.sign_in import SignInForm, SignInService, TooManyTries, WrongCredentials
from recado.identity.principal import Principal, PrincipalKind

_LONGEST_TEXT = 1_024


class SignInRefused(DomainError):
    """Address and password do not fit, or the user may not come in: it is not told which."""

    code = "api.wrong_credentials"
    status = 401


class LinkNotValid(DomainError):
    """The link was used, has ended, or never was one."""

    code = "api.link_over"
    status = 410


class SignInInput(Input):
    """Who signs in."""

    email: str = Field(max_length=_LONGEST_TEXT, examples=["ana@padaria.example"])
    password: str = Field(max_length=_LONGEST_TEXT, repr=False, examples=["pão quente às seis"])


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
    permissions: Sequence[str] = Field(examples=[["conversations.read"]])


class PasswordChange(Input):
    """A new password of who is signed in."""

    current: str = Field(max_length=_LONGEST_TEXT, repr=False, examples=["pão quente às seis"])
    new: str = Field(
        max_length=_LONGEST_TEXT,
        repr=False,
        description="At least 8 characters, and not a common one.",
        examples=["bolo de fubá às sete"],
    )


class ResetInput(Input):
    """Whose password is lost."""

    email: str = Field(max_length=254, examples=["ana@padaria.example"])


class ResetView(Output):
    """The same for every caller, so that no one learns who has an account."""

    status: Literal["accepted"] = "accepted"


class LinkInput(Input):
    """A password that is chosen by a link."""

    token: str = Field(
        max_length=100, repr=False, description="What stands after `/links/` in the link.", examples=["mO8k…"]
    )
    password: str = Field(
        max_length=_LONGEST_TEXT,
        repr=False,
        description="At least 8 characters, not a common one.",
        examples=["bolo de fubá às sete"],
    )


def sessions_router(
    door: Door, sign_ins: SignInService, own: OwnSessions, links: LinkService, public_url: str
) -> APIRouter:
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
        form = SignInForm(body.email, body.password, _source(request))
        found = await sign_ins.sign_in(form, replacing=request.cookies.get(cookie))
        if isinstance(found, WrongCredentials | TooManyTries):
            _refuse(found)
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
            await sign_ins.sign_out(token, source=_source(request))
        response.delete_cookie(cookie, secure=secure, httponly=True, samesite="lax")

    @router.get("/sessions", summary="List where you are signed in, the newest first")
    async def list_sessions(
        principal: Annotated[Principal, door.signed_in()], request: Request, limit: Limit = 50, cursor: Cursor = None
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

    @router.put("/me/password", summary="Change your password", status_code=204, responses=problems(401))
    async def change_password(principal: Annotated[Principal, door.signed_in()], body: PasswordChange) -> None:
        """All sessions of the user end, this one too: sign in again."""
        changed = await sign_ins.change_password(principal, body.current, body.new)
        if isinstance(changed, WrongCredentials | TooManyTries):
            _refuse(changed)

    @router.post(
        "/passwords/reset",
        summary="Ask for a link to choose a new password",
        status_code=202,
        dependencies=[door.anyone("who has lost a password cannot sign in; the link goes to the user by mail")],
        responses=problems(409),
    )
    async def request_reset(request: Request, body: ResetInput) -> ResetView:
        asked = await links.request_reset(body.email, _source(request))
        if isinstance(asked, TooManyTries):
            _refuse(asked)
        return ResetView()

    @router.post(
        "/passwords",
        summary="Choose a password by a link",
        dependencies=[door.anyone("the link proves who calls")],
        responses=problems(410),
    )
    async def choose_password(request: Request, body: LinkInput) -> UserView:
        user = await links.redeem(body.token, body.password, _source(request))
        if isinstance(user, LinkOver):
            raise LinkNotValid("this link was used already, or has ended; ask for another one")
        return UserView.of(user)

    return router


def _refuse(found: WrongCredentials | TooManyTries) -> NoReturn:
    if isinstance(found, TooManyTries):
        wait = math.ceil(found.wait.total_seconds())
        raise TooManyRequests(f"too many tries: wait {wait} s", {"Retry-After": str(wait)})
    raise SignInRefused("e-mail address and password do not fit")


def _source(request: Request) -> str | None:
    return None if request.client is None else request.client.host
