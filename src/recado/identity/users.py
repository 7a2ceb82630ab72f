"""Users, the people of organisations: add, change their role, let them in or not.

Two rules hold for all of it. No one changes a user who may do more than they do themselves, nor makes one. And an
organisation keeps an owner who can sign in. What changes a user's rights ends the user's sessions and links: a
link that was made before must not let its holder in with other rights.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from recado.core.clock import Clock
from recado.core.database.constraints import is_duplicate_of
from recado.core.database.engine import Database
from recado.core.database.types import JsonValue
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import NotFound
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions
from recado.identity import audit
from recado.identity.access.repository import end_access
from recado.identity.audit import AuditAction
from recado.identity.errors import EmailTaken, LastOwner
from recado.identity.models import Role, User, normalized_email, valid_name
from recado.identity.passwords import Passwords
from recado.identity.permissions import OF_ROLE, NotAllowed, valid_role
from recado.identity.principal import Principal
from recado.identity.repository import AllUsers, Users, lasting_owner, owner_in
from recado.identity.tables import users


@dataclass(frozen=True, slots=True)
class NewUser:
    """A person to be added."""

    email: str
    role: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChanges:
    """The values to change; None stays as it is."""

    name: str | None = None
    role: str | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class _UserStep:
    """One change of a user, as the audit tells it."""

    action: AuditAction
    columns: Mapping[str, object]
    detail: Mapping[str, JsonValue] | None = None
    ends_access: bool = False


class UserService:
    """What entry points need to know and change of users."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, passwords: Passwords) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._passwords = passwords

    async def add(self, principal: Principal, form: NewUser, password: str) -> User:
        """Add a user who can sign in at once. Raises `EmailTaken`, `PasswordRefused`, `NotAllowed`, `InvalidInput`."""
        checked = checked_form(principal, form)
        password_hash = await self._passwords.hash(password, about=checked.email)
        return await self._transactions.write(
            lambda tx: add_user(tx, principal, checked, "user.added", password_hash), owner=principal.owner_id
        )

    async def rename(self, principal: Principal, user_id: UUID, name: str) -> User:
        """Change the name that stands at what the user does. Raises what `change` raises."""
        return await self.change(principal, user_id, UserChanges(name=name))

    async def change_role(self, principal: Principal, user_id: UUID, role: str) -> User:
        """Give a user another role, and end the user's sessions and links. Raises what `change` raises."""
        return await self.change(principal, user_id, UserChanges(role=role))

    async def disable(self, principal: Principal, user_id: UUID) -> User:
        """Let a user in no more, and end the user's sessions and links. Raises what `change` raises."""
        return await self.change(principal, user_id, UserChanges(active=False))

    async def enable(self, principal: Principal, user_id: UUID) -> User:
        """Let a user in again. Raises what `change` raises."""
        return await self.change(principal, user_id, UserChanges(active=True))

    async def change(
        self, principal: Principal, user_id: UUID, changes: UserChanges, *, check: Callable[[User], None] | None = None
    ) -> User:
        """Change a user, all or nothing. `check` may refuse the user as stored, by raising.

        Raises `NotFound`, `NotAllowed`, `LastOwner` and `InvalidInput`.
        """
        name = None if changes.name is None else valid_name(changes.name)
        role = None if changes.role is None else valid_role(changes.role)

        def work(tx: Transaction) -> User:
            user = require_user(tx, principal, user_id)
            if check is not None:
                check(user)
            if role is not None:
                _require_power_over(principal, role)
            for step in _steps(user, name, role, changes.active):
                if step.ends_access:
                    _keep_an_owner(tx, Users(tx.uow).require(user_id))
                    end_access(tx.uow, user_id, tx.now)
                Users(tx.uow).change(user_id, **step.columns)
                audit.record(tx, principal, step.action, "user", user_id, step.detail)
            return Users(tx.uow).require(user_id)

        return await self._transactions.write(work, owner=principal.owner_id)

    async def users(self, owner_id: UUID | None) -> Sequence[User]:
        """Return the users of one owner, or of all; raises `NotFound` for an unknown owner."""
        if owner_id is None:
            return await self._database.read(lambda uow: AllUsers(uow).in_order(), owner=None)
        return await self._database.read(lambda uow: _users_of(uow, owner_id), owner=owner_id)

    async def owner_of(self, user_id: UUID) -> UUID:
        """Return the owner of a user, for operators who may see every owner's. Raises `NotFound`."""
        user = await self._database.read(lambda uow: AllUsers(uow).get(user_id), owner=None)
        if user is None:
            raise NotFound(f"there is no user {user_id}; `recado users list` shows them")
        return user.owner_id


