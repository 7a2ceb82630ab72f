"""What the models of all routes share."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Final, Generic, TypeAlias, TypeVar

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from recado.core.database.pages import PAGE_SIZE

T = TypeVar("T")

EXAMPLE_ID: Final = "01a203d3-d0be-7000-95bc-8269c3611314"
_DEEP: Final = 50
_CURSOR: Final = "The `next_cursor` of the page before. Without one the list begins."

DEFAULT_LIMIT: Final = 50

Limit: TypeAlias = Annotated[int, Query(ge=1, le=PAGE_SIZE, description="The most items of the page.")]
"""Of a list: `limit: Limit = DEFAULT_LIMIT`."""

Cursor: TypeAlias = Annotated[str | None, Query(max_length=200, description=_CURSOR)]
"""Of a list: `cursor: Cursor = None`."""


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("in UTC this is not between the years 1 and 9999") from error


Moment: TypeAlias = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time in a body: with its zone, and one that can be stored and read again."""


class Output(BaseModel):
    """What a route answers."""

    model_config = ConfigDict(from_attributes=True)

    NOT_IN_ETAG: ClassVar[frozenset[str]] = frozenset()
    """Fields that change by themselves, such as when somebody was last seen. Editing the rest needs no look at them."""


class Input(BaseModel):
    """The body of a request. A field that no route reads is refused, since it may be a misspelt one."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, given: object) -> object:
        if not _is_storable(given, _DEEP):
            raise ValueError("there is a NUL character, which no text can have, or more levels than any request needs")
        return given


class PageOf(Output, Generic[T]):
    """A page of a list. What is created or removed meanwhile moves no other item to another page."""

    items: list[T]
    next_cursor: str | None = Field(description="Ask for the next page with it; null on the last page.")


def _is_storable(value: object, levels: int) -> bool:
    """Return whether a JSON value can be stored: PostgreSQL takes no NUL in a text."""
    if levels == 0:
        return False
    match value:
        case str():
            return "\0" not in value
        case dict():
            return all(_is_storable(each, levels - 1) for pair in value.items() for each in pair)
        case list():
            return all(_is_storable(each, levels - 1) for each in value)
        case _:
            return True
