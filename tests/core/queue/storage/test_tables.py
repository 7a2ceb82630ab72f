"""The tables of the queue: what a row may hold, and what people see of it."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import Ids
from tests.contracts.queue import QueueHarness

ON_BOTH_DATABASES = True


@pytest.fixture
def harness(database: Database, clock: FrozenClock, ids: Ids) -> QueueHarness:
    return QueueHarness(database, clock, ids)


async def changes(harness: QueueHarness, assignment: str) -> None:
    statement = text(f"UPDATE message_queue SET {assignment}")
    await harness.database.write(lambda uow: uow.changed(statement), owner=None)


class TestTheBackstopConstraints:
    async def test_refuse_a_status_that_nobody_knows(self, harness: QueueHarness) -> None:
        await harness.stores("ana")
        with pytest.raises(Exception, match="ck_message_queue_status"):
            await changes(harness, "status = 'lost'")

    async def test_refuse_a_payload_that_is_no_json(self, harness: QueueHarness) -> None:
        await harness.stores("ana")
        with pytest.raises(Exception, match=r"(?i)json|ck_message_queue_payload"):
            await changes(harness, "payload = '{\"message_id\": '")


class TestTheView:
    async def test_shows_ids_and_times_as_text(self, harness: QueueHarness) -> None:
        job = harness.job("ana", due_in=timedelta(seconds=1.5))
        await harness.queue.enqueue([job])

        row = await self.the_row(harness)

        assert row["id"] == str(job.id)
        assert row["owner_id"] == str(job.owner_id)
        assert (row["lane"], row["kind"]) == (str(job.in_lane), "reply")
        assert row["due_at"] == f"{job.due_at:%Y-%m-%dT%H:%M:%S}.{job.due_at.microsecond // 1000:03}Z"
        assert (row["status"], row["attempts"], row["turn_id"], row["finished_at"]) == ("waiting", 0, None, None)

    async def the_row(self, harness: QueueHarness) -> RowMapping:
        [row] = await harness.database.read(lambda uow: uow.all(text("SELECT * FROM message_queue_view")), owner=None)
        return row
