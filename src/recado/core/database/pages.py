"""Pages of a list: some items, and a cursor that leads to the next ones."""

import base64
import binascii
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Generic, Protocol, TypeAlias, TypeVar
from uuid import UUID

from recado.core.errors import InvalidInput

T = TypeVar("T")
I = TypeVar("I", bound="Identified")  # noqa: E741 - an item with an id

PAGE_SIZE: Final = 200
"""The usual number of items of a page, and the most that a caller may ask for."""

Place: TypeAlias = tuple[datetime, UUID]
"""Where an item stands in a list that is in the order of a time."""

FIRST_ID: Final = UUID(int=0)
LAST_ID: Final = UUID(int=2**128 - 1)
FIRST_PLACE: Final[Place] = (datetime(1970, 1, 1, tzinfo=UTC), FIRST_ID)
LAST_PLACE: Final[Place] = (datetime(9999, 1, 1, tzinfo=UTC), LAST_ID)
"""Before and after every item."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items in order, and the cursor of the next page. The cursor is None on the last page."""

    items: Sequence[T]
    next_cursor: str | None


async def every(page: Callable[[str | None], Awaitable[Page[T]]]) -> AsyncIterator[T]:
    """Yield the items of all pages of a list. `page` returns the one at a cursor."""
    cursor: str | None = None
    while True:
        found = await page(cursor)
        for item in found.items:
            yield item
        if (cursor := found.next_cursor) is None:
            return


class Identified(Protocol):
    """An item of a list in the order of ids."""

    @property
    def id(self) -> UUID: ...


def page_by_id(found: Sequence[I], limit: int) -> Page[I]:
    """Return a page of a list in the order of its ids, which is that of their making. `found` is as in `page_of`."""
    items = found[:limit]
    return Page(items, write_id(items[-1].id) if len(found) > limit else None)


def page_of(found: Sequence[T], limit: int, position: Callable[[T], Place]) -> Page[T]:
    """Return a page of `limit` items. `found` has one item more when there is a next page."""
    items = found[:limit]
    return Page(items, write_cursor(*position(items[-1])) if len(found) > limit else None)


def write_cursor(at: datetime, id_: UUID) -> str:
    """Return the cursor of the items after this one."""
    return _encoded([at.isoformat(), str(id_)])


def read_cursor(cursor: str) -> Place:
    """Return the position that a cursor names. Raises `InvalidInput` for a text that is no cursor of ours."""
    try:
        at, id_ = _decoded(cursor)
        moment, found = datetime.fromisoformat(str(at)), UUID(str(id_))
        if moment.tzinfo is None:
            raise _not_ours()
        return moment.astimezone(UTC), found
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _not_ours() from error


def write_numbers(*numbers: int) -> str:
    """Return the cursor of a list that is in the order of whole numbers."""
    return _encoded(list(numbers))


def read_numbers(cursor: str, count: int) -> tuple[int, ...]:
    """Return the numbers of a cursor, from 1. Raises `InvalidInput` for a text that is no cursor of ours."""
    try:
        numbers = _decoded(cursor)
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise _not_ours() from error
    whole = tuple(number for number in numbers if type(number) is int and 1 <= number < 2**63)
    if len(whole) != count or len(numbers) != count:
        raise _not_ours()
    return whole


def write_id(id_: UUID) -> str:
    """Return the cursor of a list that is in the order of its ids."""
    return _encoded([str(id_)])


def after_id(cursor: str | None) -> UUID:
    """Return the id that all of a page are after, in a list with the oldest first. Raises `InvalidInput`."""
    return FIRST_ID if cursor is None else read_id(cursor)


def before_id(cursor: str | None) -> UUID:
    """Return the id that all of a page are before, in a list with the newest first. Raises `InvalidInput`."""
    return LAST_ID if cursor is None else read_id(cursor)


def read_id(cursor: str) -> UUID:
    """Return the id of a cursor. Raises `InvalidInput` for a text that is no cursor of ours."""
    try:
        [id_] = _decoded(cursor)
        return UUID(str(id_))
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _not_ours() from error


def _encoded(values: Sequence[object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _decoded(cursor: str) -> list[str | int]:
    """Return what a cursor holds. Raises `ValueError` or its like for anything else: a cursor comes from outside."""
    found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    if not isinstance(found, list):
        raise TypeError("a cursor is a list")
    return found


def _not_ours() -> InvalidInput:
    return InvalidInput("this is not a cursor of ours: take `next_cursor` of the page before")
