"""Links by which a user chooses a password: an invitation, and a reset of a lost password.

A link is used once and ends by itself. Where mail can be sent, a job makes the link and sends it, so that no queue ever
holds one; elsewhere the link is handed to who asked for it. A newer link ends the older ones of the same user, and so
does all that ends the user's sessions.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.ids import SYSTEM_OWNER, Ids
from recado.core.queue.transactions import Transaction, Transactions
from recado.identity import audit
from recado.identity.access.models import LASTS, LinkPurpose, UserLink
from recado.identity.access.repository import AllUserLinks, UserLinks
from recado.identity.access.sign_in import TooManyTries, set_password
from recado.identity.access.throttling import Try, count, count_link, forgive
from recado.identity.access.tokens import RandomBytes, hash_of, is_token, new_token
from recado.identity.errors import NoMail, TooManyLinks
from recado.identity.models import User, normalized_email
from recado.identity.passwords import Passwords
from recado.identity.principal import Principal, user_principal
from recado.identity.repository import AllUsers, Users
from recado.identity.users import NewUser, add_user, checked_form, require_user


@dataclass(frozen=True, slots=True)
class LinkOrder:
    """A link that a worker is to make and mail. `asked` is set for one that somebody asked for without signing in."""

    owner_id: UUID
    user_id: UUID
    purpose: LinkPurpose
    asked: "Asked | None" = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Where somebody asked for a link."""

    source: str | None


PutMail: TypeAlias = Callable[[Transaction, LinkOrder], object]
"""Lets a worker send a link to a user, from this transaction on."""


@dataclass(frozen=True, slots=True)
class Issued:
    """Whom a link was made for. Without mail the token is here, to be shown now and never again."""

    user: User
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ResetRequested:
    """A link is on its way, if a user has the address."""


@dataclass(frozen=True, slots=True)
class LinkOver:
    """The link was used, has ended, or never was one."""


