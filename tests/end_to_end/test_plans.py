"""No statement of the road reads a whole table, however much has ended or waits: each looks into an index."""

import asyncio
import importlib
import pkgutil
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import pytest

import recado
from recado.channels.router import ChannelRouter
from recado.conversation.errors import AgentFailed
from recado.conversation.ports import HandOff, NotProcessed, Refused, Unknown
from recado.conversation.replying.jobs import REPLY
from recado.conversation.sending.outbox import SEND
from recado.conversation.sending.splitting import split
from recado.conversation.upkeep.expiry import IdleExpiry, IdleLimits
from recado.conversation.upkeep.rescue import Rescue
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.prepared import Prepared
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import UuidV7
from recado.core.queue.cron import Cron
from recado.core.queue.job import NewJob
from recado.core.queue.running.heartbeat import Heartbeat
from recado.core.queue.schedules import Schedule
from recado.core.queue.storage import enqueue, lanes
from recado.operations.dead_letters.models import BulkOrder
from recado.operations.dead_letters.reading import DeadLetterReading
from recado.operations.pruning import Pruning
from tests.end_to_end.plans import Plans, Step, Watched, fill
from tests.support.lanes import lane_named
from tests.support.servers.postgres import PostgresServer
from tests.world import BRUNO, LEASE, Lost, World

pytestmark = pytest.mark.proof

ON_BOTH_DATABASES = True

CARLA = Address("whatsapp:+5531987651234")
MANY = 90
"""Statements of a busy day; with fewer the day was not busy."""


@pytest.fixture
async def postgres_database(postgres_server: PostgresServer) -> AsyncIterator[PostgresDatabase]:
    """One of its own: what ANALYZE learns here must not be believed elsewhere."""
    database = PostgresDatabase(postgres_server.make())
    yield database
    await database.close()


