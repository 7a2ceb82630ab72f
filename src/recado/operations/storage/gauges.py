"""Gauges of the queue, read from the database at each scrape: depth, ages, messages that wait for a person.

They are read every few seconds, also beside ten million messages. So each query uses an index of open rows only, or a
table of a few rows. Totals of closed rows (outcomes) are counters that grow when it happens (`core/metrics.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import TextClause, bindparam, column, text

from recado.core.database.types import Moment
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.job import BACKGROUND_PRIORITY


@dataclass(frozen=True, slots=True)
class Gauge:
    """A gauge: the names of its labels, and a series of label values with their number."""

    name: str
    help: str
    series: Sequence[tuple[tuple[str, ...], float]]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _CountQuery:
    """Number of rows, by state when the gauge has a label."""

    name: str
    help: str
    sql: str
    label: str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _AgeQuery:
    """Seconds since the earliest moment; 0 when there is none or when it is in the future."""

    name: str
    help: str
    sql: str


# CROSS JOIN makes SQLite read the few open turns first. Otherwise it reads every message that has a turn.
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
        "Dead letters that were neither retried nor discarded",
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
        "recado_answers_unsettled",
        "Answers without a final state",
        "SELECT count(*) FROM answers WHERE settled_at IS NULL",
    ),
    _CountQuery(
        "recado_sends",
        "Send attempts without a result: sending has a call in flight, unknown may or may not have been sent",
        f"SELECT state, count(*) FROM attempts WHERE {_IN_FLIGHT} GROUP BY state",
        "state",
        ("sending", "unknown"),
    ),
    _CountQuery(
        "recado_handed_off",
        "Inbox items that wait for a person",
        "SELECT count(*) FROM inbox_items WHERE resolved_at IS NULL",
    ),
    _CountQuery(
        "recado_orphans",
        "Messages to numbers without an owner that are not assigned yet",
        "SELECT count(*) FROM orphans WHERE assigned_at IS NULL",
    ),
    _CountQuery(
        "recado_accounts_paused",
        "Accounts that are paused and send nothing",
        "SELECT count(*) FROM channel_accounts WHERE paused_until > :now AND updated_at <= :now",
    ),
)

AGES: Final = (
    _AgeQuery(
        "recado_oldest_due_seconds",
        "Seconds since the oldest due job became due, without jobs in the background",
        f"""SELECT next_due_at AS at FROM lanes
            WHERE next_due_at IS NOT NULL AND next_priority <> {BACKGROUND_PRIORITY} ORDER BY next_due_at LIMIT 1""",
    ),
    # Two plain minima: with ORDER BY id a planner may walk the primary key through all closed rows.
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
        "Age of the oldest send attempt whose result is unknown",
        f"SELECT min(started_at) AS at FROM attempts WHERE {_IN_FLIGHT} AND state='unknown'",
    ),
    _AgeQuery(
        "recado_oldest_handed_off_seconds",
        "Age of the oldest inbox item that waits for a person",
        "SELECT min(created_at) AS at FROM inbox_items WHERE resolved_at IS NULL",
    ),
    _AgeQuery(
        "recado_oldest_orphan_seconds",
        "Age of the oldest message to a number without an owner",
        "SELECT min(received_at) AS at FROM orphans WHERE assigned_at IS NULL",
    ),
)


def read_gauges(uow: UnitOfWork, now: datetime) -> list[Gauge]:
    """Return every gauge of this snapshot."""
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
    """Return a query of this module with its parameter typed."""
    query = text(sql)
    return query.bindparams(bindparam("now", type_=Moment())) if ":now" in sql else query