@dataclass(frozen=True, slots=True)
class CheckedForm:
    """A person to be added, whose values can be stored."""

    email: str
    role: Role
    name: str | None


def checked_form(principal: Principal, form: NewUser) -> CheckedForm:
    """Return the values of a new user. Raises `InvalidInput`, and `NotAllowed` for a role above the principal's."""
    role = valid_role(form.role)
    _require_power_over(principal, role)
    return CheckedForm(normalized_email(form.email), role, None if form.name is None else valid_name(form.name))


def add_user(
    tx: Transaction, principal: Principal, form: CheckedForm, action: AuditAction, password_hash: str | None
) -> User:
    """Store a new user of the principal's owner.

    Raises `EmailTaken`, and `NotFound` or `BeingDeleted` for an owner that is gone or going.
    """
    lasting_owner(tx.uow, principal.owner_id)
    user = User(
        id=tx.ids.new(),
        owner_id=principal.owner_id,
        email=form.email,
        role=form.role,
        name=form.name,
        password_hash=password_hash,
        created_at=tx.now,
    )
    try:
        Users(tx.uow).add(user)
    except IntegrityError as error:
        if not is_duplicate_of(error, users.c.email):
            raise
        raise EmailTaken(f"{form.email} is registered already; use another address") from error
    audit.record(tx, principal, action, "user", user.id, {"role": user.role})
    return user


def require_user(tx: Transaction, principal: Principal, user_id: UUID) -> User:
    """Return a user whom the principal may change. Raises `NotFound`, `NotAllowed` and `BeingDeleted`.

    It holds the organisation's users until the transaction ends: of two owners who remove each other one stays.
    """
    lasting_owner(tx.uow, principal.owner_id)
    Users(tx.uow).hold()
    user = Users(tx.uow).require(user_id)
    _require_power_over(principal, user.role)
    return user


def _require_power_over(principal: Principal, role: Role) -> None:
    if not OF_ROLE[role] <= frozenset(principal.permissions):
        raise NotAllowed(f"{principal.name} may not do this: the role {role} may do more than they may")


def _keep_an_owner(tx: Transaction, leaving: User) -> None:
    """Raise `LastOwner` when no other user could sign in as an owner."""
    remaining = {user.id for user in Users(tx.uow).owners_who_can_enter()} - {leaving.id}
    if leaving.role == "owner" and leaving.can_enter and not remaining:
        raise LastOwner(f"{leaving.email} is the last owner who can sign in; make another user an owner first")


def _steps(user: User, name: str | None, role: Role | None, active: bool | None) -> Iterator[_UserStep]:
    """Yield what changes. Who is enabled and gets another role loses sessions and links all the same."""
    if name is not None and name != user.name:
        yield _UserStep("user.renamed", {"name": name})
    if active is True and not user.active:
        yield _UserStep("user.enabled", {"active": True})
    if role is not None and role != user.role:
        yield _UserStep("user.role_changed", {"role": role}, {"from": user.role, "to": role}, ends_access=True)
    if active is False and user.active:
        yield _UserStep("user.disabled", {"active": False}, ends_access=True)


def _users_of(uow: UnitOfWork, owner_id: UUID) -> Sequence[User]:
    owner_in(uow, owner_id)
    return Users(uow).in_order()
