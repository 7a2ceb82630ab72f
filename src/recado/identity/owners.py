"""Organisations: register, change, list, close.

An organisation without a user could never be entered, and a user without one belongs to no one: both are made in one
unit of work. Hashing a password takes a tenth of a second, so it is done before any transaction is open.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from recado.core.clock import Clock
from recado.core.database.constraints import is_duplicate_of
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.i18n import DEFAULT_LOCALE
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions, UnlockedTransaction
from recado.identity import audit
from recado.identity.errors import BeingDeleted, EmailTaken
from recado.identity.keys import KeyRing
from recado.identity.models import (
    UNSET,
    Owner,
    SealedOwnerKeys,
    Unset,
    User,
    normalized_email,
    valid_locale,
    valid_name,
    valid_policy,
    valid_stop_words,
    valid_text,
    valid_words,
)
from recado.identity.passwords import Passwords
from recado.identity.principal import Principal, operator_of, user_principal
from recado.identity.repository import Owners, Users, held_owner, owner_in
from recado.identity.tables import owners, users


@dataclass(frozen=True, slots=True)
class Registration:
    """A registration: the organisation, and its first person, who may do everything in it."""

    name: str
    email: str
    password: str = field(repr=False)
    locale: str = DEFAULT_LOCALE


@dataclass(frozen=True, slots=True)
class Registered:
    owner_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerChanges:
    """The values to change; what is not named stays. None restores the product's own text or list."""

    name: str | Unset = UNSET
    email: str | Unset = UNSET
    locale: str | Unset = UNSET
    apology_text: str | Unset | None = UNSET
    handoff_text: str | Unset | None = UNSET
    nudge_text: str | Unset | None = UNSET
    send_policy: str | Unset = UNSET
    stop_words: Sequence[str] | Unset | None = UNSET
    start_words: Sequence[str] | Unset | None = UNSET


def any_owner(_owner: Owner) -> None:
    """Accept whatever is stored."""


class OwnerService:
    """What entry points need to know and change of owners."""

    def __init__(
        self, database: Database, clock: Clock, ids: Ids, passwords: Passwords, keys: Callable[[], KeyRing]
    ) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._passwords = passwords

    async def register_organization(self, form: Registration, *, operator: str | None = None) -> Registered:
        """Make a new owner and its first user, who can sign in at once.

        `operator` is who registers them at the command line; without one, the first user registers itself. Raises
        `EmailTaken`, `PasswordRefused`, and `OtherKey` when the keys of an owner were sealed with another
        RECADO_SECRET_KEY: no key opens the keys of both.
        """
        email = normalized_email(form.email)
        owner = Owner(
            id=self._ids.new(),
            name=valid_name(form.name),
            email=email,
            locale=valid_locale(form.locale),
            created_at=self._clock.now(),
        )
        user = User(
            id=self._ids.new(),
            owner_id=owner.id,
            email=email,
            role="owner",
            password_hash=await self._passwords.hash(form.password, about=email),
            created_at=owner.created_at,
        )
        await self._store(owner, user, user_principal(user) if operator is None else operator_of(owner.id, operator))
        return Registered(owner.id, user.id)

    async def _store(self, owner: Owner, user: User, principal: Principal) -> None:
        key_ring = self._keys()
        keys = key_ring.make(owner.id)

        def store(tx: UnlockedTransaction) -> None:
            key_ring.refuse_other_key(tx.uow)
            of_owner = tx.of_owner(owner.id)
            _register(of_owner.uow, owner, keys, user)
            audit.record(of_owner, principal, "owner.registered", "owner", owner.id)

        # As the system: a transaction of an owner cannot see the keys of others.
        await self._transactions.write(store, owner=None)

    async def set_owner(
        self, principal: Principal, changes: OwnerChanges, *, check: Callable[[Owner], None] = any_owner
    ) -> Owner:
        """Change the principal's owner and return it; raises `NotFound`, `InvalidInput` and `EmailTaken`.

        `check` gets the owner as it is before the change, and may raise.
        """
        columns = _validated(changes)

        def work(tx: UnlockedTransaction) -> Owner:
            check(held_owner(tx.uow, principal.owner_id))
            return _change(tx, principal, columns)

        return await self._transactions.write(work, owner=principal.owner_id)

    async def close_account(self, principal: Principal) -> Owner:
        """Answer no more customers of the principal's owner. A second call keeps the time of the first."""
        return await self._transactions.write(lambda tx: _close(tx, principal), owner=principal.owner_id)

    async def reopen_account(self, principal: Principal) -> Owner:
        """Answer the customers of a closed owner again. Raises `BeingDeleted` once that was ordered."""
        return await self._transactions.write(lambda tx: _reopen(tx, principal), owner=principal.owner_id)

    async def owner(self, owner_id: UUID) -> Owner:
        return await self._database.read(lambda uow: owner_in(uow, owner_id), owner=owner_id)

    async def owners(self) -> Sequence[Owner]:
        return await self._database.read(lambda uow: Owners(uow).in_order(), owner=None)


_RULES: Final[Mapping[str, Callable[..., object]]] = {
    "name": valid_name,
    "email": normalized_email,
    "locale": valid_locale,
    "apology_text": valid_text,
    "handoff_text": valid_text,
    "nudge_text": valid_text,
    "send_policy": valid_policy,
    "stop_words": valid_stop_words,
    "start_words": valid_words,
}


def _validated(changes: OwnerChanges) -> dict[str, object]:
    """Return the columns to set, each checked by its rule."""
    given = {name: getattr(changes, name) for name in _RULES}
    return {name: _RULES[name](value) for name, value in given.items() if value is not UNSET}


def _register(uow: UnitOfWork, owner: Owner, keys: SealedOwnerKeys, user: User) -> None:
    try:
        Owners(uow).register(owner, keys)
        Users(uow).add(user)
    except IntegrityError as error:
        if not (is_duplicate_of(error, owners.c.email) or is_duplicate_of(error, users.c.email)):
            raise
        raise EmailTaken(f"{owner.email} is registered already; sign in, or use another address") from error


def _change(tx: Transaction, principal: Principal, columns: dict[str, object]) -> Owner:
    owner_id = principal.owner_id
    before = owner_in(tx.uow, owner_id)
    if not columns:
        return before
    try:
        Owners(tx.uow).change(owner_id, **columns)
    except IntegrityError as error:
        if not is_duplicate_of(error, owners.c.email):
            raise
        raise EmailTaken(f"{columns.get('email')} belongs to another owner; use another address") from error
    audit.record(tx, principal, "owner.changed", "owner", owner_id, {"fields": sorted(columns)})
    return owner_in(tx.uow, owner_id)


def _close(tx: Transaction, principal: Principal) -> Owner:
    owner_id = principal.owner_id
    if not held_owner(tx.uow, owner_id).is_closed:
        Owners(tx.uow).change(owner_id, closed_at=tx.now)
        audit.record(tx, principal, "owner.closed", "owner", owner_id)
    return owner_in(tx.uow, owner_id)


def _reopen(tx: Transaction, principal: Principal) -> Owner:
    owner = held_owner(tx.uow, principal.owner_id)
    if owner.purge_started_at is not None:
        raise BeingDeleted("everything of the organisation is being deleted; it cannot be reopened")
    if owner.is_closed:
        Owners(tx.uow).change(owner.id, closed_at=None)
        audit.record(tx, principal, "owner.reopened", "owner", owner.id)
    return owner_in(tx.uow, owner.id)
