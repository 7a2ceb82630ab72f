"""Step 4: a new message is stored with its job, a repeated one changes nothing, and many share one commit."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text

from recado.bootstrap import open_database
from recado.conversation.replying.accept import Accepted, AcceptService, BurstWindow, Duplicate, InboundMessage
from recado.conversation.values import Address, customer_lane
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import UuidV7
from recado.core.queue.storage.tables import message_queue

ON_BOTH_DATABASES = True

SALT = b"salt" * 8
OWNER, NUMBER, OTHER_NUMBER = UUID(int=1), UUID(int=2), UUID(int=3)
ACCOUNT, OTHER_ACCOUNT = "AC" + "a" * 32, "AC" + "b" * 32
OURS, ANA, ANA_SHORT, BIA = (
    Address(f"whatsapp:{number}") for number in ("+5511900000001", "+5511987654321", "+551187654321", "+5511912345678")
)
QUIET, MOST = timedelta(seconds=2), timedelta(seconds=8)


def sid(number: int) -> str:
    return f"SM{number:032x}"


class Desk:
    """Makes messages and hands them in, one by one or as a batch."""

    def __init__(self, database: Database, clock: FrozenClock, ids: UuidV7) -> None:
        self.database, self.clock, self.ids = database, clock, ids
        self.service = AcceptService(database, ids, BurstWindow(QUIET, MOST), max_attempts=3)

    def message(
        self,
        number: int,
        from_: Address = ANA,
        *,
        account: str = ACCOUNT,
        to: UUID = NUMBER,
        due_at_once: bool = False,
        stale: bool = False,
    ) -> InboundMessage:
        return InboundMessage(
            id=self.ids.new(),
            owner_id=OWNER,
            address_id=to,
            lane=customer_lane(SALT, to, from_.match_key),
            provider="twilio",
            account_ref=account,
            provider_message_id=sid(number),
            from_address=from_,
            to_address=OURS,
            text=f"text {number}",
            kind="text",
            received_at=self.clock.now(),
            raw=b"as it came",
            due_at_once=due_at_once,
            stale=stale,
        )

    async def takes(self, *inbounds: InboundMessage) -> list[Accepted | Duplicate]:
        """Accept all of them in one unit of work, as the writer does with what waits together."""
        return await self.database.write(lambda uow: self.service.accept_many(uow, inbounds), owner=None)

    async def rows(self, question: str) -> Sequence[tuple[object, ...]]:
        rows = await self.database.read(lambda uow: uow.all(text(question)), owner=None)
        return [tuple(row.values()) for row in rows]

    async def texts(self) -> list[object]:
        return [row[0] for row in await self.rows("SELECT text FROM messages ORDER BY id")]

    async def lanes_with_jobs(self) -> Sequence[tuple[object, ...]]:
        return await self.rows("SELECT lane, count(*) FROM message_queue GROUP BY lane ORDER BY lane")

    async def windows(self) -> list[tuple[timedelta, timedelta]]:
        """Return for each collecting job the seconds until it is due and until its window ends."""
        columns = select(message_queue.c.due_at, message_queue.c.window_ends_at).order_by(message_queue.c.lane)
        rows = await self.database.read(lambda uow: uow.all(columns), owner=None)
        now = self.clock.now()
        return [(row["due_at"] - now, row["window_ends_at"] - now) for row in rows]


@pytest.fixture
def desk(database: Database, clock: FrozenClock, ids: UuidV7) -> Desk:
    return Desk(database, clock, ids)


class TestOneMessage:
    async def test_that_is_stored_late_has_its_job_behind_those_stored_meanwhile(self, desk: Desk) -> None:
        """The oldest id of a lane is the oldest job that was stored, not the oldest arrival."""
        early, late = desk.message(1), desk.message(2)
        await desk.takes(late)
        await desk.database.write(
            lambda uow: uow.execute(text("UPDATE message_queue SET status = 'running'")).close(), owner=None
        )

        await desk.takes(early)

        jobs = await desk.rows("SELECT status, message_sid FROM message_queue ORDER BY id")
        assert jobs == [("running", sid(2)), ("collecting", sid(1))]

    @pytest.mark.parametrize("odd", ["SM\x00", "SM\udc80"])
    async def test_whose_id_no_database_takes_as_text_has_a_job_all_the_same(self, desk: Desk, odd: str) -> None:
        inbound = replace(desk.message(1), provider_message_id=odd)

        assert await desk.takes(inbound) == [Accepted(inbound.id)]

        assert await desk.rows("SELECT message_sid FROM message_queue") == [("SM\ufffd",)]
        assert await desk.takes(inbound) == [Duplicate(odd)]

    async def test_is_stored_open_and_with_its_job(self, desk: Desk) -> None:
        message = desk.message(1)

        assert await desk.service.accept(message) == Accepted(message.id)

        assert await desk.rows("SELECT text, outcome, turn_id, source, raw FROM messages") == [
            ("text 1", None, None, "webhook", b"as it came")
        ]
        job = select(*(message_queue.c[name] for name in ("name", "status", "message_sid", "lane")))
        [stored] = await desk.database.read(lambda uow: [dict(row) for row in uow.all(job)], owner=None)
        assert [stored["name"], stored["status"], stored["message_sid"]] == ["conversation.reply", "collecting", sid(1)]
        assert stored["lane"] == message.lane
        assert await desk.windows() == [(QUIET, MOST)]

    async def test_that_was_accepted_before_changes_nothing(self, desk: Desk, clock: FrozenClock) -> None:
        await desk.service.accept(desk.message(1))
        clock.advance(QUIET / 2)

        assert await desk.service.accept(desk.message(1)) == Duplicate(sid(1))

        assert await desk.texts() == ["text 1"]
        assert await desk.windows() == [(QUIET / 2, MOST - QUIET / 2)], "a repeat is no news: the window stays"

    async def test_that_was_answered_before_makes_no_new_job(self, desk: Desk) -> None:
        await desk.service.accept(desk.message(1))
        await desk.database.write(
            lambda uow: uow.execute(text("UPDATE message_queue SET status = 'done'")).close(), owner=None
        )

        assert await desk.service.accept(desk.message(1)) == Duplicate(sid(1))

        assert await desk.rows("SELECT status FROM message_queue") == [("done",)]

    async def test_with_a_sid_that_another_account_uses_too_is_another_message(self, desk: Desk) -> None:
        await desk.service.accept(desk.message(1))
        other = desk.message(1, BIA, account=OTHER_ACCOUNT, to=OTHER_NUMBER)

        assert await desk.service.accept(other) == Accepted(other.id)

        assert len(await desk.lanes_with_jobs()) == 2

    async def test_that_comes_a_day_late_has_its_outcome_and_no_job(self, desk: Desk) -> None:
        await desk.service.accept(desk.message(1, stale=True))

        assert await desk.rows("SELECT outcome, outcome_reason FROM messages") == [("suppressed", "stale")]
        assert await desk.lanes_with_jobs() == []

    async def test_makes_one_job_when_its_unit_of_work_runs_twice(self, desk: Desk) -> None:
        """After a rollback nothing of the first run is stored; after a commit that nobody heard of, all of it is."""
        message = desk.message(1)

        def fails(uow: UnitOfWork) -> None:
            desk.service.accept_many(uow, [message])
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await desk.database.write(fails, owner=None)
        assert await desk.takes(message) == [Accepted(message.id)]
        assert await desk.takes(message) == [Duplicate(sid(1))]

        assert [count for _, count in await desk.lanes_with_jobs()] == [1]


class TestTheBurstWindow:
    async def test_moves_with_each_message_up_to_its_end(self, desk: Desk, clock: FrozenClock) -> None:
        await desk.service.accept(desk.message(1))
        clock.advance(timedelta(seconds=1))
        await desk.service.accept(desk.message(2))
        assert await desk.windows() == [(QUIET, MOST - timedelta(seconds=1))]

        clock.advance(MOST - timedelta(seconds=2))
        await desk.service.accept(desk.message(3))

        assert await desk.windows() == [(timedelta(seconds=1), timedelta(seconds=1))]

    async def test_closes_at_a_tapped_button_and_stays_closed(self, desk: Desk, clock: FrozenClock) -> None:
        await desk.service.accept(desk.message(1))
        clock.advance(timedelta(seconds=1))

        await desk.service.accept(desk.message(2, due_at_once=True))
        assert await desk.windows() == [(timedelta(), timedelta())]
        await desk.service.accept(desk.message(3))

        assert await desk.windows() == [(timedelta(), timedelta())]

    async def test_goes_on_in_the_trace_of_its_newest_message(self, desk: Desk) -> None:
        await desk.takes(replace(desk.message(1), trace="first"))
        await desk.takes(replace(desk.message(2), trace="second"))
        assert await desk.rows("SELECT trace FROM message_queue") == [("second",)]

    async def test_is_not_opened_by_a_button_alone(self, desk: Desk) -> None:
        await desk.service.accept(desk.message(1, due_at_once=True))

        assert await desk.windows() == [(timedelta(), timedelta())]

    async def test_is_one_for_both_spellings_of_a_mobile(self, desk: Desk) -> None:
        await desk.service.accept(desk.message(1, ANA))
        await desk.service.accept(desk.message(2, ANA_SHORT))

        assert [count for _, count in await desk.lanes_with_jobs()] == [1]

    async def test_is_one_for_each_customer_and_number(self, desk: Desk) -> None:
        await desk.takes(desk.message(1), desk.message(2, BIA), desk.message(3, to=OTHER_NUMBER))

        assert [count for _, count in await desk.lanes_with_jobs()] == [1, 1, 1]


class TestABatch:
    async def test_folds_the_messages_of_a_lane_into_one_job_of_the_newest(self, desk: Desk) -> None:
        messages = [desk.message(1), desk.message(2, BIA), desk.message(3), desk.message(4, BIA), desk.message(5)]

        assert await desk.takes(*messages) == [Accepted(message.id) for message in messages]

        assert await desk.rows("SELECT message_sid FROM message_queue ORDER BY message_sid") == [(sid(4),), (sid(5),)]
        assert await desk.texts() == [f"text {number}" for number in range(1, 6)]

    async def test_stores_what_came_twice_in_it_once(self, desk: Desk) -> None:
        first, second, again = desk.message(1), desk.message(2), desk.message(1)

        assert await desk.takes(first, again, second) == [Accepted(first.id), Duplicate(sid(1)), Accepted(second.id)]

        assert await desk.texts() == ["text 1", "text 2"]

    async def test_of_nothing_but_repeats_opens_no_window(self, desk: Desk) -> None:
        await desk.takes(desk.message(1))
        await desk.database.write(lambda uow: uow.execute(text("DELETE FROM message_queue")).close(), owner=None)

        assert await desk.takes(desk.message(1), desk.message(1)) == [Duplicate(sid(1))] * 2

        assert await desk.lanes_with_jobs() == []

    async def test_is_due_at_once_where_a_button_was_tapped_and_only_there(self, desk: Desk) -> None:
        await desk.takes(desk.message(1, due_at_once=True), desk.message(2), desk.message(3, BIA))

        assert sorted(await desk.windows()) == [(timedelta(), timedelta()), (QUIET, MOST)]

    async def test_larger_than_one_statement_is_stored_whole(self, desk: Desk) -> None:
        messages = [desk.message(number, Address(f"whatsapp:+1415555{number:04}")) for number in range(1, 257)]

        assert await desk.takes(*messages) == [Accepted(message.id) for message in messages]

        assert len(await desk.lanes_with_jobs()) == 256


async def test_a_signed_body_with_nul_is_stored_as_it_came(desk: Desk) -> None:
    """PostgreSQL refuses text with NUL, so the body is stored as bytes and the text is cleaned before."""
    await desk.takes(replace(desk.message(1), raw=b"Body=a%00b\x00\xff"))

    [(raw,)] = await desk.rows("SELECT raw FROM messages")
    assert raw == b"Body=a%00b\x00\xff"


class TestTwoServersAtOnce:
    """On PostgreSQL, opposite orders deadlock, and one upsert must not name a lane twice."""

    async def test_store_everything_whatever_order_it_comes_in(
        self, desk: Desk, clock: FrozenClock, ids: UuidV7
    ) -> None:
        other = Desk(open_database(desk.database.url), clock, ids)
        people = [Address(f"whatsapp:+55119{80_000_000 + n}") for n in range(40)]
        there = [desk.message(n, whom) for n, whom in enumerate(people)]
        and_back = [other.message(n, whom) for n, whom in reversed(list(enumerate(people)))]
        new = [other.message(100 + n, whom) for n, whom in reversed(list(enumerate(people)))]

        stored = await asyncio.gather(
            *[desk.service.accept(each) for each in there], *[other.service.accept(each) for each in [*and_back, *new]]
        )

        assert sum(isinstance(each, Accepted) for each in stored) == 80
        assert sum(isinstance(each, Duplicate) for each in stored) == 40
        rows = await desk.rows("SELECT lane, status FROM message_queue")
        assert (len(rows), {status for _, status in rows}) == (40, {"collecting"})
        await other.database.close()
