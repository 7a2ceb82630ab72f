"""Lists of users, keys and the audit are read in pages that miss nothing, repeat nothing and cost the same."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar
from uuid import UUID

import pytest
from sqlalchemy import text

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.pages import Page
from recado.core.errors import InvalidInput, NotFound
from recado.core.ids import UuidV7
from recado.core.queue.transactions import Transactions
from recado.identity import audit
from recado.identity.access.api_keys import ApiKeyService, NewKey
from recado.identity.access.links import LinkService
from recado.identity.owners import Registered
from recado.identity.passwords import Passwords
from recado.identity.principal import Principal
from recado.identity.reading import AuditFilters, AuditItem, IdentityReading, KeyItem, UserItem
from recado.identity.users import NewUser

ON_BOTH_DATABASES = True

T = TypeVar("T", UserItem, KeyItem, AuditItem)


@pytest.fixture
def reading(database: Database) -> IdentityReading:
    return IdentityReading(database)


@pytest.fixture
def keys(database: Database, clock: FrozenClock, ids: UuidV7) -> ApiKeyService:
    return ApiKeyService(database, clock, ids)


@pytest.fixture
def links(database: Database, clock: FrozenClock, ids: UuidV7, passwords: Passwords) -> LinkService:
    return LinkService(database, clock, ids, passwords, None)


async def pages_are_the_whole(pages: Callable[..., Awaitable[Page[T]]], owner_id: UUID, number: int) -> None:
    """Read a list in pages of three, and compare it with the list in one piece."""
    found: list[T] = []
    cursor: str | None = None
    while True:
        page = await pages(owner_id, cursor, limit=3)
        assert len(page.items) <= 3
        found += page.items
        if (cursor := page.next_cursor) is None:
            break
    assert found == list((await pages(owner_id)).items)
    assert len(found) == number


async def test_users_are_shown_with_what_they_may_do_and_no_secret(
    reading: IdentityReading, links: LinkService, ana: Principal, clock: FrozenClock
) -> None:
    invited = (await links.invite(ana, NewUser("bia@padaria.example", "operator", "Bia"))).user
    page = await reading.users(ana.owner_id)
    assert page.next_cursor is None
    assert [(item.email, item.role, item.invited) for item in page.items] == [
        ("ana@padaria.example", "owner", False),
        ("bia@padaria.example", "operator", True),
    ]
    assert await reading.user(ana.owner_id, invited.id) == UserItem(
        invited.id, "bia@padaria.example", "Bia", "operator", True, True, clock.now(), None
    )
    assert "argon2" not in repr(page)


async def test_keys_are_shown_without_their_secret(
    reading: IdentityReading, keys: ApiKeyService, ana: Principal, clock: FrozenClock
) -> None:
    made = await keys.create(ana, NewKey("site", ["conversations.read"]))
    await keys.revoke(ana, made.key.id)
    [item] = (await reading.keys(ana.owner_id)).items
    now = clock.now()
    assert item == KeyItem(made.key.id, "site", ["conversations.read"], now, "Ana", None, None, now)
    assert await reading.key(ana.owner_id, made.key.id) == item


async def test_the_audit_begins_with_the_newest(
    reading: IdentityReading, keys: ApiKeyService, ana: Principal, clock: FrozenClock
) -> None:
    made = await keys.create(ana, NewKey("site", ["conversations.read"]))
    newest, oldest = (await reading.audit(ana.owner_id)).items
    assert (newest.action, newest.object_kind, newest.object_id) == ("key.created", "key", str(made.key.id))
    assert (newest.actor_kind, newest.actor_id, newest.actor_name) == ("user", ana.id, "Ana")
    assert (newest.source, newest.detail, newest.at) == ("192.0.2.7", {"scopes": ["conversations.read"]}, clock.now())
    assert oldest.action == "owner.registered"


async def test_pages_together_are_the_whole_list_also_while_it_grows(
    reading: IdentityReading, keys: ApiKeyService, links: LinkService, ana: Principal
) -> None:
    for number in range(7):
        await links.invite(ana, NewUser(f"{number}@padaria.example", "viewer"))
        await keys.create(ana, NewKey(f"key {number}"))
    await pages_are_the_whole(reading.users, ana.owner_id, 8)
    await pages_are_the_whole(reading.keys, ana.owner_id, 7)
    await pages_are_the_whole(reading.audit, ana.owner_id, 15)
    first = await reading.audit(ana.owner_id, limit=5)
    await keys.create(ana, NewKey("one more"))
    second = await reading.audit(ana.owner_id, first.next_cursor, limit=5)
    assert not {item.id for item in first.items} & {item.id for item in second.items}


async def test_nobody_sees_what_is_of_another_owner(
    reading: IdentityReading, keys: ApiKeyService, ana: Principal, library: Registered
) -> None:
    made = await keys.create(ana, NewKey("site"))
    assert [item.id for item in (await reading.users(library.owner_id)).items] == [library.user_id]
    assert (await reading.keys(library.owner_id)).items == []
    assert [item.action for item in (await reading.audit(library.owner_id)).items] == ["owner.registered"]
    for owner_id, key_id in ((library.owner_id, made.key.id), (ana.owner_id, UUID(int=404))):
        with pytest.raises(NotFound):
            await reading.key(owner_id, key_id)
        with pytest.raises(NotFound):
            await reading.user(owner_id, key_id)


async def test_a_cursor_that_is_none_is_refused(reading: IdentityReading, ana: Principal) -> None:
    for pages in (reading.users, reading.keys, reading.audit):
        with pytest.raises(InvalidInput, match="not a cursor of ours"):
            await pages(ana.owner_id, "nonsense")


class TestTheAuditOfAThing:
    async def test_shows_one_kind_or_one_thing(
        self, reading: IdentityReading, keys: ApiKeyService, links: LinkService, ana: Principal
    ) -> None:
        made = [await keys.create(ana, NewKey(f"key {number}")) for number in range(4)]
        await links.invite(ana, NewUser("bia@padaria.example", "viewer"))
        await keys.revoke(ana, made[1].key.id)
        of_keys = AuditFilters("key")
        assert {item.object_kind for item in (await reading.audit(ana.owner_id, filters=of_keys)).items} == {"key"}
        await pages_are_the_whole(partial(reading.audit, filters=of_keys), ana.owner_id, 5)
        of_one = AuditFilters("key", str(made[1].key.id))
        found = (await reading.audit(ana.owner_id, filters=of_one)).items
        assert [item.action for item in found] == ["key.revoked", "key.created"]

    async def test_shows_nothing_of_another_kind_with_the_same_id(
        self, reading: IdentityReading, keys: ApiKeyService, ana: Principal
    ) -> None:
        made = await keys.create(ana, NewKey("site"))
        assert (await reading.audit(ana.owner_id, filters=AuditFilters("user", str(made.key.id)))).items == []

    async def test_shows_nothing_of_another_owner(
        self, reading: IdentityReading, keys: ApiKeyService, ana: Principal, library: Registered
    ) -> None:
        made = await keys.create(ana, NewKey("site"))
        filters = AuditFilters("key", str(made.key.id))
        assert (await reading.audit(library.owner_id, filters=filters)).items == []

    def test_needs_the_kind_of_the_thing(self) -> None:
        with pytest.raises(InvalidInput, match="of which kind"):
            AuditFilters(object_id="7")


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("about", "index"),
    [
        ("", "ix_audit_entries_owner (owner_id=? AND id<?)"),
        ("AND object_kind = 'key'", "ix_audit_entries_kind (owner_id=? AND object_kind=? AND id<?)"),
        (
            "AND object_kind = 'key' AND object_id = '7'",
            "ix_audit_entries_object (owner_id=? AND object_kind=? AND object_id=? AND id<?)",
        ),
    ],
)
async def test_a_page_of_the_audit_reads_an_index_and_no_more(database: Database, about: str, index: str) -> None:
    plan = await database.read(
        lambda uow: uow.all(
            text(
                f"EXPLAIN QUERY PLAN SELECT * FROM audit_entries WHERE owner_id = x'00' {about} AND id < x'ff'"
                " ORDER BY id DESC LIMIT 5"
            )
        ),
        owner=None,
    )
    assert [row["detail"] for row in plan] == [f"SEARCH audit_entries USING INDEX {index}"]


async def test_an_entry_may_have_nothing_to_add(
    reading: IdentityReading, database: Database, clock: FrozenClock, ids: UuidV7, ana: Principal
) -> None:
    await Transactions(database, clock, ids).write(
        lambda tx: audit.record(tx, ana, "conversation.read", "conversation", "7"), owner=ana.owner_id
    )
    newest = (await reading.audit(ana.owner_id)).items[0]
    assert (newest.detail, newest.object_id) == (None, "7")
