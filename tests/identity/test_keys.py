import asyncio
from uuid import UUID

import pytest
from sqlalchemy import delete, select, update

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import NotFound
from recado.core.sealing import OtherKey, SealBroken, Sealer, SealUnknown
from recado.identity.keys import KeyRing, SystemKeys
from recado.identity.models import SealedOwnerKeys
from recado.identity.owners import OwnerService, Registration
from recado.identity.repository import OwnerKeyRows
from recado.identity.tables import owners, system_keys
from tests.support.keys import KEY_RING

ON_BOTH_DATABASES = True

OTHER = Sealer(b"o" * 32)


async def registered(service: OwnerService, name: str = "ana") -> UUID:
    form = Registration("Padaria", f"{name}@padaria.example", "pão de queijo às cinco")
    return (await service.register_organization(form)).owner_id


async def stored_keys(database: Database, owner_id: UUID) -> SealedOwnerKeys:
    return await database.read(lambda uow: OwnerKeyRows(uow).require(owner_id), owner=owner_id)


async def change(database: Database, owner_id: UUID, **columns: object) -> None:
    statement = update(owners).where(owners.c.id == owner_id).values(**columns)
    await database.write(lambda uow: uow.changed(statement), owner=None)


class TestTheKeysOfAnOwner:
    async def test_are_there_from_its_registration(self, service: OwnerService, database: Database) -> None:
        owner_id = await registered(service)
        keys = await database.read(lambda uow: KEY_RING.of(uow, owner_id), owner=owner_id)
        sealed = keys.sealer.seal("sk-1", owner=owner_id, field="api_key")
        again = await database.read(lambda uow: KEY_RING.of(uow, owner_id), owner=None)
        assert again.sealer.open(sealed, owner=owner_id, field="api_key") == "sk-1"
        assert (len(keys.lane_salt), again.lane_salt) == (32, keys.lane_salt)

    async def test_are_its_own(self, service: OwnerService, database: Database) -> None:
        ana, bia = await registered(service), await registered(service, "bia")
        hers = await database.read(lambda uow: KEY_RING.of(uow, ana), owner=None)
        other = await database.read(lambda uow: KEY_RING.of(uow, bia), owner=None)
        assert hers.lane_salt != other.lane_salt
        with pytest.raises(SealBroken, match="the row was changed or moved"):
            other.sealer.open(hers.sealer.seal("sk-1", owner=ana, field="api_key"), owner=ana, field="api_key")

    async def test_are_not_visible_in_the_database(self, service: OwnerService, database: Database) -> None:
        owner_id = await registered(service)
        stored = await stored_keys(database, owner_id)
        keys = KEY_RING.open(stored)
        assert keys.lane_salt not in stored.lane_salt_sealed
        assert repr(keys) == "OwnerKeys()"
        assert "sealed" not in repr(stored)

    async def test_name_the_key_that_is_missing(self, service: OwnerService, database: Database) -> None:
        stored = await stored_keys(database, await registered(service))
        assert stored.data_key_id == Sealer(bytes(32)).key_id
        with pytest.raises(OtherKey, match=f"another RECADO_SECRET_KEY .* {stored.data_key_id}, this key's is"):
            KeyRing(OTHER).open(stored)

    async def test_do_not_open_in_another_owner_s_row(self, service: OwnerService, database: Database) -> None:
        ana, bia = await registered(service), await registered(service, "bia")
        moved = await stored_keys(database, ana)
        await change(database, bia, data_key_sealed=moved.data_key_sealed, lane_salt_sealed=moved.lane_salt_sealed)
        with pytest.raises(SealBroken, match="the row was changed"):
            await database.read(lambda uow: KEY_RING.of(uow, bia), owner=None)

    async def test_of_a_later_release_are_told_apart(self, service: OwnerService, database: Database) -> None:
        owner_id = await registered(service)
        stored = await stored_keys(database, owner_id)
        await change(database, owner_id, data_key_sealed=b"\x02" + stored.data_key_sealed[1:])
        with pytest.raises(SealUnknown, match="later release"):
            await database.read(lambda uow: KEY_RING.of(uow, owner_id), owner=None)

    async def test_of_an_unknown_owner_are_not_found(self, database: Database) -> None:
        with pytest.raises(NotFound, match="there is no owner"):
            await database.read(lambda uow: KEY_RING.of(uow, UUID(int=404)), owner=None)

    async def test_are_new_for_each_owner_that_registers(self, service: OwnerService, database: Database) -> None:
        ana, bia = await registered(service), await registered(service, "bia")
        newest = await database.read(lambda uow: OwnerKeyRows(uow).newest(1), owner=None)
        assert [each.id for each in newest] == [bia]
        assert (await stored_keys(database, ana)).data_key_sealed != newest[0].data_key_sealed


