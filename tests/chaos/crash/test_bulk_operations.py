"""Many dead letters are handled each once, however often `kill -9` ends the worker that is at it."""

from pathlib import Path
from uuid import UUID

import pytest

from recado.bootstrap import Container
from recado.conversation.replying.jobs import REPLY
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.job import NewJob
from recado.identity.principal import operator_of
from recado.operations.dead_letters.models import BulkOperation, BulkOrder
from tests.support.processes import Road, until

pytestmark = pytest.mark.proof

LETTERS = 1_500
"""More than a worker handles before the test has seen that it began."""


def test_a_killed_worker_loses_and_repeats_nothing(tmp_path: Path) -> None:
    with Road.open(tmp_path) as road:
        [owner_id] = road.owners.values()
        operation = road.ask(lambda container: _ordered(container, owner_id))
        _kill_in_the_middle(road)
        _kill_in_the_middle(road)

        worker = road.worker(drain=True)
        assert worker.ends() == 0, worker.said

        ended = road.ask(lambda container: container.dead_letter_reading().operation(owner_id, operation.id))
        assert (ended.state, ended.succeeded, ended.refused) == ("done", LETTERS, 0)
        assert _audited(road) == [(LETTERS, LETTERS)]
        assert road.rows("SELECT count(*) FROM message_queue WHERE status = 'dead' AND handled_by IS NULL") == [(0,)]


def _kill_in_the_middle(road: Road) -> None:
    worker, before = road.worker(), _handled(road)
    until(lambda: _handled(road) > before, said=lambda: worker.said)
    worker.kill()
    assert before < _handled(road) < LETTERS


async def _ordered(container: Container, owner_id: UUID) -> BulkOperation:
    """Store dead letters, and the order to discard them all."""
    now, ids = container.clock().now(), container.ids()
    await container.queue().enqueue([NewJob(ids.new(), REPLY, owner_id, now, now) for _ in range(LETTERS)])
    await container.database().write(_die, owner=None)
    return await container.dead_letters().begin(operator_of(owner_id, "rita"), BulkOrder("discard"))


def _die(uow: UnitOfWork) -> None:
    uow.execute_raw("UPDATE message_queue SET status = 'dead' WHERE status = 'waiting'")
    uow.execute_raw("DELETE FROM lanes")


def _handled(road: Road) -> int:
    [(succeeded,)] = road.rows("SELECT succeeded FROM bulk_operations")
    return int(str(succeeded))


def _audited(road: Road) -> list[tuple[object, ...]]:
    return road.rows(
        "SELECT count(*), count(DISTINCT object_id) FROM audit_entries WHERE action = 'dead_letter.discarded'"
    )
