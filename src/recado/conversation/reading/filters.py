"""Which conversations a list shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar, get_args
from uuid import UUID

from recado.conversation.models import Holder
from recado.core.errors import InvalidInput

T = TypeVar("T")

StatusFilter: TypeAlias = Literal["active", "open", "idle", "closed", "all"]
"""`active` is `open` or `idle`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationFilters:
    """Which conversations a list shows; None is any."""

    status: StatusFilter | None = None
    """Left out: `active`; among those that wait for a person and those that a text is found in, `all`."""
    held_by: Holder | None = None
    assignee_id: UUID | None = None
    contact_id: UUID | None = None
    number_id: UUID | None = None
    waiting: bool = False
    """Only those in which a message waits for a person, the longest wait first. All others: latest activity first."""
    text: str | None = None
    """Only those with a message of either side in which all these words stand, the latest such message first."""

    @property
    def effective_status(self) -> StatusFilter:
        everything = self.waiting or self.text is not None
        return self.status or ("all" if everything else "active")


def valid_status(text: str | None) -> StatusFilter | None:
    """Return a status to filter by. Raises `InvalidInput`."""
    return None if text is None else _one_of(text, get_args(StatusFilter), "is no status: use")


def valid_holder(text: str | None) -> Holder | None:
    """Return a holder to filter by. Raises `InvalidInput`."""
    return None if text is None else _one_of(text, get_args(Holder), "is no holder: use")


def _one_of(text: str, choices: Sequence[T], says: str) -> T:
    for choice in choices:
        if choice == text:
            return choice
    raise InvalidInput(f"{text[:20]!r} {says} {', '.join(map(str, choices))}")
