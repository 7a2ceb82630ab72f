"""What happens before a route's own function.

FastAPI reads and validates a body before it calls a dependency. So a route of ours is a `DoorRoute`: it calls its guard
first, and hands the request to FastAPI only when the guard lets it in. The guard decides in this order:

1. who calls: 401, and 429 when the caller has called too often;
2. whether they may: 403;
3. whether the thing of the path is theirs: 404, the same for a foreign id, an unknown one, and a text that is no id.

Only then is the body read (400, 413, 422). A route without a guard cannot be built, nor one with an id in its path and
a body whose guard does not know the thing: nothing is open by oversight.
"""

import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_plus
from uuid import UUID

from fastapi import APIRouter, Depends, Response, params
from fastapi.dependencies.models import Dependant
from fastapi.requests import Request
from fastapi.routing import APIRoute

from recado.core.errors import InvalidInput, NotFound
from recado.entrypoints.api.door.authentication import Callers, Unauthenticated
from recado.entrypoints.api.door.once import handled_once, read_once
from recado.entrypoints.api.door.problems import HEADERS
from recado.entrypoints.api.door.rates import Rates
from recado.identity.idempotency.service import IdempotencyService
from recado.identity.permissions import NotAllowed, Permission
from recado.identity.principal import Principal

Knows: TypeAlias = Callable[[UUID, UUID], Awaitable[object]]
"""Raises `NotFound` unless an owner has a thing: `await knows(owner_id, id)`. Usually `require` of a reading."""

PERMISSION: Final = "x-permission"
"""In OpenAPI: the permission that a route needs. Without one, being signed in is enough."""
PUBLIC: Final = "x-public"
"""In OpenAPI: why a route takes every caller."""

_ID: Final = re.compile(r"[0-9a-fA-F]{8}(-?)(?:[0-9a-fA-F]{4}\1){3}[0-9a-fA-F]{12}")
_PRINCIPAL: Final = "recado.principal"
Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class DoorParts:
    """What guards ask."""

    callers: Callers
    rates: Rates
    idempotency: IdempotencyService


class Guard:
    """Lets in who may do one thing. As a dependency its value is the principal."""

    def __init__(self, parts: DoorParts, permission: Permission | None, knows: Knows | None) -> None:
        self.parts = parts
        self.permission = permission
        self.knows = knows

    async def handle(self, request: Request, handle: Handler) -> Response:
        """Handle a request that may pass. Raises for any other."""
        principal = await self.parts.callers.identify(request)
        request.scope[HEADERS] = {"Cache-Control": "no-store", **self.parts.rates.take(principal.id)}
        if self.permission is not None:
            principal.require(self.permission)
        ids = [_id_in(value) for name, value in request.path_params.items() if name.endswith("_id")]
        if self.knows is not None:
            await self.knows(principal.owner_id, ids[0])
        request.scope[_PRINCIPAL] = principal
        _refuse_nul(request)
        return await handle(request)

    async def __call__(self, request: Request) -> Principal:
        principal: Principal = request.scope[_PRINCIPAL]
        return principal

    def described(self) -> Mapping[str, str]:
        """Return what OpenAPI tells of it."""
        return {} if self.permission is None else {PERMISSION: self.permission}


class Open:
    """Lets every caller in, for a reason."""

    permission, knows = None, None

    def __init__(self, why: str) -> None:
        self._why = why

    async def handle(self, request: Request, handle: Handler) -> Response:
        """Handle any request."""
        _refuse_nul(request)
        return await handle(request)

    async def __call__(self) -> None:
        """Do nothing."""

    def described(self) -> Mapping[str, str]:
        """Return what OpenAPI tells of it."""
        return {PUBLIC: self._why}


