"""A refused row is recognised by the constraint that refused it, on both databases."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from recado.agents.models import KnowledgeDocument
from recado.agents.repository import DocumentRepository
from recado.agents.tables import knowledge_documents as documents
from recado.core.database.constraints import is_duplicate_of
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.identity.models import Owner, User
from recado.identity.repository import Owners, Users
from recado.identity.tables import owners
from tests.support.keys import KEY_RING

ON_BOTH_DATABASES = True

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
ID, OTHER = UUID(int=1), UUID(int=2)
BAKERY = Owner(id=ID, name="Padaria", email="ana@padaria.example", created_at=NOW)
PRICES = KnowledgeDocument(ID, ID, "prices.md", b"", ID, 0, NOW)


async def refusal(database: Database, *works: Callable[[UnitOfWork], object], owner: UUID | None) -> IntegrityError:
    """Return why the last of these was refused."""

    def one_after_the_other(uow: UnitOfWork) -> None:
        for work in works:
            work(uow)

    with pytest.raises(IntegrityError) as refused:
        await database.write(one_after_the_other, owner=owner)
    return refused.value


async def test_a_value_that_is_there_already(database: Database) -> None:
    other = replace(BAKERY, id=OTHER)
    error = await refusal(
        database,
        lambda uow: Owners(uow).register(BAKERY, KEY_RING.make(BAKERY.id)),
        lambda uow: Owners(uow).register(other, KEY_RING.make(other.id)),
        owner=None,
    )
    assert is_duplicate_of(error, owners.c.email)
    assert not is_duplicate_of(error, owners.c.id)
    assert not is_duplicate_of(error, owners.c.id, owners.c.email)


async def test_a_primary_key(database: Database) -> None:
    other = replace(BAKERY, email="bob@example.com")
    error = await refusal(
        database,
        lambda uow: Owners(uow).register(BAKERY, KEY_RING.make(BAKERY.id)),
        lambda uow: Owners(uow).register(other, KEY_RING.make(other.id)),
        owner=None,
    )
    assert is_duplicate_of(error, owners.c.id)
    assert not is_duplicate_of(error, owners.c.email)


async def test_a_key_over_two_columns_in_any_order(database: Database) -> None:
    other = replace(PRICES, id=OTHER)
    error = await refusal(
        database,
        lambda uow: DocumentRepository(uow).add(PRICES),
        lambda uow: DocumentRepository(uow).add(other),
        owner=ID,
    )
    assert is_duplicate_of(error, documents.c.name, documents.c.owner_id)
    assert not is_duplicate_of(error, documents.c.name)


async def test_a_check_is_no_duplicate(database: Database) -> None:
    shouting = replace(BAKERY, send_policy="shout")  # type: ignore[arg-type]  # What no form lets through.
    error = await refusal(database, lambda uow: Owners(uow).register(shouting, KEY_RING.make(shouting.id)), owner=None)
    assert not is_duplicate_of(error, owners.c.email)


async def test_a_missing_owner_is_no_duplicate(database: Database) -> None:
    alone = User(id=ID, owner_id=ID, email="ana@padaria.example", role="admin", password_hash="x", created_at=NOW)
    error = await refusal(database, lambda uow: Users(uow).add(alone), owner=ID)
    assert not is_duplicate_of(error, owners.c.email)
