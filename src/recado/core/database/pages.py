"""Pages of a list: some items, and a cursor that leads to the next ones."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from recado.core.errors import InvalidInput

T = TypeVar("T")

PAGE_SIZE = 200
"""The usual number of items of a page."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items in order, and the cursor of the next page. The cursor is None on the last page."""

    items: Sequence[T]
    next_cursor: str | None


def page_of(found: Sequence[T], limit: int, position: Callable[[T], tuple[datetime, UUID]]) -> Page[T]:
    """Return a page of `limit` items. `found` has one item more when there is a next page."""
    items = found[:limit]
    return Page(items, write_cursor(*position(items[-1])) if len(found) > limit else None)


def write_cursor(at: datetime, id_: UUID) -> str:
    """Return the cursor of the items after this one."""
    return base64.urlsafe_b64encode(json.dumps([at.isoformat(), str(id_)]).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Return the position that a cursor names. Raises `InvalidInput` for a text that is no cursor of ours."""
    try:
        at, id_ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        position = datetime.fromisoformat(at), UUID(id_)
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise InvalidInput("this is not a cursor of ours: take `next_cursor` of the page before") from error
    if position[0].tzinfo is None:
        raise InvalidInput("this is not a cursor of ours: take `next_cursor` of the page before")
    return position
