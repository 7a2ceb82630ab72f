"""A webhook that was answered 200 survives `kill -9` at every named point, and is answered exactly once."""

import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from recado.bootstrap import Container
from recado.core.clock import FrozenClock, SystemClock
from recado.core.queue.storage.tables import lanes
from recado.entrypoints.worker import close_container
from recado.operations.verify import VerificationReport
from tests.end_to_end.webhooks import Hook, post
from tests.support.processes import BAKERY, Road, customer

pytestmark = pytest.mark.proof

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """An API that lives through all of it; each test has a customer, and workers, of its own."""
    with Road.open(tmp_path_factory.mktemp("crashes")) as road:
        road.serve()
        yield road


@pytest.fixture
def ana() -> str:
    return customer(next(_numbers))


class TestOfAWorker:
    @pytest.mark.parametrize("point", ["after_claim", "after_agent", "after_commit", "after_send", "after_settle"])
    def test_leaves_one_answer(self, road: Road, ana: str, point: str) -> None:
        road.emulator.send(ana, BAKERY.number, "oi")
        road.worker(crash_at=point).dies()

        _work_off(road)

        assert road.answers_to(ana) == ["echo: oi"]

    def test_before_a_send_leaves_one_answer_when_three_looks_found_nothing(self, road: Road, ana: str) -> None:
        """The attempt looks as if it had been sent; two minutes of proof pass on a clock that the test moves."""
        road.emulator.send(ana, BAKERY.number, "oi")
        road.worker(crash_at="before_send").dies()
        assert road.emulator.messages(to=ana) == []

        report = road.ask(_recover)

        assert road.answers_to(ana) == ["echo: oi"]
        assert list(report.violations) == []
        assert road.rows("SELECT state FROM attempts ORDER BY id DESC LIMIT 2") == [("accepted",), ("absent",)]


class TestOfTheServer:
    def test_leaves_one_answer_whether_it_came_before_or_after_the_200(self, road: Road) -> None:
        told, untold = customer(next(_numbers)), customer(next(_numbers))
        hook = Hook.of(road, BAKERY, told, "oi")
        assert post(road, hook) == 200
        road.api.kill()

        api = road.serve(crash_at="after_accept")
        hook = Hook.of(road, BAKERY, untold, "alô")
        assert post(road, hook) is None
        api.dies()
        assert road.rows_of(hook.sid) == 1

        road.serve()
        assert post(road, hook) == 200, "Twilio tries again"
        assert road.rows_of(hook.sid) == 1
        _work_off(road)
        assert road.answers_to(told) == ["echo: oi"]
        assert road.answers_to(untold) == ["echo: alô"]


def _work_off(road: Road) -> None:
    """A worker that lives does all that is left; then everything that was accepted is answered."""
    worker = road.worker(drain=True)
    assert worker.ends() == 0, worker.said
    report = road.verified()
    assert report.outcomes == {"answered": report.accepted}


async def _recover(container: Container) -> VerificationReport:
    """What a worker does, one job after the other, on a clock that goes to whatever is due next."""
    clock = FrozenClock(SystemClock().now())
    with container.clock.override(clock):
        queue, worker = container.queue(), container.worker()
        clock.advance(2 * queue.lease)
        await queue.free_ended_leases()
        while (due := await _next_due(container)) is not None:
            clock.advance(max(due - clock.now(), timedelta()))
            for job in await queue.claim(1, max_isolated=1):
                await worker.run_one(job)
        report = await container.verifier().verify()
        await close_container(container)
        return report


async def _next_due(container: Container) -> datetime | None:
    earliest = select(func.min(lanes.c.next_due_at))
    due: datetime | None = await container.database().read(lambda uow: uow.execute(earliest).scalar(), owner=None)
    return due
