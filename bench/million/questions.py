"""The pages that are asked for: at the beginning of each list, shortly after it, and deep in it."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias
from urllib.parse import urlencode
from uuid import UUID

from million.filling import Filled
from million.rows import BEGINNING, LONG, LONG_TURNS, RARE_NUMBER, TURNS, WORDS, conversation_id, id_of

Path: TypeAlias = Callable[[], str]
"""Another request of one kind each time."""
_Place: TypeAlias = Callable[[], float]
"""Another place each time, as a share of a list."""
LIMIT = 50


@dataclass(slots=True)
class Questions:
    """Requests of each kind to one filled database, for a key of its larger organisation."""

    filled: Filled
    _chance: random.Random = field(default_factory=lambda: random.Random(5))

    def lists(self) -> Mapping[str, Path]:
        """Return the lists, each from its beginning."""
        user, rare = self.filled.owners.user, RARE_NUMBER
        return {
            "conversations not closed": self._first(),
            "all conversations": self._first(status="all"),
            "closed ones": self._first(status="closed"),
            "those held by a person": self._first(held_by="person"),
            "those assigned to somebody": self._first(assignee_id=user),
            "those of a number rarely used": self._first(number_id=rare),
            "those that wait": self._first(waiting="true"),
            "waiting, held by nobody (none)": self._first(waiting="true", held_by="nobody"),
            "closed, held by nobody (none)": self._first(status="closed", held_by="nobody"),
            "contacts": self._contacts(),
            "blocked contacts (none)": self._contacts(blocked="true"),
        }

    def searches(self) -> Mapping[str, Path]:
        return {
            "a frequent word": self._search(lambda: self._word(0, 10)),
            "a usual word": self._search(lambda: self._word(50, 1_000)),
            "a rare word": self._search(lambda: self._word(10_000, WORDS)),
            "two frequent words": self._search(lambda: f"{self._word(0, 10)} {self._word(0, 10)}"),
            "a frequent and a rare word": self._search(lambda: f"{self._word(0, 10)} {self._word(5_000, WORDS)}"),
        }

    def reads(self) -> Mapping[str, Path]:
        return {
            "a conversation": lambda: f"/conversations/{self._some_conversation()}",
            "its messages": lambda: f"/conversations/{self._some_conversation()}/messages?limit={LIMIT}",
        }

    def depths(self) -> Mapping[str, tuple[Path, Path]]:
        """Return pages from random places in the first tenth of a list, and in its last tenth.

        The first page itself would be no measure: asked for again and again, it is always in every cache.
        """
        frequent, usual = (lambda: self._word(0, 10)), (lambda: self._word(50, 1_000))
        kinds: dict[str, Callable[[_Place], Path]] = {
            "conversations not closed": self._from_within,
            "all conversations": lambda place: self._from_within(place, status="all"),
            "contacts": self._contacts_from_within,
            "search of a frequent word": lambda place: self._search(frequent, place),
            "search of a usual word": lambda place: self._search(usual, place),
            "messages of a long conversation": self._messages_from_within,
        }
        return {name: (within(self._near), within(self._far)) for name, within in kinds.items()}

    def mixed(self) -> Path:
        """Return what people and programs ask for all day long: lists, conversations, and now and then a search."""
        kinds: list[Path] = [
            *[self._first()] * 3,
            self._first(waiting="true"),
            *self.reads().values(),
            *self.reads().values(),
            self._search(lambda: self._word(50, 1_000)),
            self._contacts(),
        ]

        def ask() -> str:
            return self._chance.choice(kinds)()

        return ask

    def _word(self, low: int, high: int) -> str:
        return f"palavra{self._chance.randrange(low, high)}"

    def _some_conversation(self) -> UUID:
        return conversation_id(self._chance.randrange(1, self.filled.conversations // 10) * 10)

    def _first(self, **filters: object) -> Path:
        return lambda: _path("/conversations", **filters)

    def _near(self) -> float:
        return self._chance.uniform(0.01, 0.1)

    def _far(self) -> float:
        return self._chance.uniform(0.9, 0.98)

    def _from_within(self, place: _Place, **filters: object) -> Path:
        from recado.core.database.pages import write_cursor

        def ask() -> str:
            seconds = int(self.filled.conversations * (1 - place())) * 20
            cursor = write_cursor(BEGINNING + timedelta(seconds=seconds), UUID(int=0))
            return _path("/conversations", **filters, cursor=cursor)

        return ask

    def _contacts(self, **filters: object) -> Path:
        return lambda: _path("/contacts", **filters)

    def _contacts_from_within(self, place: _Place) -> Path:
        from recado.core.database.pages import write_id

        return lambda: _path("/contacts", cursor=write_id(id_of(2, int(self.filled.conversations * (1 - place())))))

    def _messages_from_within(self, place: _Place) -> Path:
        from recado.core.database.pages import write_id

        first = (LONG - 1) * TURNS
        messages = f"/conversations/{conversation_id(LONG)}/messages"
        # Each number is of a message and of its answer. The last pages are full ones too.
        return lambda: _path(messages, cursor=write_id(id_of(7, first + int(place() * (LONG_TURNS - LIMIT)))))

    def _search(self, words: Callable[[], str], place: "_Place | None" = None) -> Path:
        from recado.core.database.pages import write_numbers

        newest = self.filled.messages

        def ask() -> str:
            within = {} if place is None else {"cursor": write_numbers(newest, int(newest * (1 - place())))}
            return _path("/conversations", text=words(), **within)

        return ask


def _path(path: str, **query: object) -> str:
    return f"{path}?{urlencode({'limit': LIMIT, **query})}"
