"""A purge from its order on: who is let in, what is added, and how it goes on from run to run."""

from datetime import timedelta

import pytest
from argon2 import PasswordHasher

from recado.bootstrap import metadata
from recado.channels.models import ChannelAddress
from recado.channels.twilio.accounts import NewNumber, NumberService
from recado.conversation.values import Address
from recado.core.database.engine import Database
from recado.core.queue.job import Done, RetryIn
from recado.core.queue.transactions import Transactions
from recado.identity.access.api_keys import ApiKeyService, NewKey
from recado.identity.access.links import LinkOver, LinkService
from recado.identity.access.sessions import SessionService, open_session
from recado.identity.errors import BeingDeleted
from recado.identity.models import Owner
from recado.identity.owners import OwnerService
from recado.identity.passwords import Passwords
from recado.identity.users import NewUser
from recado.operations.organizations.purge import CLOSED_FOR, Ordered, OwnerPurge, PurgeRefused
from tests.core.database.postgres.test_roles import OF_TENANTS
from tests.operations.test_organizations import (
    Hurried,
    closed_for,
    fill_each_table,
    neighbour,
    owners_by_table,
    runs,
)
from tests.support.crossing import crossing
from tests.support.keys import KEY_RING, key_ring
from tests.world import ACCOUNT, OURS, World

ON_BOTH_DATABASES = True


class TestFromTheOrderOfAPurgeOn:
    async def test_nobody_and_nothing_of_the_organisation_is_let_in(self, world: World, purge: OwnerPurge) -> None:
        sessions = SessionService(world.database, world.clock)
        keys = ApiKeyService(world.database, world.clock, world.ids)
        weak = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        links = LinkService(world.database, world.clock, world.ids, weak, None)
        other = await neighbour(world)
        [user, *_] = await world.users.users(world.owner_id)
        session = sessions.new_token()
        await closed_for(world, CLOSED_FOR)
        opening = Transactions(world.database, world.clock, world.ids)
        await opening.write(lambda tx: open_session(tx, user, session, None), owner=world.owner_id)
        key, theirs = await keys.create(world.operator, NewKey("site")), await keys.create(other, NewKey("site"))
        link = (await links.renew(world.operator, user.id)).token
        assert await sessions.principal_of(session) is not None
        assert await keys.principal_of(key.text) is not None
        assert link is not None
        await purge.order(world.operator)
        assert await sessions.principal_of(session) is None
        assert await keys.principal_of(key.text) is None
        assert await links.user_of(link) == LinkOver()
        assert await keys.principal_of(theirs.text) is not None

    async def test_nothing_is_added_to_it(self, world: World, purge: OwnerPurge) -> None:
        """Not by an operator either: it would keep the purge waiting, or outlive it."""
        keys = ApiKeyService(world.database, world.clock, world.ids)
        [user, *_] = await world.users.users(world.owner_id)
        await closed_for(world, CLOSED_FOR)
        await purge.order(world.operator)
        form = NewUser("caio@padaria.example", "viewer")
        for added in (
            world.numbers.add(world.operator, NewNumber(ACCOUNT, "token", OURS)),
            world.users.add(world.operator, form, "cavalo correto bateria"),
            world.users.enable(world.operator, user.id),
            keys.create(world.operator, NewKey("site")),
        ):
            with pytest.raises(BeingDeleted):
                await added

    async def test_a_number_that_is_added_at_the_same_moment_is_removed_too(
        self, world: World, purge: OwnerPurge
    ) -> None:
        second = NewNumber(ACCOUNT, "token", Address("whatsapp:+5511900000007"))
        await closed_for(world, CLOSED_FOR)
        added, ordered = await crossing(
            world.database,
            lambda holding: NumberService(holding, KEY_RING, world.clock, world.ids).add(world.operator, second),
            lambda: purge.order(world.operator),
        )
        assert isinstance(added, ChannelAddress)
        assert isinstance(ordered, Ordered)
        assert await world.numbers.list(world.owner_id) == []

    async def test_of_it_and_reopening_at_one_moment_one_happens(self, world: World, purge: OwnerPurge) -> None:
        """Otherwise it would be open, and deleted."""
        await closed_for(world, CLOSED_FOR)

        def reopened(database: Database) -> OwnerService:
            weak = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
            return OwnerService(database, world.clock, world.ids, weak, key_ring)

        first, second = await crossing(
            world.database,
            lambda holding: reopened(holding).reopen_account(world.operator),
            lambda: purge.order(world.operator),
        )
        assert (type(first), type(second)) == (Owner, PurgeRefused)
        await closed_for(world, CLOSED_FOR)
        first, second = await crossing(
            world.database,
            lambda holding: OwnerPurge(holding, world.clock, world.ids, metadata).order(world.operator),
            lambda: world.owners.reopen_account(world.operator),
        )
        assert (type(first), type(second)) == (Ordered, BeingDeleted)


class TestTheRuns:
    async def test_that_takes_longer_than_a_run_goes_on_where_it_stopped(self, world: World) -> None:
        """A pass that was cut short is not one that found nothing, and no run begins where the last one did."""
        other = await neighbour(world)
        fill_each_table(world.database.url, world.owner_id, other.owner_id)
        await closed_for(world, CLOSED_FOR)
        slow = OwnerPurge(world.database, Hurried(world.clock), world.ids, metadata)
        await slow.order(world.operator)
        await world.breaks("UPDATE message_queue SET status = 'done' WHERE owner_id = :owner", owner=world.owner_id)
        *cut, last = await runs(world, slow)
        assert last == Done()
        assert cut == [RetryIn(timedelta(), counts=False)] * len(cut)
        assert 5 < len(cut) < 4 * len(OF_TENANTS)
        left = await world.database.read(owners_by_table, owner=None)
        assert {table for table, owners in left.items() if world.owner_id in owners} == set()
