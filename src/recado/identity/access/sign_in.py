"""Sign in with a password, sign out, and change the password.

A wrong password, an unknown address, a user who was disabled and one who has no password yet are told apart
neither by the answer nor by the time it takes.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions
from recado.identity import audit
from recado.identity.access.models import LONGEST
from recado.identity.access.repository import AllSessions, Sessions, end_access
from recado.identity.access.sessions import SessionService, open_session
from recado.identity.access.throttling import Try, count, forgive
from recado.identity.access.tokens import hash_of
from recado.identity.errors import PasswordRefused
from recado.identity.models import User, normalized_email
from recado.identity.passwords import PasswordCheck, Passwords, acceptable_password, normalized_password
from recado.identity.permissions import NotAllowed
from recado.identity.principal import Principal, user_principal
from recado.identity.repository import AllUsers, Users


@dataclass(frozen=True, slots=True)
class SignInForm:
    """What a person types to sign in, and the network address it comes from."""

    email: str
    password: str = field(repr=False)
    source: str | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The session that was opened. The token is shown now and never again."""

    user: User
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class WrongCredentials:
    """Address and password do not fit, or the user may not come in."""


@dataclass(frozen=True, slots=True)
class TooManyTries:
    """The next try is possible after this time."""

    wait: timedelta


@dataclass(frozen=True, slots=True)
class PasswordChanged:
    """The new password is in force, and every session and link of the user has ended."""

    user: User


class SignInService:
    """Lets users in who prove who they are."""

    def __init__(
        self, database: Database, clock: Clock, ids: Ids, passwords: Passwords, sessions: SessionService
    ) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._passwords = passwords
        self._sessions = sessions

    async def sign_in(
        self, given: SignInForm, *, replacing: str | None = None
    ) -> SignedIn | WrongCredentials | TooManyTries:
        """Open a session. `replacing` is the token of a session that the caller bears already: it ends."""
        email = _spelling(given.email)
        attempt = Try.of(email, given.source)
        wait = await self._transactions.write(lambda tx: count(tx, attempt), owner=None)
        if wait is not None:
            return TooManyTries(wait)
        user, check = await self._check(email, given.password)
        if user is None or not check.right or not user.active:
            return WrongCredentials()
        entry = _Entry(user, check.new_hash, attempt, self._sessions.new_token(), given.source, replacing)
        return await self._transactions.write(entry.enter, owner=None)

    async def sign_out(self, token: str, *, source: str | None = None) -> None:
        """End a session. A token that names none is no error: it is signed out already."""

        def work(tx: Transaction) -> None:
            user = _end(tx, token)
            if user is not None:
                principal = user_principal(user, source)
                audit.record(tx.of_owner(user.owner_id), principal, "user.signed_out", "user", user.id)

        await self._transactions.write(work, owner=None)

    async def change_password(
        self, principal: Principal, current: str, new: str
    ) -> PasswordChanged | WrongCredentials | TooManyTries:
        """Change the password of a signed-in user, and end all sessions of this user.

        Nothing is hashed before the try is counted: who is signed in must not keep others from signing in. Raises
        `PasswordRefused`, and `NotAllowed` for a principal that is no user.
        """
        user_id = principal.id
        if principal.kind != "user" or user_id is None:
            raise NotAllowed("only a user who is signed in has a password")
        user = await self._database.read(lambda uow: Users(uow).require(user_id), owner=principal.owner_id)
        if acceptable_password(new, about=user.email) == normalized_password(current):
            raise PasswordRefused("the new password is the old one; take another")
        attempt = Try.of(user.email, principal.source)
        wait = await self._transactions.write(lambda tx: count(tx, attempt), owner=None)
        if wait is not None:
            return TooManyTries(wait)
        if not (await self._passwords.verify(current, user.password_hash)).right:
            return WrongCredentials()
        new_hash = await self._passwords.hash(new, about=user.email)

        def work(tx: Transaction) -> PasswordChanged | WrongCredentials:
            of_owner = tx.of_owner(user.owner_id)
            if not _is_unchanged(of_owner, user):
                return WrongCredentials()
            forgive(tx, attempt)
            set_password(of_owner, principal, user, new_hash, by="password")
            return PasswordChanged(Users(of_owner.uow).require(user.id))

        return await self._transactions.write(work, owner=None)

    async def _check(self, email: str, password: str) -> tuple[User | None, PasswordCheck]:
        user = await self._database.read(lambda uow: AllUsers(uow).of_spelling(email), owner=None)
        return user, await self._passwords.verify(password, None if user is None else user.password_hash)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A user who has proved who they are, about to come in."""

    user: User
    new_hash: str | None
    attempt: Try
    token: str
    source: str | None
    replacing: str | None

    def enter(self, tx: Transaction) -> SignedIn | WrongCredentials:
        """Open the session, in one transaction with all that a sign-in changes."""
        user, of_owner = self.user, tx.of_owner(self.user.owner_id)
        if not _is_unchanged(of_owner, user):
            return WrongCredentials()
        forgive(tx, self.attempt)
        if self.replacing is not None:
            _end(tx, self.replacing)
        password_hash = user.password_hash if self.new_hash is None else self.new_hash
        Users(of_owner.uow).change(user.id, last_login_at=tx.now, password_hash=password_hash)
        open_session(of_owner, user, self.token, self.source)
        audit.record(of_owner, user_principal(user, self.source), "user.signed_in", "user", user.id)
        return SignedIn(Users(of_owner.uow).require(user.id), self.token, tx.now + LONGEST)


def set_password(
    tx: Transaction, principal: Principal, user: User, password_hash: str, *, by: Literal["password", "link"]
) -> None:
    """Store a user's new password, and end the user's sessions and links. `by` is what the user proved to be with."""
    Users(tx.uow).change(user.id, password_hash=password_hash)
    end_access(tx.uow, user.id, tx.now)
    audit.record(tx, principal, "user.password_changed", "user", user.id, {"by": by})


def _is_unchanged(tx: Transaction, user: User) -> bool:
    """Return whether the user may still come in with the password that was checked, outside this transaction."""
    Users(tx.uow).hold()
    now = Users(tx.uow).get(user.id)
    return now is not None and now.active and now.password_hash == user.password_hash


def _end(tx: Transaction, token: str) -> User | None:
    """End a session; return whose it was, or None when there is none."""
    session = AllSessions(tx.uow).of_token(hash_of(token))
    if session is None:
        return None
    of_owner = tx.of_owner(session.owner_id)
    return Users(of_owner.uow).get(session.user_id) if Sessions(of_owner.uow).end(session.id) else None


def _spelling(text: str) -> str:
    """Return the stored spelling of an e-mail address; of any other text the empty one, which no user has."""
    try:
        return normalized_email(text)
    except InvalidInput:
        return ""
