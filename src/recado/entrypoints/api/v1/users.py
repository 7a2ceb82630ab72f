"""Users: the people of your organisation."""

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from recado.entrypoints.api.door.etags import IfMatch, tagged
from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Input, Limit, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.identity.access.links import Issued, LinkService
from recado.identity.mail.letters import link_url
from recado.identity.models import Role, User
from recado.identity.principal import Principal
from recado.identity.reading import IdentityReading, UserItem
from recado.identity.users import NewUser, UserChanges, UserService


class UserView(Output):
    """A person of your organisation."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    email: str = Field(examples=["bia@padaria.example"])
    name: str | None = Field(examples=["Bia"], description="The name that stands at what the person does.")
    role: Role
    active: bool = Field(description="Whether the person may sign in.")
    invited: bool = Field(description="Whether the person has still to choose a password.")
    created_at: datetime
    last_login_at: datetime | None

    NOT_IN_ETAG: ClassVar = frozenset({"last_login_at"})

    @classmethod
    def of(cls, user: User | UserItem) -> "UserView":
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            role=user.role,
            active=user.active,
            invited=user.password_hash is None if isinstance(user, User) else user.invited,
            created_at=user.created_at,
            last_login_at=user.last_login_at,
        )


class InvitedUserView(UserView):
    """A person who was given a link to choose a password."""

    link: str | None = Field(
        examples=["https://recado.example.com/links/mO8k…"],
        description="Hand it to the person: it is shown this once. Null when a worker mails it.",
    )


class UserInput(Input):
    """A person to be invited."""

    email: str = Field(max_length=254, examples=["bia@padaria.example"])
    role: Role = Field(examples=["operator"])
    name: str | None = Field(None, max_length=200, examples=["Bia"])


class UserChange(Input):
    """The values to change; what is left out or null stays."""

    name: str | None = Field(None, max_length=200, examples=["Beatriz"])
    role: Role | None = None
    active: bool | None = Field(None, description="False: the person can sign in no more, and is signed out at once.")


def users_router(
    door: Door, users: UserService, links: LinkService, reading: IdentityReading, public_url: str
) -> APIRouter:
    router = door.router("users")

    def invited(issued: Issued) -> InvitedUserView:
        link = None if issued.token is None else link_url(public_url, issued.token)
        return InvitedUserView(**UserView.of(issued.user).model_dump(), link=link)

    @router.get("/users", summary="List the people of your organisation")
    async def list_users(
        principal: Annotated[Principal, door.allows("users.read")], limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> PageOf[UserView]:
        page = await reading.users(principal.owner_id, cursor, limit=limit)
        return PageOf(items=[UserView.of(each) for each in page.items], next_cursor=page.next_cursor)

    @router.get("/users/{user_id}", summary="Read a person")
    async def read_user(
        principal: Annotated[Principal, door.allows("users.read")], user_id: UUID, response: Response
    ) -> UserView:
        return tagged(response, UserView.of(await reading.user(principal.owner_id, user_id)))

    @router.post("/users", summary="Invite a person", status_code=201, responses=problems(403, 409))
    async def invite_user(
        principal: Annotated[Principal, door.allows("users.write")], body: UserInput
    ) -> InvitedUserView:
        return invited(await links.invite(principal, NewUser(body.email, body.role, body.name)))

    @router.patch("/users/{user_id}", summary="Change a person", responses=problems(409, 412, 428))
    async def change_user(
        principal: Annotated[Principal, door.allows("users.write", knows=reading.user)],
        user_id: UUID,
        if_match: IfMatch,
        body: UserChange,
        response: Response,
    ) -> UserView:
        def check(stored: User) -> None:
            if_match.check(UserView.of(stored))

        changes = UserChanges(name=body.name, role=body.role, active=body.active)
        return tagged(response, UserView.of(await users.change(principal, user_id, changes, check=check)))

    @router.post("/users/{user_id}/link", summary="Give a person another link", responses=problems(422))
    async def renew_link(
        principal: Annotated[Principal, door.allows("users.write", knows=reading.user)], user_id: UUID
    ) -> InvitedUserView:
        return invited(await links.renew(principal, user_id))

    return router
