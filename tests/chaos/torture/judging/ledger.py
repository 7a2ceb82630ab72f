"""What the database says, read past the product: plain SQL over a connection of our own.

Its questions are those of both databases; where an answer differs by more than its type, each has its own.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

import psycopg
from sqlalchemy import make_url

from recado.core.database.engine import on_postgresql
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.errors import StorageUnavailable
from tests.chaos.torture.judging.events import LoggedEvent, Told

_MICROSECONDS = 1_000_000
OUTAGE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Row:
    """A message as stored."""

    sid: str
    outcome: str | None
    reason: str | None
    turn: str | None


@dataclass(frozen=True, slots=True)
class Held:
    """A job that runs: under which claim, until when, and how often it has lost its worker. Seconds since 1970."""

    job: str
    name: str
    token: UUID
    until: float
    crashes: int


@dataclass(frozen=True, slots=True)
class JobState:
    """A job that does not run now."""

    status: str
    crashes: int
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Where things are, for the line of progress and for the end of the drain."""

    stored: int
    open: int
    unsettled: int
    unknown: int
    unfinished: int
    untold: int = 0
    """Events that an endpoint was not sent because they still lie in the log."""

    @property
    def quiet(self) -> bool:
        return self.open == self.unsettled == self.unknown == self.unfinished == self.untold == 0


class Ledger(Protocol):
    """Every question the torture asks."""

    def counts(self) -> Counts: ...
    def messages(self) -> list[Row]: ...
    def held(self) -> list[Held]: ...
    def jobs(self, ids: Sequence[str]) -> Mapping[str, JobState]: ...
    def unknowns(self) -> list[float]: ...
    def unfinished(self) -> list[str]: ...
    def peoples(self) -> list[str]: ...
    def switched_off(self) -> list[str]: ...
    def left_alone(self) -> list[str]: ...
    def events(self) -> list[LoggedEvent]: ...
    def told(self) -> list[Told]: ...
    def sound(self) -> str: ...


class _BareLedger:
    """The questions in SQL that both databases understand."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError

    def ask(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        raise NotImplementedError

    def counts(self) -> Counts:
        [row] = self.ask(f"""SELECT (SELECT count(*) FROM messages),
            (SELECT count(*) FROM messages WHERE outcome IS NULL),
            (SELECT count(*) FROM answers WHERE settled_at IS NULL),
            (SELECT count(*) FROM attempts WHERE state IN ('sending', 'unknown') AND state = 'unknown'),
            (SELECT count(*) FROM message_queue WHERE {_OURS}),
            (SELECT count(*) FROM events e JOIN event_endpoints p ON p.owner_id = e.owner_id
                WHERE e.number IS NULL OR e.number > p.position)""")
        return Counts(*(int(str(value)) for value in row))

    def messages(self) -> list[Row]:
        found = self.ask("SELECT provider_message_id, outcome, outcome_reason, turn_id FROM messages ORDER BY id")
        return [Row(_sid(sid), _text(outcome), _text(reason), _hex(turn)) for sid, outcome, reason, turn in found]

    def held(self) -> list[Held]:
        found = self.ask("""SELECT id, name, lease_token, leased_until, crashes FROM message_queue
            WHERE status = 'running' AND lease_token IS NOT NULL""")
        return [
            Held(_hex(job) or "", str(name), UUID(_hex(token)), _seconds(until), int(str(crashes)))
            for job, name, token, until, crashes in found
        ]

    def jobs(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        states: dict[str, JobState] = {}
        for job in ids:
            for status, crashes, finished in self.ask(
                "SELECT status, crashes, finished_at FROM message_queue WHERE id = ?", self.key(job)
            ):
                ended = None if finished is None else _seconds(finished)
                states[job] = JobState(str(status), int(str(crashes)), ended)
        return states

    def key(self, id_: str) -> object:
        """An id as the database stores it."""
        raise NotImplementedError

    def unknowns(self) -> list[float]:
        """Seconds from the start of each attempt whose fate was unknown to the moment it was known or given up."""
        found = self.ask("""SELECT started_at, finished_at FROM attempts WHERE finished_at IS NOT NULL
            AND (state IN ('absent', 'unconfirmed') OR (state = 'accepted' AND code IS NOT NULL))""")
        return [_seconds(finished) - _seconds(started) for started, finished in found]

    def unfinished(self) -> list[str]:
        """Describe what still moves, for people who want to know why the run does not end."""
        jobs = self.ask(f"""SELECT name, status, attempts || ' attempts', crashes || ' crashes', last_error, lane
            FROM message_queue WHERE {_OURS} ORDER BY id LIMIT 20""")
        return [", ".join(str(value) for value in job if value is not None) for job in jobs]

    def peoples(self) -> list[str]:
        """The conversations that are a person's: one has them, or they wait for one."""
        found = self.ask("SELECT id FROM conversations WHERE held_by <> 'agent' AND status <> 'closed' ORDER BY id")
        return [_hex(conversation) or "" for (conversation,) in found]

    def switched_off(self) -> list[str]:
        """The endpoints that are switched off."""
        found = self.ask("SELECT id FROM event_endpoints WHERE disabled_at IS NOT NULL ORDER BY id")
        return [_hex(endpoint) or "" for (endpoint,) in found]

    def left_alone(self) -> list[str]:
        """The endpoints that are switched off, or tried from time to time only."""
        found = self.ask("SELECT id FROM event_endpoints WHERE disabled_at IS NOT NULL OR failures >= 5 ORDER BY id")
        return [_hex(endpoint) or "" for (endpoint,) in found]

    def events(self) -> list[LoggedEvent]:
        """The log, by its numbers."""
        found = self.ask("""SELECT e.id, o.name, e.lane, e.number FROM events e JOIN owners o ON o.id = e.owner_id
            ORDER BY e.number""")
        return [
            LoggedEvent(str(UUID(_hex(id_))), str(shop), _hex(lane) or "", None if number is None else int(str(number)))
            for id_, shop, lane, number in found
        ]

    def told(self) -> list[Told]:
        """The messages, and what the log says of each."""
        heard: dict[str, list[tuple[str, str | None]]] = {}
        for message, type_, outcome in self.ask("""SELECT data->>'message_id', type, data->>'outcome' FROM events
            WHERE type IN ('message.received', 'outcome.decided') ORDER BY number"""):
            heard.setdefault(UUID(str(message)).hex, []).append((str(type_), _text(outcome)))
        stored = self.ask("SELECT id, outcome FROM messages ORDER BY id")
        return [_told(_hex(message) or "", _text(outcome), heard) for message, outcome in stored]


