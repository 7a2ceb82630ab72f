"""What do lists, searches and transcripts cost when a million messages are stored?

A million messages (half of customers, half answers) in 100,000 conversations of two owners, nine tenths of them of one.
Of the conversations a tenth is not closed; of those a tenth is held by a person, and in half of these somebody waits.
The words of a message are drawn from 20,000, as often as words are in languages: the first is in every third message,
the last in hardly any.

Measured is the time of one page of 50 as the API's routes ask for it, in a process that does nothing else: at the
beginning of a list and deep in it. A deep page begins at a random place of the list.

How to read it: p95 of all samples in milliseconds, with the issue's bar of 50 ms. A page that is deep should cost what
the first one costs.
"""

import asyncio
import itertools
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import harness
from harness import Figure, at_most, percentile, progress

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.conversation.reading.filters import ConversationFilters

P95_MS = 50.0
CONVERSATIONS = 100_000
TURNS = 5
"""Messages of the customer in each conversation, each with an answer."""
WORDS = 20_000
LENGTH = 8
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
BIG, SMALL = UUID(int=1 << 80), UUID(int=2 << 80)
NUMBER, RARE_NUMBER = UUID(int=3 << 80), UUID(int=4 << 80)
USER = UUID(int=5 << 80)


# --- What is stored ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation of the made-up million."""

    number: int
    conversations: int

    @property
    def id(self) -> UUID:
        return _id(1, self.number)

    @property
    def owner(self) -> UUID:
        return SMALL if self.number % 10 == 3 else BIG

    @property
    def address(self) -> UUID:
        return RARE_NUMBER if self.number % 1_000 == 1 else NUMBER

    @property
    def is_open(self) -> bool:
        return self.number % 10 == 0

    @property
    def is_held(self) -> bool:
        return self.number % 100 == 0

    @property
    def waits(self) -> bool:
        return self.number % 200 == 0

    @property
    def at(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.number * 20)


def _id(kind: int, number: int) -> UUID:
    """Return an id that sorts by its number."""
    return UUID(int=(number << 80) | (kind << 64) | 1)


class Words:
    """Texts whose words are as frequent as words are."""

    def __init__(self) -> None:
        self._chance = random.Random(11)
        self._weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(WORDS)))

    def text(self) -> str:
        ranks = self._chance.choices(range(WORDS), cum_weights=self._weights, k=LENGTH)
        return " ".join(f"palavra{rank}" for rank in ranks)