class DoorRoute(APIRoute):
    """A route that calls its guard before anything of the request is read."""

    def get_route_handler(self) -> Handler:
        guard, inner = self._guard(), super().get_route_handler()
        self.openapi_extra = {**(self.openapi_extra or {}), **guard.described()}
        handle = self._once(guard, inner) if isinstance(guard, Guard) and self._has(read_once) else inner
        known = sorted(field.alias for each in self._dependants() for field in each.query_params)

        async def let_in(request: Request) -> Response:
            _refuse_unknown(request, known)
            return await handle(request)

        async def guarded(request: Request) -> Response:
            response = await guard.handle(request, let_in)
            response.headers.update(request.scope.get(HEADERS, {}))
            return response

        return guarded

    def _once(self, guard: Guard, inner: Handler) -> Handler:
        async def once(request: Request) -> Response:
            principal, status = await guard(request), self.status_code or 200
            return await handled_once(guard.parts.idempotency, principal, request, status, inner)

        return once

    def _dependants(self) -> Sequence[Dependant]:
        return [self.dependant, *self.dependant.dependencies]

    def _has(self, dependency: object) -> bool:
        return any(each.call is dependency for each in self.dependant.dependencies)

    def _guard(self) -> Guard | Open:
        calls = [each.call for each in self.dependant.dependencies]
        guards = [each for each in calls if isinstance(each, Guard | Open)]
        if len(guards) != 1:
            raise RuntimeError(f"{self.path} needs one of door.allows, door.signed_in, door.anyone")
        if "_id}" in self.path and self.body_field is not None and guards[0].knows is None:
            raise RuntimeError(f"{self.path} reads a body: its guard needs knows=…, so that 404 comes first")
        return guards[0]


class Door:
    """What routers are built with."""

    def __init__(self, callers: Callers, rates: Rates, idempotency: IdempotencyService) -> None:
        self._parts = DoorParts(callers, rates, idempotency)

    def router(self, tag: str) -> APIRouter:
        """Return a router of routes behind this door. The tag is its heading in the reference."""
        return APIRouter(tags=[tag], route_class=DoorRoute)

    def allows(self, permission: Permission, *, knows: Knows | None = None) -> params.Depends:
        """Let in who has a permission: `principal: Annotated[Principal, door.allows("numbers.read")]`.

        `knows` is asked for the id in the path, a parameter whose name ends in `_id`.
        """
        return _dependency(Guard(self._parts, permission, knows))

    async def still_allows(self, request: Request, permission: Permission) -> bool:
        """Return whether who sent a request is known and may do this now: a long answer asks from time to time."""
        try:
            (await self._parts.callers.identify(request)).require(permission)
        except (Unauthenticated, NotAllowed):
            return False
        return True

    def signed_in(self) -> params.Depends:
        """Let in every known caller."""
        return _dependency(Guard(self._parts, None, None))

    def anyone(self, why: str) -> params.Depends:
        """Let in every caller: `dependencies=[door.anyone("signing in proves who calls")]`. The reason is public."""
        return _dependency(Open(why))


def _dependency(guard: Guard | Open) -> params.Depends:
    made: params.Depends = Depends(guard)
    return made


def _id_in(text: str) -> UUID:
    # `UUID` takes hyphens, blanks and braces anywhere, which the route's own reading of the id does not.
    if not _ID.fullmatch(text):
        raise NotFound(f"there is nothing with the id {text[:60]!r}")
    return UUID(text)


def _refuse_unknown(request: Request, known: Sequence[str]) -> None:
    """Refuse a query with a name that the route does not read: `?stauts=open` would list everything."""
    unknown = [name for name in request.query_params if known and name not in known]
    if unknown:
        raise InvalidInput(f"query.{unknown[0][:60]}: there is no such parameter; there are {', '.join(known)}")


def _refuse_nul(request: Request) -> None:
    if any("\0" in value for value in request.path_params.values()):
        raise NotFound("there is nothing with a NUL character in its name")
    if "\0" in unquote_plus(request.url.query):
        raise InvalidInput("the query has a NUL character, which no text can have")
