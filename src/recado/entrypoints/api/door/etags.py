"""No one overwrites what they have not seen: `ETag` on what people edit, `If-Match` on their changes.

    view = tagged(response, OwnerView.of(owner))                     # the answer of GET and PATCH
    if_match: IfMatch                                                # a parameter of PATCH
    await service.change(principal, …, check=lambda owner: if_match.check(OwnerView.of(owner)))

The service calls `check` in the transaction that changes the row, once it holds what it reads: no change comes
between.
"""

import hashlib
from typing import Annotated, Final, TypeAlias, TypeVar

from fastapi import Depends, Header, Response

from recado.core.errors import DomainError
from recado.entrypoints.api.door.models import Output

M = TypeVar("M", bound=Output)
_DIGITS: Final = 24


class PreconditionFailed(DomainError):
    """Another caller has changed this since the caller read it."""

    code = "api.changed_meanwhile"
    status = 412


class PreconditionRequired(DomainError):
    """The caller does not say which state it changes."""

    code = "api.if_match_missing"
    status = 428


class Precondition:
    """The `If-Match` of a request."""

    def __init__(self, given: str) -> None:
        self._given = {each.strip().removeprefix("W/") for each in given.split(",")}

    def check(self, now: Output) -> None:
        """Raise `PreconditionFailed` unless the caller knows this state."""
        if "*" not in self._given and etag(now) not in self._given:
            raise PreconditionFailed("this was changed since you read it: read it again, and send its new ETag")


async def _precondition(
    if_match: Annotated[
        str | None,
        Header(description="The `ETag` of what is changed, as you read it; `*`: whatever it is now.", examples=["*"]),
    ] = None,
) -> Precondition:
    """Return the `If-Match` of a request. Raises `PreconditionRequired`."""
    if if_match is None:
        raise PreconditionRequired("send the header If-Match with the ETag of what you have read, or *")
    return Precondition(if_match)


async def _precondition_if_sent(
    if_match: Annotated[
        str | None,
        Header(description="The `ETag` of what is meant, as you read it; without one, whatever it is now."),
    ] = None,
) -> Precondition:
    """Return the `If-Match` of a request, which lets everything pass when none was sent."""
    return Precondition(if_match or "*")


IfMatch: TypeAlias = Annotated[Precondition, Depends(_precondition)]

IfMatchIfSent: TypeAlias = Annotated[Precondition, Depends(_precondition_if_sent)]
"""Of deeds, which are no edits and may be done by who has read nothing: taking, closing, blocking."""


def etag(view: Output) -> str:
    """Return the entity tag of what is shown: another text has another tag, but for what changes by itself."""
    shown = view.model_dump_json(exclude=set(view.NOT_IN_ETAG))
    return f'"{hashlib.sha256(shown.encode()).hexdigest()[:_DIGITS]}"'


def tagged(response: Response, view: M) -> M:
    """Give an answer its `ETag`, and return it."""
    response.headers["ETag"] = etag(view)
    return view
