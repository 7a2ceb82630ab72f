"""The queries for owners, users and keys."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import Integer, bindparam, delete, func, select, text, update

from recado.core.database.prepared import Prepared, inserting
from recado.core.database.repository import OwnedRepository, Repository, entities, of_owner, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.identity.errors import BeingDeleted
from recado.identity.models import Owner, SealedOwnerKeys, SealedSystemKey, User
from recado.identity.tables import owners, system_keys, users

_OWNERS = Prepared(entities(owners, Owner).order_by(owners.c.id))
_DELETE_OWNER = Prepared(delete(owners).where(owners.c.id == bindparam("id")))
_COUNT_PURGED = Prepared(
    update(owners)
    .where(owners.c.id == bindparam("of_id"))
    .values(purged_rows=func.coalesce(owners.c.purged_rows, 0) + bindparam("more", type_=Integer))
)
_NEW_OWNER = Prepared(inserting(owners))
_KEYS = entities(owners, SealedOwnerKeys)
_NEWEST_KEYS = Prepared(_KEYS.order_by(owners.c.id.desc()).limit(bindparam("most")))
_OTHER_KEYS = Prepared(_KEYS.where(owners.c.data_key_id != bindparam("key_id")).order_by(owners.c.id).limit(1))
_NEW_SYSTEM_KEY = Prepared(inserting(system_keys).on_conflict_do_nothing())
_STORED_KEYS = select(system_keys.c.name, system_keys.c.sealed, system_keys.c.key_id)
_SYSTEM_KEY = Prepared(_STORED_KEYS.where(system_keys.c.name == bindparam("name")))
_SYSTEM_KEYS = Prepared(_STORED_KEYS.order_by(system_keys.c.name))
_USERS = Prepared(owned(users, User).order_by(users.c.id))
_OWNERS_WHO_CAN_ENTER = Prepared(
    owned(users, User)
    .where(users.c.role == text("'owner'"), users.c.active, users.c.password_hash.is_not(None))
    .order_by(users.c.id)
)
_DISABLE_ALL = Prepared(update(users).where(of_owner(users), users.c.active).values(active=text("false")))
_ALL_USERS = Prepared(entities(users, User).order_by(users.c.id))
_OF_EMAIL = Prepared(entities(users, User).where(users.c.email == bindparam("email")))


class Owners(Repository[Owner]):
    table = owners
    entity = Owner
    noun = "owner"

    def register(self, owner: Owner, keys: SealedOwnerKeys) -> None:
        """Store a new owner together with its keys."""
        self._uow.run(_NEW_OWNER, **asdict(owner) | asdict(keys))

    def delete(self, id_: UUID) -> bool:
        """Delete an owner's own row, and with it the owner's keys. Return whether it was there."""
        return self._uow.run(_DELETE_OWNER, id=id_) == 1

    def count_purged(self, id_: UUID, more: int) -> None:
        """Add to the number of rows that a purge has deleted. An owner that is gone counts no more."""
        self._uow.run(_COUNT_PURGED, of_id=id_, more=more)

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

    def sealed_by_another(self, key_id: str) -> SealedOwnerKeys | None:
        """Return the first owner's keys that another RECADO_SECRET_KEY than the one of this id sealed."""
        return self._one(_OTHER_KEYS, key_id=key_id)


class SystemKeyRows:
    """Keys of the installation, as they are stored."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def get(self, name: str) -> SealedSystemKey | None:
        """Return the key of this name."""
        found = self._uow.rows(_SYSTEM_KEY, name=name)
        return SealedSystemKey(*found[0]) if found else None

    def all(self) -> Sequence[SealedSystemKey]:
        """Return every key."""
        return [SealedSystemKey(*row) for row in self._uow.rows(_SYSTEM_KEYS)]

    def add_if_absent(self, key: SealedSystemKey, now: datetime) -> SealedSystemKey:
        """Store a key unless one of its name is there; return the one that is stored then."""
        self._uow.run(_NEW_SYSTEM_KEY, **asdict(key), created_at=now)
        stored = self.get(key.name)
        assert stored is not None  # noqa: S101 - narrows the type: it was there or has just been stored
        return stored


class Users(OwnedRepository[User]):
    """The users of one owner."""

    table = users
    entity = User
    noun = "user"

    def hold(self) -> None:
        """Let no other transaction that holds them change the owner's users until this one ends."""
        self._uow.lock_by_name(f"users of {self.owner}")

    def in_order(self) -> Sequence[User]:
        return self._many(_USERS)

    def disable_all(self) -> None:
        """Let none of them in any more: their sessions and links are of no use either."""
        self._run(_DISABLE_ALL)

    def owners_who_can_enter(self) -> Sequence[User]:
        """Return the users who may do everything and can sign in."""
        return self._many(_OWNERS_WHO_CAN_ENTER)


class AllUsers(Repository[User]):
    """The users of all owners: for signing in, where the owner is not known yet, and for operators."""

    table = users
    entity = User
    noun = "user"

    def in_order(self) -> Sequence[User]:
        return self._many(_ALL_USERS)

    def of_spelling(self, email: str) -> User | None:
        """Return the user with an e-mail address in its stored spelling."""
        return self._one(_OF_EMAIL, email=email)


def held_owner(uow: UnitOfWork, owner_id: UUID) -> Owner:
    """Return an owner about to be changed; raises `NotFound`.

    No other transaction that asks so reads or changes it until this one ends: what is decided by what was read is so.
    """
    uow.lock_by_name(f"owner {owner_id}")
    return owner_in(uow, owner_id)


def lasting_owner(uow: UnitOfWork, owner_id: UUID) -> Owner:
    """Return an owner for whom something new is stored, held as by `held_owner`.

    Raises `NotFound`, and `BeingDeleted` for one whose purge was ordered: what is stored now might outlive it.
    """
    owner = held_owner(uow, owner_id)
    if owner.purge_started_at is not None:
        raise BeingDeleted("everything of the organisation is being deleted; nothing of it can be changed any more")
    return owner


def owner_in(uow: UnitOfWork, owner_id: UUID) -> Owner:
    """Return the owner, inside another module's unit of work; raises `NotFound`."""
    return Owners(uow).require(owner_id)