class TestAKeyOfTheInstallation:
    async def test_is_made_once_and_stays(self, database: Database, clock: FrozenClock) -> None:
        first, another = (SystemKeys(database, Sealer(bytes(32)), clock) for _ in range(2))
        key = await first.get_or_make("callbacks")
        assert len(key) == 32
        assert await first.get_or_make("callbacks") == await another.get_or_make("callbacks") == key
        assert await another.get_or_make("something else") != key

    async def test_is_the_same_for_all_who_make_it_at_once(self, database: Database, clock: FrozenClock) -> None:
        makers = [SystemKeys(database, Sealer(bytes(32)), clock) for _ in range(8)]
        assert len(set(await asyncio.gather(*(maker.get_or_make("callbacks") for maker in makers)))) == 1

    async def test_is_not_made_by_reading_it(self, database: Database, clock: FrozenClock) -> None:
        keys = SystemKeys(database, Sealer(bytes(32)), clock)
        assert await keys.get("callbacks") is None
        assert await database.read(lambda uow: uow.all(select(system_keys)), owner=None) == []
        made = await SystemKeys(database, Sealer(bytes(32)), clock).get_or_make("callbacks")
        assert await keys.get("callbacks") == made

    async def test_is_not_made_with_another_key_than_the_owners_have(
        self, service: OwnerService, database: Database, clock: FrozenClock
    ) -> None:
        owner_id = await registered(service)
        with pytest.raises(OtherKey, match=f"the data key of owner {owner_id} .* another RECADO_SECRET_KEY"):
            await SystemKeys(database, OTHER, clock).get_or_make("callbacks")
        assert await database.read(lambda uow: uow.all(select(system_keys)), owner=None) == []
        assert len(await SystemKeys(database, Sealer(bytes(32)), clock).get_or_make("callbacks")) == 32

    async def test_is_stored_sealed(self, database: Database, clock: FrozenClock) -> None:
        key = await SystemKeys(database, Sealer(bytes(32)), clock).get_or_make("callbacks")
        [row] = await database.read(lambda uow: uow.all(select(system_keys)), owner=None)
        assert key not in row["sealed"]
        assert (row["name"], row["created_at"]) == ("callbacks", clock.now())

    async def test_does_not_open_with_another_key(self, database: Database, clock: FrozenClock) -> None:
        await SystemKeys(database, Sealer(bytes(32)), clock).get_or_make("callbacks")
        with pytest.raises(OtherKey, match="the key 'callbacks' of this installation was sealed with another"):
            await SystemKeys(database, OTHER, clock).get_or_make("callbacks")

    async def test_does_not_open_under_another_name(self, database: Database, clock: FrozenClock) -> None:
        keys = SystemKeys(database, Sealer(bytes(32)), clock)
        await keys.get_or_make("callbacks")
        await database.write(lambda uow: uow.changed(update(system_keys).values(name="links")), owner=None)
        with pytest.raises(SealBroken, match="the row was changed"):
            await keys.get("links")

    async def test_that_was_deleted_stays_in_use_by_processes_that_have_it(
        self, database: Database, clock: FrozenClock
    ) -> None:
        """A process goes on with the key it has read; deleting the row under it is no way to change the key."""
        keys = SystemKeys(database, Sealer(bytes(32)), clock)
        key = await keys.get_or_make("callbacks")
        await database.write(lambda uow: uow.changed(delete(system_keys)), owner=None)
        assert await keys.get_or_make("callbacks") == key