READS_MORE = {
    # Looking after what is open: each reads an index that holds nothing else.
    "SELECT DISTINCT messages.owner_id, messages.lane FROM messages": "ix_messages_unturned",
    "SELECT turns.owner_id, turns.lane, turns.id AS turn_id FROM turns": "ix_turns_unsettled",
    "SELECT answers.owner_id, answers.send_lane AS lane, answers.id FROM answers": "ix_answers_unsettled",
    # What waits and runs, twice a minute and beside the writer: whether a clock was set back.
    "SELECT j.lane FROM lanes l CROSS JOIN message_queue j": "lanes|_queue_(unfinished|running|leased)",
    # What runs now, for owners with a cap: as many rows as there are slots in all workers.
    "SELECT owner_id, count(*) FROM message_queue WHERE status = 'running'": "_message_queue_(running|leased)",
    # After a broker has forgotten everything, or `recado queue move`: what waits is read, and nothing that has ended.
    "UPDATE message_queue SET dispatched_at = NULL WHERE id": "ix_message_queue_unfinished",
    # Slots of two days, so that one pruning run has something to delete.
    "DELETE FROM cron_slots WHERE cron_slots.slot <": "cron_slots",
    # The newest event of all, and the oldest: the ends of the table, by the order in which it is stored.
    "INSERT INTO events (seq, number": "SCAN events$",
    "SELECT seq, at FROM events ORDER BY seq LIMIT": "SCAN events$|pk_events",
    "ORDER BY events.number DESC LIMIT": "uq_events_owner|ix_events_number",
    "ORDER BY events.seq DESC LIMIT": "SCAN events$",
    "FROM event_numbers": "event_numbers",
    # The endpoints of an owner, twenty at most; and of all owners, to find those for which something has happened.
    "FROM event_endpoints WHERE event_endpoints.owner_id =": "",
    "FROM event_endpoints WHERE event_endpoints.disabled_at IS NULL": "event_endpoints",
    # The first message of all: the beginning of an index.
    "SELECT messages.id FROM messages ORDER BY messages.id LIMIT": "messages",
    # The newest message of an owner: the end of an index.
    "FROM search_documents WHERE search_documents.owner_id =": "search_documents",
    # The links, sessions and failures that have not ended yet, a few for each user, when they are pruned.
    "DELETE FROM user_links": "user_links",
    "DELETE FROM sessions": "sessions",
    "DELETE FROM sign_in_failures": "sign_in_failures",
    # What has no number yet: an index that holds nothing else.
    "FROM events WHERE number IS NULL": "ix_events_unnumbered",
    # Every owner, at a registration and when a key of the installation is made: whether another key sealed its keys.
    "FROM owners WHERE owners.data_key_id !=": "owners",
    # Every number in use, once a sweep.
    "channel_addresses.first_webhook_at IS NOT NULL": "channel_addresses",
    # Every account, once in ten minutes: whether it has a number left, and what was made with it that is in flight.
    "FROM twilio_credentials WHERE NOT (EXISTS": "twilio_credentials|channel_addresses",
    "SELECT attempts.id FROM attempts WHERE state IN ('sending','unknown')": "uq_attempts_in_flight",
    # An organisation that is being deleted: what waits and runs of it, its orphans, and that no row refers to it; its
    # people and keys, which are let in no more.
    "SELECT message_queue.id FROM message_queue WHERE status IN": "ix_message_queue_unfinished",
    "SELECT orphans.id FROM orphans WHERE orphans.owner_id =": "orphan",
    "DELETE FROM owners": "owner",
    "UPDATE users SET active=false": "users",
    "UPDATE api_keys SET revoked_at": "api_keys",
    # The SIDs of all accounts, once when a process starts.
    "SELECT DISTINCT channel_accounts.provider, channel_accounts.account_ref": "channel_accounts",
    # How many dead letters an owner has, when many are to be handled: indexes that hold nothing else.
    "SELECT (SELECT count(*) AS count_1 FROM message_queue": "ix_message_queue_(letters|dead)",
    # Lists for people.
    "FROM channel_accounts ORDER BY channel_accounts.id DESC": "channel_accounts",
    "FROM message_queue WHERE message_queue.status = 'dead'": "ix_message_queue_dead",
    "FROM orphans WHERE orphans.assigned_at IS NULL": "ix_orphans_waiting",
    # The one with an id; of the few that wait here PostgreSQL may as well read all.
    "UPDATE orphans SET assigned_at=": "ix_orphans_waiting",
    "FROM orphans JOIN orphan_signers": "ix_orphans_waiting|orphan_signers",
    "FROM conversations WHERE conversations.owner_id =": "",
    "FROM channel_addresses WHERE channel_addresses.owner_id =": "",
    "FROM api_keys WHERE api_keys.owner_id =": "api_keys",
    # The keys and users of an owner that is being deleted.
    "UPDATE api_keys SET revoked_at=": "api_keys",
    "UPDATE users SET active=": "users",
    "FROM channel_addresses JOIN channel_accounts": "channel_a",
    "FROM knowledge_documents WHERE knowledge_documents.owner_id =": "",
    "FROM owners ORDER BY": "",
    "FROM users": "",
    # A few rows each, or one of an owner.
    "FROM schedules": "",
    "FROM system_keys": "",
    "agent_settings": "",
    "FROM number_agents WHERE number_agents.owner_id =": "number_agents",
    "queue_owners": "",
    # This test's own.
    "SELECT min(lanes.next_due_at)": "",
}
"""What may read all there is, and of which index or table; the rest looks for what it wants."""


async def test_every_statement_looks_into_an_index(database: Database, clock: FrozenClock, ids: UuidV7) -> None:
    """Those that a busy day runs, with their values, and then those that it happens not to run."""
    plans = Plans()
    world = await World.open(Watched(database, plans), clock, ids)
    await fill(database, world.owner_id)
    plans.of.clear()

    await messages_at_every_stage(world)
    await persons_and_operators(world)
    await maintenance(world)
    assert len(plans.of) > MANY
    for prepared in everything_prepared():
        await database.write(partial(plan, plans=plans, prepared=prepared), owner=None)

    assert [str(step) for step in plans.walks() if not may_read_more(step)] == []


def may_read_more(step: Step) -> bool:
    return any(words in step.statement and re.search(where, step.how) for words, where in READS_MORE.items())


def everything_prepared() -> list[Prepared]:
    """Collected before the first is planned: a transaction that waits for imports is ended by PostgreSQL."""
    names = [module.name for module in pkgutil.walk_packages(recado.__path__, "recado.")]
    modules = [importlib.import_module(name) for name in names if not re.search("__main__|migrations", name)]
    return [found for module in modules for found in vars(module).values() if isinstance(found, Prepared)]