def rows(conversations: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each table's name with a row of it."""
    words = Words()
    for number in range(1, conversations + 1):
        found = Conversation(number, conversations)
        owned = {"owner_id": found.owner}
        yield "contacts", {**owned, "id": _id(2, number), "name": f"Cliente {number}", "created_at": found.at}
        address = f"whatsapp:+55119{number:08}"
        yield (
            "contact_addresses",
            {**owned, "id": _id(3, number), "contact_id": _id(2, number), "address": address, "match_key": address,
             "created_at": found.at},
        )  # fmt: skip
        yield (
            "conversations",
            {**owned, "id": found.id, "lane": _id(4, number), "contact_id": _id(2, number),
             "address_id": found.address, "status": "open" if found.is_open else "closed",
             "held_by": "person" if found.is_held else "agent", "version": 1, "opened_at": found.at,
             "held_since": found.at, "last_activity_at": found.at + timedelta(minutes=5),
             "assignee_id": USER if number % 400 == 0 else None},
        )  # fmt: skip
        if found.waits:
            yield (
                "inbox_items",
                {**owned, "id": _id(5, number), "conversation_id": found.id, "reason": "x", "created_at": found.at},
            )
        for turn in range(TURNS):
            yield from _said(found, address, number * TURNS + turn, words)


def _said(of: Conversation, address: str, number: int, words: Words) -> Iterator[tuple[str, dict[str, object]]]:
    owned, at = {"owner_id": of.owner, "conversation_id": of.id}, of.at + timedelta(seconds=number % TURNS * 60)
    asked, answered = words.text(), words.text()
    yield (
        "messages",
        {**owned, "id": _id(6, number), "lane": _id(4, of.number), "address_id": of.address, "provider": "twilio",
         "account_ref": f"AC{1:032x}", "provider_message_id": f"SM{number:032x}", "from_address": address,
         "to_address": harness.NUMBER, "text": asked, "kind": "text", "source": "webhook", "received_at": at,
         "contact_id": _id(2, of.number), "outcome": "answered", "outcome_at": at, "raw": b"x" * 300},
    )  # fmt: skip
    yield (
        "answers",
        {**owned, "id": _id(7, number), "lane": _id(4, of.number), "send_lane": _id(4, of.number), "author": "agent",
         "address_id": of.address, "from_address": harness.NUMBER, "to_address": address, "state": "accepted",
         "closes": False, "created_at": at, "settled_at": at},
    )  # fmt: skip
    yield (
        "answer_parts",
        {"owner_id": of.owner, "id": _id(8, number), "answer_id": _id(7, number), "part_no": 1, "text": answered,
         "state": "accepted"},
    )  # fmt: skip
    scope = f"o{of.owner.hex} c{of.id.hex}"
    for id_, text in ((_id(6, number), asked), (_id(7, number), answered)):
        unique = " ".join(dict.fromkeys(text.split()))
        yield "search_documents", {**owned, "message_id": id_, "words": f"{scope} {unique}"}


STEP = 20_000
FILLED = (
    "contacts", "contact_addresses", "conversations", "inbox_items", "messages", "answers", "answer_parts",
    "search_documents",
)  # fmt: skip


def fill(url: str, conversations: int) -> None:
    """Store everything, and let the database learn what it holds."""
    waiting: dict[str, list[dict[str, object]]] = {}
    with closing(_Filling(url)) as filling:
        for table, row in rows(conversations):
            waiting.setdefault(table, []).append(row)
            if table == "search_documents" and len(waiting[table]) >= STEP:
                filling.store(waiting)
                waiting = {}
        filling.store(waiting)
        filling.finish()


class _Filling:
    """Stores rows past the product, in bulk."""

    def __init__(self, url: str) -> None:
        self._postgres = url.startswith("postgresql")
        if self._postgres:
            import psycopg

            self._connection = psycopg.connect(url, autocommit=True)
            self._connection.execute("SET session_replication_role = replica")
            self._connection.execute("SET maintenance_work_mem = '512MB'")
            for table in FILLED:
                self._connection.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY".encode())
        else:
            from recado.core.database.sqlite.driver import sqlite_module

            self._file = sqlite_module().connect(url.removeprefix("sqlite:///"), isolation_level=None)
            self._file.execute("PRAGMA synchronous=OFF")
            self._file.execute("PRAGMA cache_size=-262144")

    def store(self, waiting: dict[str, list[dict[str, object]]]) -> None:
        for table, found in waiting.items():
            names = ", ".join(found[0])
            if self._postgres:
                copy = f"COPY {table} ({names}) FROM STDIN".encode()
                with self._connection.cursor() as cursor, cursor.copy(copy) as copying:
                    for row in found:
                        copying.write_row([_for_postgres(name, value) for name, value in row.items()])
            else:
                marks = ", ".join("?" * len(found[0]))
                self._file.execute("BEGIN")
                self._file.executemany(
                    f"INSERT INTO {table} ({names}) VALUES ({marks})",
                    [[_for_sqlite(name, value) for name, value in row.items()] for row in found],
                )
                self._file.execute("COMMIT")

    def finish(self) -> None:
        if self._postgres:
            self._connection.execute("VACUUM ANALYZE")
            self._connection.execute("CHECKPOINT")
        else:
            self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.sync()

    def close(self) -> None:
        (self._connection if self._postgres else self._file).close()


def _provider_id(value: str) -> bytes:
    return value[:2].encode() + bytes.fromhex(value[2:])


def _for_sqlite(name: str, value: object) -> object:
    match value:
        case UUID():
            return value.bytes
        case datetime():
            return (value - EPOCH) // timedelta(microseconds=1)
        case str() if name in ("account_ref", "provider_message_id"):
            return _provider_id(value)
        case _:
            return value


def _for_postgres(name: str, value: object) -> object:
    if isinstance(value, str) and name in ("account_ref", "provider_message_id"):
        return _provider_id(value)
    return value


# --- What is asked ----------------------------------------------------------------------------------------------------

Ask = Callable[[], Awaitable[object]]


class Questions:
    """The pages that are measured."""

    def __init__(self, container: "Container", conversations: int) -> None:
        self._reading = container.conversation_reading()
        self._container = container
        self._conversations = conversations
        self._chance = random.Random(5)

    def all(self) -> dict[str, Ask]:
        from recado.conversation.reading.filters import ConversationFilters as F

        lists = {
            "not closed": F(),
            "all": F(status="all"),
            "closed": F(status="closed"),
            "held by a person": F(held_by="person"),
            "assigned to somebody": F(assignee_id=USER),
            "one number, rarely used": F(number_id=RARE_NUMBER),
            "waiting": F(waiting=True),
            "waiting, held by nobody (none)": F(waiting=True, held_by="nobody"),
            "closed, held by nobody (none)": F(status="closed", held_by="nobody"),
        }
        asked: dict[str, Ask] = {f"list: {name}": self._first(filters) for name, filters in lists.items()}
        asked["list: not closed, deep"] = self._deep(F())
        asked["list: all, deep"] = self._deep(F(status="all"))
        for name, low, high in (("frequent", 0, 10), ("usual", 50, 1_000), ("rare", 10_000, WORDS)):
            asked[f"search: a {name} word"] = self._search(partial(self._word, low, high))
        asked["search: two frequent words"] = self._search(lambda: f"{self._word(0, 10)} {self._word(0, 10)}")
        asked["search: a frequent and a rare word"] = self._search(
            lambda: f"{self._word(0, 10)} {self._word(5_000, WORDS)}"
        )
        asked["search: a frequent word, deep"] = self._deep_search(lambda: self._word(0, 10))
        asked["search: a usual word, deep"] = self._deep_search(lambda: self._word(50, 1_000))
        asked["search: the smaller owner, a usual word"] = self._search(lambda: self._word(50, 1_000), SMALL)
        asked["read: a conversation's messages"] = self._transcript
        return asked

    def _word(self, low: int, high: int) -> str:
        return f"palavra{self._chance.randrange(low, high)}"

    def _first(self, filters: "ConversationFilters") -> Ask:
        return lambda: self._reading.page(BIG, None, limit=50, filters=filters)

    def _deep(self, filters: "ConversationFilters") -> Ask:
        from recado.core.database.pages import write_cursor

        def ask() -> Awaitable[object]:
            seconds = self._chance.randrange(self._conversations * 20)
            cursor = write_cursor(BEGINNING + timedelta(seconds=seconds), UUID(int=0))
            return self._reading.page(BIG, cursor, limit=50, filters=filters)

        return ask

    def _search(self, words: Callable[[], str], owner: UUID = BIG) -> Ask:
        from recado.conversation.reading.filters import ConversationFilters

        return lambda: self._reading.page(owner, None, limit=50, filters=ConversationFilters(text=words()))

    def _deep_search(self, words: Callable[[], str]) -> Ask:
        from recado.conversation.reading.filters import ConversationFilters
        from recado.core.database.pages import write_numbers

        newest = self._conversations * TURNS * 2

        def ask() -> Awaitable[object]:
            cursor = write_numbers(newest, self._chance.randrange(newest // 10, newest))
            return self._reading.page(BIG, cursor, limit=50, filters=ConversationFilters(text=words()))

        return ask

    def _transcript(self) -> Awaitable[object]:
        from recado.identity.principal import operator_of

        number = self._chance.randrange(1, self._conversations) // 10 * 10
        return self._container.transcripts().page(operator_of(BIG, "bench"), _id(1, number or 10), None, limit=50)


async def measure(url: str, conversations: int, samples: int) -> dict[str, list[float]]:
    """Ask each question many times; milliseconds."""
    from recado.bootstrap import Container
    from recado.settings import load_settings

    container = Container(settings=load_settings(harness.environment(url, "http://127.0.0.1:1"), purpose="serve"))
    taken: dict[str, list[float]] = {}
    for name, ask in Questions(container, conversations).all().items():
        for _ in range(10):
            await ask()
        taken[name] = []
        for _ in range(samples):
            before = time.perf_counter()
            await ask()
            taken[name].append((time.perf_counter() - before) * 1000)
        progress(f"{name}: p50 {percentile(taken[name], 50):.1f} ms, p95 {percentile(taken[name], 95):.1f} ms")
    await container.database().close()
    return taken


def main() -> None:
    given = harness.options(__doc__)
    conversations = 2_000 if given.quick else CONVERSATIONS
    samples = 50 if given.quick else 200
    figures: list[Figure] = []
    with harness.workbench() as bench, harness.postgres() as server:
        for name, url in _databases(str(bench.home / "reading.db"), server.make()):
            started = time.perf_counter()
            fill(url, conversations)
            progress(f"{name}: {conversations * TURNS * 2:,} messages in {time.perf_counter() - started:.0f} s")
            for what, taken in asyncio.run(measure(url, conversations, samples)).items():
                figures.append(at_most(f"{name}: {what}, p95", [percentile(taken, 95)], P95_MS, "ms", digits=1))
    harness.show(f"A page of 50 among {conversations * TURNS * 2:,} messages", figures, remarks=_remarks())


def _databases(file: str, postgres_url: str) -> Iterator[tuple[str, str]]:
    from recado.bootstrap import metadata
    from recado.migrations.runner import migrate_sqlite

    migrate_sqlite(f"sqlite:///{file}", metadata)
    yield "sqlite", f"sqlite:///{file}"
    yield "postgres", postgres_url


def _remarks() -> Sequence[str]:
    return [f"load average when it ended: {os.getloadavg()[0]:.1f}"]


if __name__ == "__main__":
    main()
