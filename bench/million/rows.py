"""What is stored: a million messages (half of customers, half answers) in 100,000 conversations of two organisations.

Nine tenths are of one of them. Of the conversations a tenth is not closed; of those a tenth is held by a person, and in
half of these somebody waits. One conversation is a hundred times as long as the others. The words of a message are
drawn from 20,000, as often as words are in languages: the first is in every third message, the last in hardly any.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from harness import NUMBER

CONVERSATIONS = 100_000
TURNS = 5
"""Messages of the customer in each conversation, each with an answer."""
LONG, LONG_TURNS = 7, 500
"""The number of the long conversation."""
WORDS = 20_000
LENGTH = 8
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
RARE_NUMBER = UUID(int=4 << 80)

Row: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose rows they are. The larger one has a number, and a user to whom conversations are assigned."""

    big: UUID
    small: UUID
    number: UUID
    user: UUID


def id_of(kind: int, number: int) -> UUID:
    """Return an id that sorts by its number."""
    return UUID(int=(number << 80) | (kind << 64) | 1)


def conversation_id(number: int) -> UUID:
    return id_of(1, number)


def begun_at(number: int) -> datetime:
    """Return when the conversation of this number began."""
    return BEGINNING + timedelta(seconds=number * 20)


class Words:
    """Texts whose words are as frequent as words are."""

    def __init__(self) -> None:
        self._chance = random.Random(11)
        self._weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(WORDS)))
        self._words = [f"palavra{rank}" for rank in range(WORDS)]

    def drawn(self) -> list[str]:
        return self._chance.choices(self._words, cum_weights=self._weights, k=LENGTH)


@dataclass(frozen=True, slots=True)
class _Conversation:
    number: int
    owner: UUID
    address: UUID

    @property
    def turns(self) -> int:
        return LONG_TURNS if self.number == LONG else TURNS

    @property
    def waits(self) -> bool:
        return self.number % 200 == 0


def rows(conversations: int, owners: Owners) -> Iterator[tuple[str, Row]]:
    """Yield each table's name with a row of it."""
    words, message = Words(), itertools.count(1)
    for number in range(1, conversations + 1):
        owner = owners.small if number % 10 == 3 else owners.big
        found = _Conversation(number, owner, RARE_NUMBER if number % 1_000 == 1 else owners.number)
        yield from _opened(found, owners.user)
        for turn in range(found.turns):
            yield from _said(found, next(message), turn, words)


def _customer(number: int) -> str:
    return f"whatsapp:+55119{number:08}"


def _opened(of: _Conversation, user: UUID) -> Iterator[tuple[str, Row]]:
    number, at, owned = of.number, begun_at(of.number), {"owner_id": of.owner}
    yield "contacts", {**owned, "id": id_of(2, number), "name": f"Cliente {number}", "created_at": at}
    address = _customer(number)
    yield (
        "contact_addresses",
        {**owned, "id": id_of(3, number), "contact_id": id_of(2, number), "address": address, "match_key": address,
         "created_at": at},
    )  # fmt: skip
    yield (
        "conversations",
        {**owned, "id": conversation_id(number), "lane": id_of(4, number), "contact_id": id_of(2, number),
         "address_id": of.address, "status": "open" if number % 10 == 0 else "closed",
         "held_by": "person" if number % 100 == 0 else "agent", "version": 1, "opened_at": at, "held_since": at,
         "last_activity_at": at + timedelta(minutes=5), "assignee_id": user if number % 400 == 0 else None},
    )  # fmt: skip
    if of.waits:
        item = {"id": id_of(5, number), "conversation_id": conversation_id(number), "reason": "x", "created_at": at}
        yield "inbox_items", {**owned, **item}


def _said(of: _Conversation, number: int, turn: int, words: Words) -> Iterator[tuple[str, Row]]:
    id_ = conversation_id(of.number)
    owned, at = {"owner_id": of.owner, "conversation_id": id_}, begun_at(of.number) + timedelta(seconds=turn % 5 * 60)
    asked, answered, address = words.drawn(), words.drawn(), _customer(of.number)
    lane = id_of(4, of.number)
    yield (
        "messages",
        {**owned, "id": id_of(6, number), "lane": lane, "address_id": of.address, "provider": "twilio",
         "account_ref": f"AC{1:032x}", "provider_message_id": f"SM{number:032x}", "from_address": address,
         "to_address": NUMBER, "text": " ".join(asked), "kind": "text", "source": "webhook", "received_at": at,
         "contact_id": id_of(2, of.number), "outcome": "answered", "outcome_at": at, "raw": b"x" * 300},
    )  # fmt: skip
    yield (
        "answers",
        {**owned, "id": id_of(7, number), "lane": lane, "send_lane": lane, "author": "agent", "address_id": of.address,
         "from_address": NUMBER, "to_address": address, "state": "accepted", "closes": False, "created_at": at,
         "settled_at": at},
    )  # fmt: skip
    yield (
        "answer_parts",
        {"owner_id": of.owner, "id": id_of(8, number), "answer_id": id_of(7, number), "part_no": 1,
         "text": " ".join(answered), "state": "accepted"},
    )  # fmt: skip
    scope = f"o{of.owner.hex} c{id_.hex}"
    for message, said in ((id_of(6, number), asked), (id_of(7, number), answered)):
        yield "search_documents", {**owned, "message_id": message, "words": f"{scope} {' '.join(dict.fromkeys(said))}"}
