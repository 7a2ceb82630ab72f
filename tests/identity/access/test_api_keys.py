"""An API key is shown once, may do what its scopes say, and ends when it is revoked or past its end."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeVar
from uuid import UUID

import pytest
from sqlalchemy import select, update

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput, NotFound, StorageUnavailable
from recado.core.ids import UuidV7
from recado.identity.access.api_keys import ApiKeyService, CreatedKey, NewKey
from recado.identity.owners import Registered
from recado.identity.permissions import OF_KEYS, OF_ROLE, NotAllowed
from recado.identity.principal import Principal, operator_of
from recado.identity.tables import api_keys, audit_entries
from tests.support.crossing import crossing

ON_BOTH_DATABASES = True

T = TypeVar("T")


class ReadOnlyDatabase(SqliteDatabase):
    """A database that reads and cannot store."""

    async def write(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None, urgent: bool = False) -> T:
        raise StorageUnavailable(f"{work} finds no room ({owner}, {urgent})")


@pytest.fixture
def keys(database: Database, clock: FrozenClock, ids: UuidV7) -> ApiKeyService:
    return ApiKeyService(database, clock, ids)


@pytest.fixture
async def key(keys: ApiKeyService, ana: Principal) -> CreatedKey:
    return await keys.create(ana, NewKey("site", ["conversations.read"]))


async def stored(database: Database) -> list[dict[str, object]]:
    return [dict(row) for row in await database.read(lambda uow: uow.all(select(api_keys)), owner=None)]


class TestANewKey:
    async def test_tells_who_bears_it(self, keys: ApiKeyService, key: CreatedKey, bakery: Registered) -> None:
        principal = await keys.principal_of(key.text, source="198.51.100.4")
        assert principal == Principal(
            "key", bakery.owner_id, key.key.id, "site", frozenset({"conversations.read"}), "198.51.100.4"
        )

    async def test_without_scopes_may_do_all_that_keys_may(self, keys: ApiKeyService, ana: Principal) -> None:
        made = await keys.create(ana, NewKey("site"))
        principal = await keys.principal_of(made.text)
        assert principal is not None
        assert principal.permissions == OF_KEYS
        assert not {"keys.write", "users.write", "owner.close"} & set(principal.permissions)

    async def test_is_one_word_that_names_its_row(self, key: CreatedKey) -> None:
        assert key.text.startswith(f"rcd_{key.key.id.hex}_")
        assert len(key.text) == 4 + 32 + 1 + 43 + 6
        assert key.text.replace("_", "").isalnum()

    async def test_is_never_shown_again(self, key: CreatedKey, database: Database) -> None:
        secret = key.text.rpartition("_")[2][:43]
        rows, entries = (
            await stored(database),
            await database.read(lambda uow: uow.all(select(audit_entries)), owner=None),
        )
        for shown in (repr(key), repr(rows), repr(entries), rows[0]["secret_hash"]):
            assert secret not in str(shown)

    async def test_has_the_whole_of_its_randomness_in_its_text(
        self, database: Database, clock: FrozenClock, ids: UuidV7, ana: Principal
    ) -> None:
        secrets = []
        for number in (2**256 - 1, 2**256 - 2, 2**255, 0):
            service = ApiKeyService(database, clock, ids, number.to_bytes)
            secrets.append((await service.create(ana, NewKey("site"))).text.rpartition("_")[2][:43])
        assert len(set(secrets)) == 4

    async def test_says_who_made_it_and_why_it_can_do_what(
        self, key: CreatedKey, bakery: Registered, database: Database, clock: FrozenClock
    ) -> None:
        [row] = await stored(database)
        assert (row["created_by"], row["created_at"], row["scopes"]) == ("Ana", clock.now(), ["conversations.read"])
        made = select(audit_entries).where(audit_entries.c.action == "key.created")
        [entry] = await database.read(lambda uow: uow.all(made), owner=None)
        assert (entry["object_id"], entry["actor_id"]) == (str(key.key.id), bakery.user_id)
        assert entry["detail"] == {"scopes": ["conversations.read"]}


class TestWhatIsRefused:
    @pytest.mark.parametrize("form", [NewKey(" "), NewKey("site", []), NewKey("site", ["everything"])])
    async def test_a_form_that_makes_no_sense(self, keys: ApiKeyService, ana: Principal, form: NewKey) -> None:
        with pytest.raises(InvalidInput):
            await keys.create(ana, form)

    @pytest.mark.parametrize("scope", ["keys.write", "users.write", "owner.close"])
    async def test_what_no_key_may_do(self, keys: ApiKeyService, ana: Principal, scope: str) -> None:
        with pytest.raises(InvalidInput, match=f"'{scope}' is no scope"):
            await keys.create(ana, NewKey("site", [scope]))

    @pytest.mark.parametrize("scopes", [None, ["numbers.write"], ["conversations.read", "audit.read"]])
    async def test_more_than_its_maker_has(
        self, keys: ApiKeyService, ana: Principal, scopes: list[str] | None, database: Database
    ) -> None:
        operator = replace(ana, permissions=OF_ROLE["operator"])
        with pytest.raises(NotAllowed, match="which they do not have"):
            await keys.create(operator, NewKey("site", scopes))
        assert await stored(database) == []

    async def test_an_end_that_is_past(self, keys: ApiKeyService, ana: Principal, clock: FrozenClock) -> None:
        for end in (clock.now(), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))):
            with pytest.raises(InvalidInput, match="is past"):
                await keys.create(ana, NewKey("site", expires_at=end))

    @pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-14))])
    async def test_an_end_that_is_further_away_than_anybody_plans(
        self, keys: ApiKeyService, ana: Principal, database: Database, zone: timezone
    ) -> None:
        """The last moment of the calendar west of Greenwich cannot be read back: in UTC its year has five digits."""
        with pytest.raises(InvalidInput, match="more than ten years away"):
            await keys.create(ana, NewKey("site", expires_at=datetime.max.replace(tzinfo=zone)))
        assert await stored(database) == []


class TestAText:
    @pytest.mark.parametrize(
        "text",
        ["", "rcd__", "ã" * 86, "x" * 100_000, "\ud800" * 86],
        ids=["empty", "blank", "letters", "long", "half a letter"],
    )
    async def test_that_is_no_key_is_nobody_s(self, keys: ApiKeyService, text: str) -> None:
        assert await keys.principal_of(text) is None

    async def test_that_is_nearly_the_key_is_nobody_s(self, keys: ApiKeyService, key: CreatedKey) -> None:
        text = key.text
        for at in (0, 4, 40, 60, 85):
            assert await keys.principal_of(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]) is None
        for other in (text.upper(), f"{text}0", f"{text}\n", f" {text}", text[:-1], text[:-6]):
            assert await keys.principal_of(other) is None

    async def test_with_the_secret_of_another_key_is_nobody_s(
        self, keys: ApiKeyService, key: CreatedKey, ana: Principal, database: Database
    ) -> None:
        other = await keys.create(ana, NewKey("other"))
        assert await keys.principal_of(other.text) is not None
        swapped = update(api_keys).where(api_keys.c.id == other.key.id).values(secret_hash=key.key.secret_hash)
        await database.write(lambda uow: uow.changed(swapped), owner=None)
        assert await keys.principal_of(other.text) is None

    async def test_of_a_key_whose_row_is_gone_is_nobody_s(
        self, keys: ApiKeyService, key: CreatedKey, database: Database
    ) -> None:
        await database.write(lambda uow: uow.execute(api_keys.delete()).close(), owner=None)
        assert await keys.principal_of(key.text) is None

    async def test_is_checked_before_anything_is_read(self, key: CreatedKey, clock: FrozenClock, ids: UuidV7) -> None:
        nowhere = ApiKeyService(SqliteDatabase("sqlite:////nowhere/at.all"), clock, ids)
        assert await nowhere.principal_of(key.text[:-1] + ("0" if key.text[-1] != "0" else "1")) is None


class TestTheEndOfAKey:
    async def test_comes_with_its_date(self, keys: ApiKeyService, ana: Principal, clock: FrozenClock) -> None:
        made = await keys.create(ana, NewKey("site", expires_at=clock.now() + timedelta(days=1)))
        clock.advance(timedelta(hours=23, minutes=59))
        assert await keys.principal_of(made.text) is not None
        clock.advance(timedelta(minutes=1))
        assert await keys.principal_of(made.text) is None

    async def test_comes_with_its_revocation(
        self, keys: ApiKeyService, key: CreatedKey, ana: Principal, clock: FrozenClock, database: Database
    ) -> None:
        first = clock.now()
        assert (await keys.revoke(ana, key.key.id)).revoked_at == first
        assert await keys.principal_of(key.text) is None
        clock.advance(timedelta(hours=1))
        assert (await keys.revoke(ana, key.key.id)).revoked_at == first
        revoked = select(audit_entries).where(audit_entries.c.action == "key.revoked")
        assert len(await database.read(lambda uow: uow.all(revoked), owner=None)) == 1

    async def test_that_two_bring_about_at_one_moment_is_one(
        self, keys: ApiKeyService, key: CreatedKey, ana: Principal, clock: FrozenClock, ids: UuidV7, database: Database
    ) -> None:
        await crossing(
            database,
            lambda holding: ApiKeyService(holding, clock, ids).revoke(ana, key.key.id),
            lambda: keys.revoke(ana, key.key.id),
        )
        revoked = select(audit_entries).where(audit_entries.c.action == "key.revoked")
        assert len(await database.read(lambda uow: uow.all(revoked), owner=None)) == 1

    async def test_cannot_be_brought_about_by_another_owner(
        self, keys: ApiKeyService, key: CreatedKey, library: Registered
    ) -> None:
        for stranger in (operator_of(library.owner_id, "x"), operator_of(UUID(int=404), "x")):
            with pytest.raises(NotFound):
                await keys.revoke(stranger, key.key.id)
        assert await keys.principal_of(key.text) is not None


class TestItsUse:
    async def test_is_written_once_a_minute_at_most(
        self, keys: ApiKeyService, key: CreatedKey, database: Database, clock: FrozenClock
    ) -> None:
        begun = clock.now()
        for seconds, written in ((0, 0), (59, 0), (1, 60), (59, 60)):
            clock.advance(timedelta(seconds=seconds))
            assert await keys.principal_of(key.text) is not None
            [row] = await stored(database)
            assert row["last_used_at"] == begun + timedelta(seconds=written)

    @pytest.mark.sqlite_only
    async def test_goes_on_while_the_database_cannot_store(
        self, key: CreatedKey, database: Database, clock: FrozenClock, ids: UuidV7
    ) -> None:
        full = ReadOnlyDatabase(database.url)
        assert await ApiKeyService(full, clock, ids).principal_of(key.text) is not None
        await full.close()


async def test_an_operator_finds_the_owner_of_a_key(keys: ApiKeyService, key: CreatedKey, bakery: Registered) -> None:
    assert await keys.owner_of(key.key.id) == bakery.owner_id
    with pytest.raises(NotFound, match="recado keys list"):
        await keys.owner_of(UUID(int=404))
