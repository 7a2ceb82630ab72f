"""What happens before a route's own function.

FastAPI reads and validates a body before it calls a dependency. So a route of ours is a `DoorRoute`: it calls its guard
first, and hands the request to FastAPI only when the guard lets it in. The guard decides in this order:

1. who calls: 401, and 429 when the caller has called too often;
2. whether they may: 403;
3. whether the thing of the path is theirs: 404, the same for a foreign id, an unknown one, and a text that is no id.

Only then is the body read (400, 413, 422). A route without a guard cannot be built, nor one with a path parameter and
a body whose guard does not know the thing: nothing is open by oversight.
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_plus
from uuid import UUID

from fastapi import APIRouter, Depends, Response, params
from fastapi.requests import Request
from fastapi.routing import APIRoute

from recado.core.errors import InvalidInput, NotFound
from recado.entrypoints.api.door.authentication import Callers
from recado.entrypoints.api.door.problems import HEADERS
from recado.identity.permissions import Permission
from recado.identity.principal import Principal

Knows: TypeAlias = Callable[[UUID, UUID], Awaitable[object]]
"""Raises `NotFound` unless an owner has a thing: `await knows(owner_id, id)`. Usually `require` of a reading."""

PERMISSION: Final = "x-permission"
"""In OpenAPI: the permission that a route needs. Without one, being signed in is enough."""
PUBLIC: Final = "x-public"
"""In OpenAPI: why a route takes anybody."""

_PRINCIPAL: Final = "recado.principal"
_HANDLER: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


class Guard:
    """Lets in who may do one thing. As a dependency its value is the principal."""

    def __init__(self, callers: Callers, permission: Permission | None, knows: Knows | None) -> None:
        self._callers = callers
        self.permission = permission
        self.knows = knows

    async def admit(self, request: Request) -> None:
        """Raise unless this request may pass."""
        principal = await self._callers.identify(request)
        if self.permission is not None:
            principal.require(self.permission)
        ids = [_id_in(value) for name, value in request.path_params.items() if name.endswith("_id")]
        if self.knows is not None:
            await self.knows(principal.owner_id, ids[0])
        request.scope[_PRINCIPAL] = principal

    async def __call__(self, request: Request) -> Principal:
        principal: Principal = request.scope[_PRINCIPAL]
        return principal

    def described(self) -> Mapping[str, str]:
        """Return what OpenAPI tells of it."""
        return {} if self.permission is None else {PERMISSION: self.permission}


class Open:
    """Lets everybody in, for a reason."""

    permission, knows = None, None

    def __init__(self, why: str) -> None:
        self._why = why

    async def admit(self, request: Request) -> None:
        """Let it pass."""

    async def __call__(self, request: Request) -> None:
        """Do nothing."""

    def described(self) -> Mapping[str, str]:
        """Return what OpenAPI tells of it."""
        return {PUBLIC: self._why}


class DoorRoute(APIRoute):
    """A route that calls its guard before anything of the request is read."""

    def get_route_handler(self) -> _HANDLER:
        handle = super().get_route_handler()
        guard = self._guard()
        self.openapi_extra = {**(self.openapi_extra or {}), **guard.described()}

        async def guarded(request: Request) -> Response:
            await guard.admit(request)
            _refuse_nul(request)
            response = await handle(request)
            response.headers.update(request.scope.get(HEADERS, {}))
            return response

        return guarded

    def _guard(self) -> Guard | Open:
        calls = [each.call for each in self.dependant.dependencies]
        guards = [each for each in calls if isinstance(each, Guard | Open)]
        if len(guards) != 1:
            raise RuntimeError(f"{self.path} needs one of door.allows, door.signed_in, door.anyone")
        if "{" in self.path and self.body_field is not None and guards[0].knows is None:
            raise RuntimeError(f"{self.path} reads a body: its guard needs knows=…, so that 404 comes first")
        return guards[0]


class Door:
    """What routers are built with."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    def router(self, tag: str) -> APIRouter:
        """Return a router of routes behind this door. The tag is its heading in the reference."""
        return APIRouter(tags=[tag], route_class=DoorRoute)

    def allows(self, permission: Permission, *, knows: Knows | None = None) -> params.Depends:
        """Let in who has a permission: `principal: Annotated[Principal, door.allows("numbers.read")]`.

        `knows` is asked for the id in the path, a parameter whose name ends in `_id`.
        """
        return _dependency(Guard(self._callers, permission, knows))

    def signed_in(self) -> params.Depends:
        """Let in everybody who is known."""
        return _dependency(Guard(self._callers, None, None))

    def anyone(self, why: str) -> params.Depends:
        """Let in everybody: `dependencies=[door.anyone("signing in proves who calls")]`. The reason is public."""
        return _dependency(Open(why))


def _dependency(guard: Guard | Open) -> params.Depends:
    made: params.Depends = Depends(guard)
    return made


def _id_in(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound(f"there is nothing with the id {text[:60]!r}") from error


def _refuse_nul(request: Request) -> None:
    if "\0" in unquote_plus(request.url.query):
        raise InvalidInput("the query has a NUL character, which no text can have")
