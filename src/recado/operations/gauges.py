"""How the line stands now, as numbers that are read whenever somebody asks: depth, ages, what waits for whom.

Asked every few seconds, for ever, and with ten million messages too: each question reads an index that holds nothing
but what is open, or a table of a few rows. Whatever would have to read what has ended (outcomes in total) is counted
when it happens instead (`core/metrics.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import TextClause, bindparam, column, text

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.types import Moment
from recado.core.database.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Gauge:
    """One gauge. `labels` are the names of its labels, `series` their values and the number of each."""

    name: str
    help: str
    series: Sequence[tuple[tuple[str, ...], float]]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _CountQuery:
    """How many rows; with labels, how many of each of the states there are."""

    name: str
    help: str
    sql: str
    label: str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _AgeQuery:
    """How long ago the earliest of some moments was; 0 when there is none, or when it is still to come."""

    name: str
    help: str
    sql: str


# CROSS JOIN keeps SQLite to this order, from the few open turns to their messages: it prefers the way round that reads
# every message which ever had a turn.
_UNFINISHED: Final = "status IN ('collecting','waiting','running')"
_IN_FLIGHT: Final = "state IN ('sending','unknown')"

COUNTS: Final = (
    _CountQuery(
        "recado_jobs",
        "Jobs that are not finished, by status",
        f"SELECT status, count(*) FROM message_queue WHERE {_UNFINISHED} GROUP BY status",
        "status",
        ("collecting", "waiting", "running"),
    ),
    _CountQuery(
        "recado_dead_letters",
        "Dead letters that nobody has retried or discarded",
        "SELECT count(*) FROM message_queue WHERE status='dead' AND discarded_at IS NULL AND replayed_by IS NULL",
    ),
    _CountQuery(
        "recado_messages_unanswered",
        "Accepted messages without an outcome",
        """SELECT (SELECT count(*) FROM messages WHERE turn_id IS NULL AND outcome IS NULL)
            + (SELECT count(*) FROM turns t CROSS JOIN messages m
               WHERE t.settled_at IS NULL AND m.turn_id = t.id AND m.outcome IS NULL)""",
    ),
    _CountQuery(
        "recado_answers_unsettled", "Answers on their way", "SELECT count(*) FROM answers WHERE settled_at IS NULL"
    ),
    _CountQuery(
        "recado_sends",
        "Attempts to send whose end is open: sending has a call under way, of unknown nobody can tell yet",
        f"SELECT state, count(*) FROM attempts WHERE {_IN_FLIGHT} GROUP BY state",
        "state",
        ("sending", "unknown"),
    ),
    _CountQuery(
        "recado_handed_off",
        "Things in inboxes that wait for a person",
        "SELECT count(*) FROM inbox_items WHERE resolved_at IS NULL",
    ),
    _CountQuery(
        "recado_orphans",
        "Messages to numbers that belong to nobody, not assigned yet",
        "SELECT count(*) FROM orphans WHERE assigned_at IS NULL",
    ),
    _CountQuery(
        "recado_accounts_paused",
        "Twilio accounts that may not send now",
        "SELECT count(*) FROM twilio_accounts WHERE paused_until > :now AND updated_at <= :now",
    ),
)

AGES: Final = (
    _AgeQuery(
        "recado_oldest_due_seconds",
        "How long the job that is due longest has been due",
        "SELECT next_due_at AS at FROM lanes WHERE next_due_at IS NOT NULL ORDER BY next_due_at LIMIT 1",
    ),
    # Two plain minima: ordered by id, a planner may walk the primary key through all that has ended.
    _AgeQuery(
        "recado_oldest_unanswered_seconds",
        "Age of the oldest accepted message without an outcome",
        """SELECT min(at) AS at FROM (
            SELECT min(received_at) AS at FROM messages WHERE turn_id IS NULL AND outcome IS NULL
            UNION ALL
            SELECT min(m.received_at) FROM turns t CROSS JOIN messages m
            WHERE t.settled_at IS NULL AND m.turn_id = t.id AND m.outcome IS NULL) AS oldest""",
    ),
    _AgeQuery(
        "recado_oldest_unknown_send_seconds",
        "Age of the oldest attempt to send of which nobody can tell yet whether it arrived",
        f"SELECT min(started_at) AS at FROM attempts WHERE {_IN_FLIGHT} AND state='unknown'",
    ),
    _AgeQuery(
        "recado_oldest_handed_off_seconds",
        "How long the oldest thing in an inbox has waited for a person",
        "SELECT min(created_at) AS at FROM inbox_items WHERE resolved_at IS NULL",
    ),
    _AgeQuery(
        "recado_oldest_orphan_seconds",
        "Age of the oldest message to a number that belongs to nobody",
        "SELECT min(received_at) AS at FROM orphans WHERE assigned_at IS NULL",
    ),
)


class Gauges:
    """Asks the database, all questions on one snapshot."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(self) -> list[Gauge]:
        """Every gauge; raises `StorageUnavailable` and `Busy`."""
        now = self._clock.now()
        return await self._database.read(lambda uow: read_gauges(uow, now), owner=None)


def read_gauges(uow: UnitOfWork, now: datetime) -> list[Gauge]:
    """Every gauge as this snapshot has it."""
    uow.allow_long_statements()
    return [_count(uow, each, now) for each in COUNTS] + [_oldest_age(uow, each, now) for each in AGES]


def _count(uow: UnitOfWork, count: _CountQuery, now: datetime) -> Gauge:
    values = {"now": now} if ":now" in count.sql else {}
    if count.label is None:
        return Gauge(count.name, count.help, [((), float(uow.execute(statement(count.sql), values).scalar_one()))])
    found = {str(value): float(number) for value, number in uow.execute(statement(count.sql), values)}
    series = [((value,), found.get(value, 0.0)) for value in count.values]
    return Gauge(count.name, count.help, series, (count.label,))


def _oldest_age(uow: UnitOfWork, age: _AgeQuery, now: datetime) -> Gauge:
    earliest: datetime | None = uow.execute(statement(age.sql).columns(column("at", Moment()))).scalar()
    seconds = 0.0 if earliest is None else max(0.0, (now - earliest).total_seconds())
    return Gauge(age.name, age.help, [((), seconds)])


def statement(sql: str) -> TextClause:
    """A question of this page, ready to be asked."""
    asked = text(sql)
    return asked.bindparams(bindparam("now", type_=Moment())) if ":now" in sql else asked
