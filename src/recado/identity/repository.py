"""The queries for owners, users and keys."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, select

from recado.core.database.prepared import Prepared, inserting
from recado.core.database.repository import OwnedRepository, Repository, entities, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.identity.models import Owner, SealedOwnerKeys, User, normalized_email
from recado.identity.tables import owners, system_keys, users

_OWNERS = Prepared(entities(owners, Owner).order_by(owners.c.id))
_NEW_OWNER = Prepared(inserting(owners))
_KEYS = entities(owners, SealedOwnerKeys)
_NEWEST_KEYS = Prepared(_KEYS.order_by(owners.c.id.desc()).limit(bindparam("most")))
_NEW_SYSTEM_KEY = Prepared(inserting(system_keys).on_conflict_do_nothing())
_SYSTEM_KEY = Prepared(
    select(system_keys.c.sealed, system_keys.c.key_id).where(system_keys.c.name == bindparam("name"))
)
_USERS = Prepared(owned(users, User).order_by(users.c.id))
_ALL_USERS = Prepared(entities(users, User).order_by(users.c.id))
_OF_EMAIL = Prepared(entities(users, User).where(users.c.email == bindparam("email")))


class Owners(Repository[Owner]):
    table = owners
    entity = Owner
    noun = "owner"

    def register(self, owner: Owner, keys: SealedOwnerKeys) -> None:
        """Store a new owner together with its keys."""
        self._uow.run(_NEW_OWNER, **asdict(owner) | asdict(keys))

    def in_order(self) -> Sequence[Owner]:
        """Return every owner, the oldest first."""
        return self._many(_OWNERS)


class OwnerKeyRows(Repository[SealedOwnerKeys]):
    """The keys of owners, as they are stored."""

    table = owners
    entity = SealedOwnerKeys
    noun = "owner"

    def newest(self, most: int) -> Sequence[SealedOwnerKeys]:
        """Return the keys of the owners that registered last."""
        return self._many(_NEWEST_KEYS, most=most)


class SystemKeyRows:
    """Keys of the installation, as they are stored."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Return the sealed key and the id of the key that sealed it."""
        found = self._uow.rows(_SYSTEM_KEY, name=name)
        return (found[0][0], found[0][1]) if found else None

    def add_if_absent(self, name: str, sealed: bytes, key_id: str, now: datetime) -> tuple[bytes, str]:
        """Store a key unless one of this name is there; return the one that is stored then."""
        self._uow.run(_NEW_SYSTEM_KEY, name=name, sealed=sealed, key_id=key_id, created_at=now)
        stored = self.get(name)
        assert stored is not None  # noqa: S101 - narrows the type: it was there or has just been stored
        return stored


class Users(OwnedRepository[User]):
    """The users of one owner."""

    table = users
    entity = User
    noun = "user"

    def in_order(self) -> Sequence[User]:
        return self._many(_USERS)


class AllUsers(Repository[User]):
    """The users of all owners: for signing in, where the owner is not known yet, and for operators."""

    table = users
    entity = User
    noun = "user"

    def in_order(self) -> Sequence[User]:
        return self._many(_ALL_USERS)

    def by_email(self, email: str) -> User | None:
        return self._one(_OF_EMAIL, email=normalized_email(email))


def owner_in(uow: UnitOfWork, owner_id: UUID) -> Owner:
    """Return the owner, inside another module's unit of work; raises `NotFound`."""
    return Owners(uow).require(owner_id)
