"""An organisation's end: closed, opened again, exported, and 30 days after its closing deleted without a trace."""

import itertools
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, Integer, LargeBinary, create_engine, insert, make_url, select, text
from sqlalchemy.pool import NullPool

from recado.bootstrap import metadata
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.values import AccountSid
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.tenancy import tenant_column
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Conflict, NotFound
from recado.core.event_log.models import NewEvent
from recado.core.event_log.repository import append
from recado.core.ids import system_chance
from recado.core.queue.job import Done, JobResult, RetryIn
from recado.core.queue.lane import job_lane
from recado.core.queue.service import QueueService
from recado.events.models import PostResult
from recado.events.service import NewEndpoint
from recado.identity.owners import Registration
from recado.identity.principal import Principal, operator_of
from recado.operations.organizations.export import LEFT_OUT, OF_THE_INSTALLATION, OwnerExport, is_exported
from recado.operations.organizations.purge import CLOSED_FOR, OwnerPurge, PurgeProgress, PurgeRefused
from recado.operations.pruning import Pruning
from recado.operations.storage.owner_rows import WINDOW, tables_of_owners
from tests.core.database.postgres.test_roles import OF_TENANTS, row_of
from tests.world import ANA, LEASE, World

ON_BOTH_DATABASES = True

CANARY = "canário-1f3a"
TEXTS = {"raw"}
"""Columns of bytes that hold text."""
COUNTED = {
    *("agent_settings.history_limit", "number_agents.history_limit", "knowledge_chunks.position"),
    *("knowledge_documents.chunks", "conversations.version", "turns.generation", "turns.version"),
    *("agent_runs.input_tokens", "agent_runs.output_tokens", "usage_days.input_tokens", "usage_days.output_tokens"),
    *("usage_days.messages_received", "usage_days.messages_sent", "usage_days.agent_runs", "answer_parts.part_no"),
    *("attempts.number", "attempts.pulls", "event_deliveries.attempts", "event_deliveries.status"),
    *("event_endpoints.failures", "bulk_operations.total", "bulk_operations.succeeded", "bulk_operations.refused"),
    "owners.purged_rows",
}
"""Whole numbers that tell only of the owner."""


@pytest.fixture
def purge(world: World) -> OwnerPurge:
    return OwnerPurge(world.database, world.clock, world.ids, metadata)


@pytest.fixture
def exporting(world: World) -> OwnerExport:
    return OwnerExport(world.database, world.clock, world.ids, metadata)


async def neighbour(world: World) -> Principal:
    """Another organisation, with a number."""
    form = Registration("Livraria", "dona@livraria.example", "capítulo novo às oito")
    found = operator_of((await world.owners.register_organization(form)).owner_id, "test")
    number = NewNumber(AccountSid("AC" + "b" * 32), "token", Address("whatsapp:+5511900000099"))
    await world.numbers.add(found, number)
    return found


async def closed_for(world: World, span: timedelta) -> None:
    await world.owners.close_account(world.operator)
    world.clock.advance(span)