def plan(uow: UnitOfWork, plans: Plans, prepared: Prepared) -> None:
    if not (uow.dialect == "sqlite" and "FOR UPDATE" in said(prepared)):
        plans.add_prepared(uow, prepared)


def said(prepared: Prepared) -> str:
    return prepared.compiled("sqlite").sql


async def messages_at_every_stage(world: World) -> None:
    """Answered, joined, tried again, given up, sent in doubt, turned away, refused, and held by a dead worker."""
    await world.says("oi")
    await world.calls_back(world.channel.taken[-1], "delivered")
    await world.calls_back(world.channel.taken[-1], "failed", error="30003")
    world.agents.will(AgentFailed("again"), AgentFailed("again"), AgentFailed("never", retryable=False))
    await world.says("e agora?", BRUNO)
    await world.passes(60)
    for ending in (Unknown("reset", ""), Lost(), NotProcessed("20429", "later"), Refused("63016", "", "unreachable")):
        world.channel.will(ending)
        await world.says("alô")
        await world.passes(300)
    world.dies_at = "after_agent"
    await world.says("de novo")
    await world.lease_runs_out()
    await world.passes(60)
    world.channel.will(Unknown("reset", ""))
    await world.says("sem resposta")
    await world.calls_back(world.channel.taken[-1], "sent")
    await world.passes(600)
    await world.receives("STOP", opt="STOP")
    await world.passes(10)


async def persons_and_operators(world: World) -> None:
    world.agents.will(HandOff("a person, please"))
    await world.says("quero uma pessoa", BRUNO)
    await world.person_says("oi", BRUNO)
    await world.passes(2)
    await world.says("obrigado", BRUNO)
    await world.release(BRUNO)
    await world.passes(2)
    world.agents.will(AgentFailed("never", retryable=False))
    await world.says("mais uma", BRUNO)
    for letter in await world.dead():
        if letter.name in (REPLY, SEND):
            await world.queue.retry(letter.id)
    await world.passes(5)
    reading = DeadLetterReading(world.database)
    for name in (None, REPLY):
        await reading.page(world.owner_id, name=name, limit=1)
        await world.dead_letters.begin(world.operator, BulkOrder("discard", job_name=name))
    await world.passes(5)


async def maintenance(world: World) -> None:
    database, clock, ids = world.database, world.clock, world.ids
    rescue = Rescue(database, clock, ids, split, 3)
    await world.receives("alguém?", CARLA)
    world.advance(2)
    [unwanted] = await world.queue.claim(1, max_isolated=0)
    await world.queue.give_back(unwanted)
    await world.queue.discard(unwanted.job.id)
    world.agents.will(AgentFailed("again"))
    await world.receives("alguém?", BRUNO)
    world.advance(2)
    await world.works_once()
    world.advance(400)
    assert (await rescue.run()).overdue_turns == 1
    await world.passes(10)
    now = clock.now()
    window = NewJob(
        ids.new(), REPLY, world.owner_id, now, now, lane_named("a lane"), window_ends_at=now, collecting=True
    )
    await database.write(
        lambda uow: enqueue.collect(
            lanes.hold_for(uow, [window]), [window], due_at_once=frozenset({lane_named("a lane")})
        ),
        owner=None,
    )
    idle_expiry = IdleExpiry(database, clock, ids, ChannelRouter({}), split, IdleLimits())
    world.advance(3600)
    await idle_expiry.mark_idle()
    world.advance(86_400)
    await idle_expiry.close_expired()
    cron = Cron(database, clock, ids, [Schedule("sweep", timedelta(seconds=60))])
    await cron.insert_slots()
    await cron.set("sweep", enabled=False)
    [job, *_] = await world.queue.claim(1, max_isolated=1)
    heartbeat = Heartbeat(database, clock, LEASE)
    heartbeat.keep(job, LEASE)
    await asyncio.to_thread(heartbeat.beat)
    heartbeat.close()
    await world.queue.give_back(job)
    await world.queue.clear_dispatched()
    await Pruning(database, clock).prune()
