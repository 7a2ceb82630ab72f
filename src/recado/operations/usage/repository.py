"""The queries for what was used.

Ids are in the order of their making, and begin with its time: the rows of a day are a range of the primary key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, bindparam, func, literal_column, select

from recado.conversation.tables import agent_runs, attempts, messages
from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.repository import OwnedRepository, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.operations.usage.tables import usage_days as days


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageDay:
    """What an owner used on a day of UTC."""

    owner_id: UUID
    day: str
    messages_received: int = 0
    messages_sent: int = 0
    agent_runs: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


_COUNTED = tuple(field.name for field in fields(UsageDay))[2:]


def _of_day(table: Table, *sums: ColumnElement[int], where: Iterable[ColumnElement[bool]] = ()) -> Prepared:
    """Return the sums of a table's rows of some days, by owner."""
    query: Select[*tuple[object, ...]] = select(table.c.owner_id, *sums)
    ranged = query.where(table.c.id >= param(table.c.id, "from_id"), table.c.id < param(table.c.id, "to_id"), *where)
    return Prepared(ranged.group_by(table.c.owner_id))


_ALL = func.count()
_RECEIVED = _of_day(messages, _ALL)
_SENT = _of_day(attempts, _ALL, where=[attempts.c.state == literal_column("'accepted'")])
_RUNS = _of_day(agent_runs, _ALL, func.sum(agent_runs.c.input_tokens), func.sum(agent_runs.c.output_tokens))
_STORE = Prepared(
    inserting(days).on_conflict_do_update(
        index_elements=[days.c.owner_id, days.c.day], set_={name: inserting(days).excluded[name] for name in _COUNTED}
    )
)
_LAST = Prepared(select(func.max(days.c.day)))
_FIRST_MESSAGE = Prepared(select(messages.c.id).order_by(messages.c.id).limit(1))
_BETWEEN = Prepared(
    owned(days, UsageDay).where(days.c.day >= bindparam("since"), days.c.day <= bindparam("until")).order_by(days.c.day)
)


class UsageDays(OwnedRepository[UsageDay]):
    """The days of one owner."""

    table, entity, noun = days, UsageDay, "day"

    def between(self, since: date, until: date) -> Sequence[UsageDay]:
        """Return the days on which something was used, both ends included."""
        return self._many(_BETWEEN, since=since.isoformat(), until=until.isoformat())


def counted(uow: UnitOfWork, day: date) -> Sequence[UsageDay]:
    """Count what every owner used on a day."""
    ids = {"from_id": first_id(day), "to_id": first_id(date.fromordinal(day.toordinal() + 1))}
    received = dict(_pairs(uow, _RECEIVED, ids))
    sent = dict(_pairs(uow, _SENT, ids))
    runs = {owner: (count, tokens_in, tokens_out) for owner, count, tokens_in, tokens_out in uow.rows(_RUNS, **ids)}
    return [
        UsageDay(
            owner_id=owner,
            day=day.isoformat(),
            messages_received=received.get(owner, 0),
            messages_sent=sent.get(owner, 0),
            agent_runs=runs.get(owner, (0, 0, 0))[0],
            input_tokens=runs.get(owner, (0, 0, 0))[1],
            output_tokens=runs.get(owner, (0, 0, 0))[2],
        )
        for owner in sorted(received.keys() | sent.keys() | runs.keys())
    ]


def store(uow: UnitOfWork, found: Sequence[UsageDay]) -> None:
    """Store what was counted, over what was counted before."""
    uow.run_many(_STORE, [{field.name: getattr(each, field.name) for field in fields(each)} for each in found])


def last_day(uow: UnitOfWork) -> date | None:
    """Return the last day that was counted; before any, that of the first message."""
    [(last,)] = uow.rows(_LAST)
    if last is not None:
        return date.fromisoformat(last)
    first = uow.rows(_FIRST_MESSAGE)
    return _day_of(first[0][0]) if first else None


def first_id(day: date) -> UUID:
    """Return the id before all ids that are made on a day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return UUID(int=int(midnight.timestamp() * 1_000) << 80)


def _day_of(id_: UUID) -> date:
    return datetime.fromtimestamp((id_.int >> 80) / 1_000, UTC).date()


def _pairs(uow: UnitOfWork, query: Prepared, ids: dict[str, UUID]) -> Iterable[tuple[UUID, int]]:
    yield from uow.rows(query, **ids)