class Hurried:
    """A clock on which twenty seconds pass whenever it is looked at."""

    def __init__(self, clock: FrozenClock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        self._clock.advance(timedelta(seconds=20))
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()


async def runs(world: World, purge: OwnerPurge, most: int = 1_000) -> list[JobResult]:
    """What the runs of the purge's jobs ended in, one after the other, until none is due within a minute."""
    queue = QueueService(world.database, world.clock, world.ids, system_chance(), (purge,), lease=LEASE)
    world.clock.advance(timedelta(minutes=1))
    ended: list[JobResult] = []
    while len(ended) < most and (claims := await queue.claim(1, max_isolated=1)):
        for claim in claims:
            result = await purge.run(claim)
            ended.append(result)
            await queue.finish(claim, result)
    return ended


async def tables_naming(database: Database, owner: UUID, *words: str) -> set[str]:
    """In which tables any column of any row holds the owner's id or one of some words."""
    sought = (str(owner), *words)

    def search(uow: UnitOfWork) -> set[str]:
        return {
            table.name
            for table in metadata().sorted_tables
            for row in uow.all(select(table))
            if any(word in str(each) for each in row.values() for word in sought)
        }

    return await database.read(search, owner=None)


class TestReopening:
    async def test_answers_again(self, world: World) -> None:
        await world.owners.close_account(world.operator)
        unheard = await world.receives("oi")
        await world.passes(2)
        assert await world.outcome_of(unheard) == "suppressed:closed_account"
        assert (await world.owners.reopen_account(world.operator)).closed_at is None
        heard = await world.receives("oi?")
        await world.passes(2)
        assert await world.outcome_of(heard) == "answered"
        actions = [row["action"] for row in await world.rows("SELECT action FROM audit_entries ORDER BY id")]
        assert actions[-2:] == ["owner.closed", "owner.reopened"]

    async def test_an_open_one_changes_nothing(self, world: World) -> None:
        await world.owners.reopen_account(world.operator)
        assert [row["action"] for row in await world.rows("SELECT action FROM audit_entries ORDER BY id")][-1] != (
            "owner.reopened"
        )

    async def test_one_that_is_being_purged_is_refused(self, world: World, purge: OwnerPurge) -> None:
        await closed_for(world, CLOSED_FOR)
        await purge.order(world.operator)
        with pytest.raises(Conflict, match="cannot be reopened"):
            await world.owners.reopen_account(world.operator)


class TestAnExport:
    async def lines(self, exporting: OwnerExport, principal: Principal) -> Sequence[dict[str, object]]:
        found = [json.loads(json.dumps(line)) async for line in await exporting.begin(principal)]
        assert found[0]["owner_id"] == str(principal.owner_id)
        assert found[-1] == {"recado": "end", "rows": len(found) - 2}
        return found[1:-1]

    async def test_has_the_customers_words_and_ours_and_nobody_else_s(
        self, world: World, exporting: OwnerExport
    ) -> None:
        other = await neighbour(world)
        await world.receives(CANARY)
        await world.passes(2)
        lines = await self.lines(exporting, world.operator)
        by_table = {line["table"] for line in lines}
        assert {"owners", "users", "messages", "answer_parts", "contacts", "audit_entries"} <= by_table
        assert sum(CANARY in json.dumps(line, ensure_ascii=False) for line in lines) >= 2
        assert str(other.owner_id) not in json.dumps(lines)
        assert CANARY not in json.dumps(await self.lines(exporting, other), ensure_ascii=False)

    async def test_has_no_secret(self, world: World, exporting: OwnerExport) -> None:
        said = json.dumps(await self.lines(exporting, world.operator))
        assert not [word for word in ("sealed", "hash", "argon2", "token") if word in said]

    async def test_has_rows_of_every_table_or_says_why_not(self, database: Database) -> None:  # noqa: ARG002
        """A new column of bytes must be decided about: is it a secret, or a text?"""
        tables = [each.table for each in tables_of_owners(metadata())]
        assert {table.name for table in tables} >= LEFT_OUT
        of_bytes = {
            column.name
            for table in tables
            if table.name not in LEFT_OUT
            for column in table.c
            if isinstance(column.type, LargeBinary) and is_exported(column)
        }
        assert of_bytes == TEXTS

    async def test_has_no_number_of_the_installation(self, database: Database) -> None:  # noqa: ARG002
        """A new whole number must be decided about: does it count what is the owner's, or what everybody does?"""
        tables = [each.table for each in tables_of_owners(metadata())]
        columns = [column for table in tables if table.name not in LEFT_OUT for column in table.c]
        whole = {str(column) for column in columns if isinstance(column.type, Integer) and is_exported(column)}
        assert whole == COUNTED
        assert {str(column) for column in columns} >= OF_THE_INSTALLATION

    async def test_is_recorded(self, world: World, exporting: OwnerExport) -> None:
        await self.lines(exporting, world.operator)
        assert "owner.exported" in [row["action"] for row in await world.rows("SELECT action FROM audit_entries")]

    async def test_of_nobody_is_refused(self, exporting: OwnerExport) -> None:
        with pytest.raises(NotFound, match="there is no owner"):
            await exporting.begin(operator_of(UUID(int=9), "test"))


class TestAPurge:
    async def test_of_an_open_organisation_is_refused(self, world: World, purge: OwnerPurge) -> None:
        with pytest.raises(PurgeRefused, match="is open"):
            await purge.order(world.operator)

    async def test_comes_no_earlier_than_30_days_after_the_closing(self, world: World, purge: OwnerPurge) -> None:
        await closed_for(world, CLOSED_FOR - timedelta(seconds=1))
        with pytest.raises(PurgeRefused, match="from 2026-04-13 12:00 UTC on"):
            await purge.order(world.operator)
        world.clock.advance(timedelta(seconds=1))
        assert (await purge.order(world.operator)).owner.purge_started_at == world.clock.now()

    async def test_leaves_nothing_of_it_and_everything_of_others(self, world: World, purge: OwnerPurge) -> None:
        other = await neighbour(world)
        await world.receives(CANARY)
        await world.passes(2)
        before = await tables_naming(world.database, other.owner_id)
        await closed_for(world, CLOSED_FOR)
        await purge.order(world.operator)
        assert await runs(world, purge) == [Done()]
        assert await tables_naming(world.database, world.owner_id, CANARY, ANA.value) == set()
        assert await tables_naming(world.database, other.owner_id) == before

    async def test_empties_every_table_that_has_an_owner(self, world: World, purge: OwnerPurge) -> None:
        """Also one that a later release adds: each is given rows of two owners here."""
        other = await neighbour(world)
        fill_each_table(world.database.url, world.owner_id, other.owner_id)
        await closed_for(world, CLOSED_FOR)
        await purge.order(world.operator)
        await world.breaks("UPDATE message_queue SET status = 'done' WHERE owner_id = :owner", owner=world.owner_id)
        assert await runs(world, purge) == [Done()]
        left = await world.database.read(owners_by_table, owner=None)
        assert {table for table, owners in left.items() if world.owner_id in owners} == set()
        assert {table for table, owners in left.items() if other.owner_id not in owners} == set()

    async def test_finds_its_rows_between_those_of_others(self, world: World, purge: OwnerPurge) -> None:
        """In several windows of the table, and more of them than one write deletes."""
        other = await neighbour(world)
        fill_audit(world.database.url, [*[world.owner_id] * 700, *[other.owner_id] * WINDOW, *[world.owner_id] * 700])
        exporting = OwnerExport(world.database, world.clock, world.ids, metadata)
        lines = [line async for line in await exporting.begin(world.operator)]
        assert sum(line.get("table") == "audit_entries" for line in lines) > 1_400
        await closed_for(world, CLOSED_FOR)
        await purge.order(world.operator)
        assert await runs(world, purge) == [Done()]
        rows = await world.rows("SELECT count(*) AS n, count(DISTINCT owner_id) AS owners FROM audit_entries")
        assert (rows[0]["n"] >= WINDOW, rows[0]["owners"]) == (True, 1)

    async def test_ends_between_two_pages_when_its_time_is_over(self, world: World) -> None:
        """The next run goes on, and each tells how far it came."""
        fill_audit(world.database.url, [world.owner_id] * 1_700)
        await closed_for(world, CLOSED_FOR)
        purge = OwnerPurge(world.database, Hurried(world.clock), world.ids, metadata)
        ordered = await purge.order(world.operator)
        assert await purge.progress(ordered) == PurgeProgress("waiting", None, None)
        ended, told = list[JobResult](), list[PurgeProgress]()
        while Done() not in ended and len(ended) < 200:
            ended += await runs(world, purge, most=1)
            told.append(await purge.progress(ordered))
        assert set(ended[:-1]) == {RetryIn(timedelta(), counts=False)}
        assert len(ended) > 2
        assert told[-1] == PurgeProgress("done", None, None)
        rows = [each.rows or 0 for each in told if each.rows is not None]
        assert rows == sorted(rows)
        assert rows[-1] > 1_700

    async def test_deletes_nothing_more_when_its_lease_is_lost(self, world: World, purge: OwnerPurge) -> None:
        await closed_for(world, CLOSED_FOR)
        await purge.order(world.operator)
        queue = QueueService(world.database, world.clock, world.ids, system_chance(), (purge,), lease=LEASE)
        world.clock.advance(timedelta(minutes=1))
        [claim] = await queue.claim(1, max_isolated=1)
        before = await world.database.read(owners_by_table, owner=None)
        claim.lose()
        assert await purge.run(claim) == RetryIn(timedelta(), counts=False)
        assert await world.database.read(owners_by_table, owner=None) == before

    async def test_waits_for_what_is_under_way(self, world: World, purge: OwnerPurge) -> None:
        await closed_for(world, CLOSED_FOR)
        late = await world.receives("oi")
        await world.breaks("UPDATE lanes SET next_due_at = NULL")  # No worker comes to it.
        await purge.order(world.operator)
        assert await runs(world, purge) == [
            RetryIn(timedelta(minutes=1), "something of the organisation is under way", counts=False)
        ]
        assert await world.outcome_of(late) is None, "its row is still there"

    async def test_waits_for_no_event_that_waits_for_an_endpoint(self, world: World, purge: OwnerPurge) -> None:
        await world.endpoints.add(world.rita, NewEndpoint("https://crm.example/events"))
        world.endpoint.always = PostResult(410, "it answered 410 Gone")
        await world.says("oi")
        await world.publisher.step()
        await world.work()
        await closed_for(world, CLOSED_FOR)
        await purge.order(world.operator)
        await world.work()
        assert await runs(world, purge) == [Done()]

    async def test_of_the_owner_of_the_newest_event_lets_nobody_miss_the_next(
        self, world: World, purge: OwnerPurge
    ) -> None:
        """Numbers go on after those that are gone: an endpoint is sent what comes after the last number it had."""
        other = await neighbour(world)
        await world.endpoints.add(world.rita, NewEndpoint("https://crm.example/events"))

        async def happens(owner_id: UUID) -> UUID:
            event = NewEvent(world.ids.new(), owner_id, "message.received", job_lane(owner_id), world.clock.now())
            await world.database.write(lambda uow: append(uow, [event]), owner=None)
            await world.publisher.step()
            await world.work()
            return event.id

        first = await happens(world.owner_id)
        await world.owners.close_account(other)
        await happens(other.owner_id)
        world.clock.advance(CLOSED_FOR + timedelta(days=1))
        await Pruning(world.database, world.clock).prune()
        await purge.order(other)
        assert await runs(world, purge) == [Done()]
        assert await world.rows("SELECT id FROM events") == []
        assert [each.event.id for each in world.endpoint.posted] == [first]
        later = await happens(world.owner_id)
        assert [each.event.id for each in world.endpoint.posted] == [first, later]

    async def test_that_is_ordered_twice_ends_as_once(self, world: World, purge: OwnerPurge) -> None:
        await closed_for(world, CLOSED_FOR)
        first = await purge.order(world.operator)
        world.clock.advance(timedelta(minutes=5))
        assert (await purge.order(world.operator)).owner == first.owner
        assert await runs(world, purge) == [Done(), Done()]


def fill_each_table(url: str, *owners: UUID) -> None:
    """Store a row of each owner in each table that has one. No row has a parent."""
    with bare_engine(url).begin() as connection:
        if url.startswith("postgresql"):
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        tables = [table for table in OF_TENANTS if table.name != "owners"]
        for number, (table, owner) in enumerate(itertools.product(tables, owners), start=100):
            connection.execute(insert(table).values(row_of(table, owner, number)))


def fill_audit(url: str, owners: Sequence[UUID]) -> None:
    """Store an entry of each of some owners, in this order."""
    table = metadata().tables["audit_entries"]
    entries = [row_of(table, owner, 100_000 + number) for number, owner in enumerate(owners)]
    with bare_engine(url).begin() as connection:
        connection.execute(insert(table), entries)


def bare_engine(url: str) -> Engine:
    """An engine that checks no foreign keys on SQLite, and keeps no connection."""
    if url.startswith("postgresql"):
        return postgres_engine(make_url(url))
    return create_engine(url, module=sqlite_module(), poolclass=NullPool)


def owners_by_table(uow: UnitOfWork) -> dict[str, set[object]]:
    found = {}
    for table in OF_TENANTS:
        column = tenant_column(table)
        assert column is not None
        found[table.name] = {row[column] for row in uow.all(select(table.c[column]))}
    return found