def _told(message: str, outcome: str | None, heard: Mapping[str, Sequence[tuple[str, str | None]]]) -> Told:
    said = heard.get(message, [])
    decided = [each for type_, each in said if type_ == "outcome.decided"]
    was_received = ("message.received", None) in said
    return Told(message, outcome, was_received, decided[-1] if decided else None)


class SqliteLedger(_BareLedger):
    """One connection, for one thread."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite_module().connect(path, timeout=30, isolation_level=None)
        self._connection.execute("PRAGMA query_only=1")

    def close(self) -> None:
        self._connection.close()

    def ask(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = self._connection.execute(sql, values).fetchall()
        return found

    def key(self, id_: str) -> object:
        return bytes.fromhex(id_)

    def sound(self) -> str:
        """`ok`, or what SQLite finds wrong with the file."""
        return "; ".join(str(row[0]) for row in self.ask("PRAGMA integrity_check"))


class PostgresLedger(_BareLedger):
    """One connection for one thread; opened again when the server was killed."""

    def __init__(self, url: str, patience: float) -> None:
        self._patience = patience
        self._database = PostgresDatabase(url)
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        give_up, pause = time.monotonic() + self._patience, threading.Event()
        while True:
            try:
                if self._connection is None:
                    self._connection = self._database.open_connection()
                return self._connection.execute(sql.replace("?", "%s").encode(), values or None).fetchall()
            except (psycopg.OperationalError, StorageUnavailable) as error:
                self.close()
                if time.monotonic() >= give_up:
                    raise StorageUnavailable(str(error)) from error
            pause.wait(0.1)

    def key(self, id_: str) -> object:
        return UUID(id_)

    def sound(self) -> str:
        """`ok`, or what the server's own check of its indexes finds."""
        with closing(self._database.open_connection()) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
        self.ask(
            """SELECT bt_index_check(index => c.oid, heapallindexed => true)::text FROM pg_index i
            JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
            JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.amname = 'btree' AND n.nspname = 'public'"""
        )
        return "ok"


_OURS = "status IN ('collecting', 'waiting', 'running') AND name NOT LIKE 'sweep.%'"


@contextlib.contextmanager
def opened(url: str, patience: float = OUTAGE_SECONDS) -> Iterator[Ledger]:
    """The ledger of a run, for the thread that asks.

    For `patience` seconds it waits for a server that is gone; then it raises `StorageUnavailable`.
    """
    path = make_url(url).database
    with PostgresLedger(url, patience) if on_postgresql(url) else SqliteLedger(Path(str(path))) as ledger:
        yield ledger


def _seconds(value: object) -> float:
    return value.timestamp() if isinstance(value, datetime) else int(str(value)) / _MICROSECONDS


def _sid(value: object) -> str:
    if isinstance(value, bytes):
        return value[:2].decode() + value[2:].hex() if len(value) == 18 else value.decode()
    return str(value)


def _hex(value: object) -> str | None:
    return value.hex() if isinstance(value, bytes) else value.hex if isinstance(value, UUID) else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
