"""What the database says, read past the product: plain SQL over a connection of our own.

Another database needs another class with these questions.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

from recado.core.database.engine import sqlite_module

_SECOND = 1_000_000


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

    @property
    def quiet(self) -> bool:
        return self.open == self.unsettled == self.unknown == self.unfinished == 0


class Ledger(Protocol):
    """Every question the torture asks."""

    def counts(self) -> Counts: ...
    def messages(self) -> list[Row]: ...
    def held(self) -> list[Held]: ...
    def jobs(self, ids: Sequence[str]) -> Mapping[str, JobState]: ...
    def unknowns(self) -> list[float]: ...
    def unfinished(self) -> list[str]: ...
    def sound(self) -> str: ...


class SqliteLedger:
    """One connection, for one thread."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite_module().connect(path, timeout=30, isolation_level=None)
        self._connection.execute("PRAGMA query_only=1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._connection.close()

    def counts(self) -> Counts:
        [row] = self._all(f"""SELECT (SELECT count(*) FROM messages),
            (SELECT count(*) FROM messages WHERE outcome IS NULL),
            (SELECT count(*) FROM answers WHERE settled_at IS NULL),
            (SELECT count(*) FROM attempts WHERE state IN ('sending', 'unknown') AND state = 'unknown'),
            (SELECT count(*) FROM message_queue WHERE {_OURS})""")
        return Counts(*(int(str(value)) for value in row))

    def messages(self) -> list[Row]:
        found = self._all("SELECT message_sid, outcome, outcome_reason, turn_id FROM messages ORDER BY id")
        return [Row(_sid(sid), _text(outcome), _text(reason), _hex(turn)) for sid, outcome, reason, turn in found]

    def held(self) -> list[Held]:
        found = self._all("""SELECT id, name, lease_token, leased_until, crashes FROM message_queue
            WHERE status = 'running' AND lease_token IS NOT NULL""")
        return [
            Held(_hex(job) or "", str(name), UUID(bytes=token), int(str(until)) / _SECOND, int(str(crashes)))
            for job, name, token, until, crashes in found
            if isinstance(token, bytes)
        ]

    def jobs(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        states: dict[str, JobState] = {}
        for job in ids:
            for status, crashes, finished in self._all(
                "SELECT status, crashes, finished_at FROM message_queue WHERE id = ?", bytes.fromhex(job)
            ):
                ended = None if finished is None else int(str(finished)) / _SECOND
                states[job] = JobState(str(status), int(str(crashes)), ended)
        return states

    def unknowns(self) -> list[float]:
        """Seconds from the start of each attempt whose fate was unknown to the moment it was known or given up."""
        found = self._all("""SELECT finished_at - started_at FROM attempts WHERE finished_at IS NOT NULL
            AND (state IN ('absent', 'unconfirmed') OR (state = 'accepted' AND code IS NOT NULL))""")
        return [int(str(span)) / _SECOND for (span,) in found]

    def unfinished(self) -> list[str]:
        """What still moves, in words, for whoever wants to know why it does not end."""
        jobs = self._all(f"""SELECT name, status, attempts || ' attempts', crashes || ' crashes', last_error, lane
            FROM message_queue WHERE {_OURS} ORDER BY id LIMIT 20""")
        return [", ".join(str(value) for value in job if value is not None) for job in jobs]

    def sound(self) -> str:
        """`ok`, or what SQLite finds wrong with the file."""
        return "; ".join(str(row[0]) for row in self._all("PRAGMA integrity_check"))

    def _all(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = self._connection.execute(sql, values).fetchall()
        return found


_OURS = "status IN ('collecting', 'waiting', 'running') AND name NOT LIKE 'sweep.%'"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Ledger]:
    """The ledger of a run, for the thread that asks."""
    with SqliteLedger(path) as ledger:
        yield ledger


def _sid(value: object) -> str:
    if isinstance(value, bytes):
        return value[:2].decode() + value[2:].hex() if len(value) == 18 else value.decode()
    return str(value)


def _hex(value: object) -> str | None:
    return value.hex() if isinstance(value, bytes) else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