class LinkService:
    """Makes links and takes them. `put_mail` is None where no mail can be sent."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        passwords: Passwords,
        put_mail: PutMail | None,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._database = database
        self._clock = clock
        self._transactions = Transactions(database, clock, ids)
        self._passwords = passwords
        self._put_mail = put_mail
        self._random_bytes = random_bytes

    async def invite(self, principal: Principal, form: NewUser) -> Issued:
        """Add a user who chooses a password by a link. Raises what `UserService.add` raises, and `TooManyLinks`."""
        checked = checked_form(principal, form)
        await self._count(principal, None)
        token = new_token(self._random_bytes)

        def work(tx: Transaction) -> Issued:
            user = add_user(tx, principal, checked, "user.invited", None)
            return self._issue(tx, user, token)

        return await self._transactions.write(work, owner=principal.owner_id)

    async def renew(self, principal: Principal, user_id: UUID) -> Issued:
        """Give a user a new link: an invitation until there is a password, then a reset.

        Raises `NotFound`, `NotAllowed`, `TooManyLinks`, and `InvalidInput` for a user who was disabled.
        """
        await self._count(principal, user_id)
        token = new_token(self._random_bytes)

        def work(tx: Transaction) -> Issued:
            user = require_user(tx, principal, user_id)
            if not user.active:
                raise InvalidInput(f"{user.email} was disabled; enable them first: recado users enable {user.id}")
            audit.record(tx, principal, "user.link_requested", "user", user.id)
            return self._issue(tx, user, token)

        return await self._transactions.write(work, owner=principal.owner_id)

    async def request_reset(self, email: str, source: str | None) -> ResetRequested | TooManyTries:
        """Send a link to the user with this address, for every caller who asks. It does not tell whether there is one.

        Nor does its time: an unknown address gets a job, too. What differs is left to the worker. Raises
        `InvalidInput`, and `NoMail` where no mail can be sent.
        """
        put_mail = self._put_mail
        if put_mail is None:
            raise NoMail("this installation sends no mail; an operator can make a link: recado users reset")
        spelling = normalized_email(email)
        attempt = Try.of(spelling, source, "reset")

        def work(tx: Transaction) -> ResetRequested | TooManyTries:
            wait = count(tx, attempt)
            if wait is not None:
                return TooManyTries(wait)
            user, nobody = AllUsers(tx.uow).of_spelling(spelling), tx.ids.new()
            whose, who = (user.owner_id, user.id) if user is not None and user.active else (SYSTEM_OWNER, nobody)
            put_mail(tx, LinkOrder(whose, who, "reset", Asked(source)))
            return ResetRequested()

        return await self._transactions.write(work, owner=None)

    async def user_of(self, token: str) -> User | LinkOver:
        """Return the user of a link that can still be used."""
        found = await self._find(token)
        return LinkOver() if found is None else found[1]

    async def redeem(self, token: str, password: str, source: str | None) -> User | LinkOver:
        """Set the password of a link's user, who may sign in then. Raises `PasswordRefused`."""
        found = await self._find(token)
        if found is None:
            return LinkOver()
        link, user = found
        password_hash = await self._passwords.hash(password, about=user.email)

        def work(tx: Transaction) -> User | LinkOver:
            of_owner = tx.of_owner(user.owner_id)
            Users(of_owner.uow).hold()
            if not link.is_valid(tx.now) or not UserLinks(of_owner.uow).use(link.id, tx.now):
                return LinkOver()
            set_password(of_owner, user_principal(user, source), user, password_hash, by="link")
            # Who has the link may sign in from here at once, however often others have guessed meanwhile.
            forgive(tx, Try.of(user.email, source), counted=False)
            return Users(of_owner.uow).require(user.id)

        return await self._transactions.write(work, owner=None)

    async def _count(self, principal: Principal, user_id: UUID | None) -> None:
        """Raise `TooManyLinks` when another has to wait. Operators could send mails without us.

        Nothing is counted for a user of another owner (`NotFound`).
        """
        if principal.kind == "operator":
            return
        owner_id = principal.owner_id

        def work(tx: Transaction) -> timedelta | None:
            if user_id is not None:
                Users(tx.of_owner(owner_id).uow).require(user_id)
            return count_link(tx, owner_id, user_id)

        wait = await self._transactions.write(work, owner=None)
        if wait is not None:
            raise TooManyLinks(wait)

    async def _find(self, token: str) -> tuple[UserLink, User] | None:
        if not is_token(token):
            return None
        now, token_hash = self._clock.now(), hash_of(token)
        found = await self._database.read(lambda uow: _link_and_user(uow, token_hash), owner=None)
        return found if found is not None and found[0].is_valid(now) and found[1].active else None

    def _issue(self, tx: Transaction, user: User, token: str) -> Issued:
        purpose: LinkPurpose = "invite" if user.password_hash is None else "reset"
        if self._put_mail is not None:
            self._put_mail(tx, LinkOrder(user.owner_id, user.id, purpose))
            return Issued(user, None)
        make_link(tx, user, purpose, token)
        return Issued(user, token)


def make_link(tx: Transaction, user: User, purpose: LinkPurpose, token: str) -> UserLink:
    """Store a new link of a user, and end the older ones."""
    UserLinks(tx.uow).end_of_user(user.id, tx.now)
    link = UserLink(
        id=tx.ids.new(),
        owner_id=user.owner_id,
        user_id=user.id,
        purpose=purpose,
        token_hash=hash_of(token),
        created_at=tx.now,
        expires_at=tx.now + LASTS[purpose],
    )
    return UserLinks(tx.uow).add(link)


def _link_and_user(uow: UnitOfWork, token_hash: bytes) -> tuple[UserLink, User] | None:
    link = AllUserLinks(uow).of_token(token_hash)
    user = None if link is None else AllUsers(uow).get(link.user_id)
    return None if link is None or user is None else (link, user)
