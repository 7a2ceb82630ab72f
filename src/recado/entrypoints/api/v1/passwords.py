"""Passwords: change yours, have a link mailed, choose one by a link."""

from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi.requests import Request
from pydantic import Field

from recado.core.errors import DomainError
from recado.entrypoints.api.door.models import Input, Output
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.entrypoints.api.v1.sessions import LONGEST_TEXT, refuse, source_of
from recado.entrypoints.api.v1.users import UserView
from recado.identity.access.links import LinkOver, LinkService
from recado.identity.access.sign_in import SignInService, TooManyTries, WrongCredentials
from recado.identity.principal import Principal


class LinkNotValid(DomainError):
    """The link was used, has ended, or never was one."""

    code = "api.link_over"
    status = 410


class PasswordChange(Input):
    """A new password of who is signed in."""

    current: str = Field(max_length=LONGEST_TEXT, repr=False, examples=["pão quente às seis"])
    new: str = Field(
        max_length=LONGEST_TEXT,
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
        max_length=LONGEST_TEXT,
        repr=False,
        description="At least 8 characters, not a common one.",
        examples=["bolo de fubá às sete"],
    )


def passwords_router(door: Door, sign_ins: SignInService, links: LinkService) -> APIRouter:
    router = door.router("sessions")

    @router.put("/me/password", summary="Change your password", status_code=204, responses=problems(401))
    async def change_password(principal: Annotated[Principal, door.signed_in()], body: PasswordChange) -> None:
        """All sessions of the user end, this one too: sign in again."""
        changed = await sign_ins.change_password(principal, body.current, body.new)
        if isinstance(changed, WrongCredentials | TooManyTries):
            refuse(changed)

    @router.post(
        "/passwords/reset",
        summary="Ask for a link to choose a new password",
        status_code=202,
        dependencies=[door.anyone("who has lost a password cannot sign in; the link goes to the user by mail")],
        responses=problems(409),
    )
    async def request_reset(request: Request, body: ResetInput) -> ResetView:
        asked = await links.request_reset(body.email, source_of(request))
        if isinstance(asked, TooManyTries):
            refuse(asked)
        return ResetView()

    @router.post(
        "/passwords",
        summary="Choose a password by a link",
        dependencies=[door.anyone("the link proves who calls")],
        responses=problems(410),
    )
    async def choose_password(request: Request, body: LinkInput) -> UserView:
        user = await links.redeem(body.token, body.password, source_of(request))
        if isinstance(user, LinkOver):
            raise LinkNotValid("this link was used already, or has ended; ask for another one")
        return UserView.of(user)

    return router
