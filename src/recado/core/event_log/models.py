"""Events: what happened to an owner's customers, told to the owner's own programs.

An event names by ids what happened. It holds no text and no address of a customer: a program that may know these asks
for them, and a log that is kept for a month needs no erasing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias, get_args
from uuid import UUID

from recado.core.database.types import JsonValue
from recado.core.errors import DomainError, InvalidInput
from recado.core.queue.lane import Lane

EventType: TypeAlias = Literal[
    "message.received",
    "message.sent",
    "delivery.failed",
    "outcome.decided",
    "conversation.opened",
    "conversation.handed_off",
    "conversation.taken",
    "conversation.released",
    "conversation.closed",
    "dead_letter.created",
    "orphan.received",
    "endpoint.disabled",
]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)


DELIVER: Final = "event.deliver"
"""The name of the jobs that send events."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be stored in the transaction of what it tells.

    Events of one lane are told in order: the lane of the customer, or one of its own where there is no customer.
    """

    id: UUID
    owner_id: UUID
    type: EventType
    lane: Lane
    at: datetime
    conversation_id: UUID | None = None
    data: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """A numbered event. Readers get events by rising numbers; those of one lane rise as it happened."""

    number: int
    id: UUID
    owner_id: UUID
    type: EventType
    lane: Lane
    conversation_id: UUID | None
    data: Mapping[str, JsonValue]
    at: datetime


def given(data: Mapping[str, str | None]) -> Mapping[str, str]:
    """Return the data of an event without what is not known."""
    return {name: value for name, value in data.items() if value is not None}


def valid_types(texts: Collection[str]) -> tuple[EventType, ...]:
    """Return event types in their usual order. Raises `InvalidInput` with the ones that there are."""
    wanted = tuple(type_ for type_ in EVENT_TYPES if type_ in texts)
    unknown = sorted(set(texts) - set(wanted))
    if unknown:
        raise InvalidInput(f"{unknown[0][:40]!r} is no type of event: use {', '.join(EVENT_TYPES)}")
    return wanted


class CursorUnknown(DomainError):
    """The event after which somebody wants to read is not in the log: it was deleted after 30 days, or never was."""

    code = "events.cursor_unknown"
    status = 410
