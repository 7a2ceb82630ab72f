"""What is past of sign-ins and requests is deleted; what counts stays."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import RowMapping, Table, insert, select

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import STEP, UnitOfWork
from recado.core.ids import UuidV7
from recado.identity.owners import Registered
from recado.identity.tables import idempotency_keys, sessions, sign_in_failures, user_links
from recado.operations.pruning import Pruning, PruningReport
from tests.support.commits import all_listeners_called

ON_BOTH_DATABASES = True

TABLES = (sessions, user_links, sign_in_failures, idempotency_keys)


async def given(database: Database, ids: UuidV7, who: Registered, now: datetime, number: int = 1) -> None:
    """One row of each table that is past exactly now, and one that is not yet."""
    later = now + timedelta(microseconds=1)
    common = {"owner_id": who.owner_id, "user_id": who.user_id, "created_at": now}
    rows: dict[Table, list[dict[str, object]]] = {table: [] for table in TABLES}
    for each in range(number):
        for moment in (now, later):
            token = f"{each} {moment}".encode()
            ends = {"id": ids.new(), "token_hash": token, "expires_at": moment}
            rows[sessions].append({**common, **ends, "last_used_at": now})
            rows[user_links].append({**common, **ends, "purpose": "reset"})
            last = moment - timedelta(days=30)
            rows[sign_in_failures].append({"subject": token, "failures": 1, "last_at": last, "blocked_until": now})
            made = moment - timedelta(hours=24)
            request = {"owner_id": who.owner_id, "key": str(token), "request_hash": b"", "created_at": made}
            rows[idempotency_keys].append(request)
    for table in TABLES:
        await database.write(partial(_insert, table, rows[table]), owner=None)


def _insert(table: Table, rows: list[dict[str, object]], uow: UnitOfWork) -> None:
    uow.execute(insert(table), rows).close()


async def left(database: Database) -> list[int]:
    return [len(await database.read(partial(_rows, table), owner=None)) for table in TABLES]


def _rows(table: Table, uow: UnitOfWork) -> Sequence[RowMapping]:
    return uow.all(select(table))


async def test_what_has_ended_goes_and_what_has_not_stays(
    database: Database, clock: FrozenClock, ids: UuidV7, bakery: Registered
) -> None:
    await given(database, ids, bakery, clock.now())
    assert await Pruning(database, clock).prune() == PruningReport(jobs=0, access=4)
    assert await left(database) == [1, 1, 1, 1]
    assert await Pruning(database, clock).prune() == PruningReport(jobs=0, access=0)


@pytest.mark.sqlite_only
async def test_it_goes_in_steps(database: Database, clock: FrozenClock, ids: UuidV7, bakery: Registered) -> None:
    await given(database, ids, bakery, clock.now(), number=300)
    await all_listeners_called(database)
    steps: list[int] = []
    database.on_commit(lambda: steps.append(1))
    assert (await Pruning(database, clock).prune()).access == 1_200
    await all_listeners_called(database)
    assert len(steps) == 1_200 // STEP + 1
