"""The queries for sessions, links, API keys and failed sign-ins."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Table, bindparam, delete, select, tuple_, update

from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.repository import OwnedRepository, Repository, entities, of_owner, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.identity.access.models import ANSWERS_KEPT, KNOWN_FOR, Failures, IssuedKey, Session, UserLink
from recado.identity.tables import api_keys, idempotency_keys, sessions, sign_in_failures, user_links

_OF_TOKEN = Prepared(entities(sessions, Session).where(sessions.c.token_hash == bindparam("token_hash")))
_END = Prepared(delete(sessions).where(of_owner(sessions), sessions.c.id == bindparam("id")))
_END_OF_USER = Prepared(delete(sessions).where(of_owner(sessions), sessions.c.user_id == bindparam("user_id")))
_LINK_OF_TOKEN = Prepared(entities(user_links, UserLink).where(user_links.c.token_hash == bindparam("token_hash")))
_USE = Prepared(
    update(user_links)
    .where(of_owner(user_links), user_links.c.id == bindparam("of_id"), user_links.c.used_at.is_(None))
    .values(used_at=param(user_links.c.used_at, "now"))
)
_END_LINKS = Prepared(
    update(user_links)
    .where(of_owner(user_links), user_links.c.user_id == bindparam("of_user"), user_links.c.used_at.is_(None))
    .values(used_at=param(user_links.c.used_at, "now"))
)
_REVOKE_ALL = Prepared(
    update(api_keys)
    .where(of_owner(api_keys), api_keys.c.revoked_at.is_(None))
    .values(revoked_at=param(api_keys.c.revoked_at, "now"))
)
_KEYS = Prepared(owned(api_keys, IssuedKey).order_by(api_keys.c.id))

_FAILURES = Prepared(entities(sign_in_failures, Failures).where(sign_in_failures.c.subject == bindparam("subject")))
_new_failures = inserting(sign_in_failures)
_PUT_FAILURES = Prepared(
    _new_failures.on_conflict_do_update(
        index_elements=["subject"],
        set_={
            "failures": _new_failures.excluded.failures,
            "last_at": _new_failures.excluded.last_at,
            "blocked_until": _new_failures.excluded.blocked_until,
        },
    )
)


class Sessions(OwnedRepository[Session]):
    """The sessions of one owner's users."""

    table = sessions
    entity = Session
    noun = "session"

    def used(self, id_: UUID, now: datetime) -> None:
        self.change(id_, last_used_at=now)

    def end(self, id_: UUID) -> bool:
        """End a session; return whether it was there."""
        return self._run(_END, id=id_) == 1

    def end_of_user(self, user_id: UUID) -> int:
        """End all sessions of a user; return their number."""
        return self._run(_END_OF_USER, user_id=user_id)


class AllSessions(Repository[Session]):
    """The sessions of all owners: the owner is known only when the session is."""

    table = sessions
    entity = Session
    noun = "session"

    def of_token(self, token_hash: bytes) -> Session | None:
        return self._one(_OF_TOKEN, token_hash=token_hash)


class UserLinks(OwnedRepository[UserLink]):
    """The links of one owner's users."""

    table = user_links
    entity = UserLink
    noun = "link"

    def use(self, id_: UUID, now: datetime) -> bool:
        """Use a link up; return False when it was used already."""
        return self._run(_USE, of_id=id_, now=now) == 1

    def end_of_user(self, user_id: UUID, now: datetime) -> None:
        """Use up all links of a user."""
        self._run(_END_LINKS, of_user=user_id, now=now)


def end_access(uow: UnitOfWork, user_id: UUID, now: datetime) -> None:
    """End all that lets somebody in as a user without the password: sessions, and links to choose another."""
    Sessions(uow).end_of_user(user_id)
    UserLinks(uow).end_of_user(user_id, now)


class AllUserLinks(Repository[UserLink]):
    """The links of all owners' users: the owner is known only when the link is."""

    table = user_links
    entity = UserLink
    noun = "link"

    def of_token(self, token_hash: bytes) -> UserLink | None:
        return self._one(_LINK_OF_TOKEN, token_hash=token_hash)


class ApiKeys(OwnedRepository[IssuedKey]):
    """The API keys of one owner."""

    table = api_keys
    entity = IssuedKey
    noun = "API key"

    def revoke_all(self, now: datetime) -> None:
        self._run(_REVOKE_ALL, now=now)

    def in_order(self) -> Sequence[IssuedKey]:
        return self._many(_KEYS)


class AllApiKeys(Repository[IssuedKey]):
    """The API keys of all owners: a key names itself, and its row names the owner."""

    table = api_keys
    entity = IssuedKey
    noun = "API key"


class SignInFailures:
    """Failed sign-ins by account and address. They belong to no owner: nobody has signed in yet."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def hold(self, subjects: Iterable[bytes]) -> None:
        """Let no other transaction count these until this one ends. In order, so that none waits for each other."""
        for subject in sorted(subjects):
            self._uow.lock_by_name(f"failures of {subject.hex()}")

    def get(self, subject: bytes) -> Failures | None:
        found = self._uow.rows(_FAILURES, subject=subject)
        return Failures(*found[0]) if found else None

    def put(self, failures: Failures) -> None:
        self._uow.run(_PUT_FAILURES, **asdict(failures))


def _pruning(table: Table, past: ColumnElement[bool]) -> Prepared:
    """Return DELETE of up to `most` rows that are past."""
    key = tuple_(*table.primary_key.columns)
    rows = select(*table.primary_key.columns).where(past).limit(bindparam("most", type_=Integer))
    return Prepared(delete(table).where(key.in_(rows)))


_PRUNES: Final[Sequence[tuple[Prepared, timedelta]]] = (
    (_pruning(sessions, sessions.c.expires_at <= param(sessions.c.expires_at, "before")), timedelta(0)),
    (_pruning(user_links, user_links.c.expires_at <= param(user_links.c.expires_at, "before")), timedelta(0)),
    (_pruning(sign_in_failures, sign_in_failures.c.last_at <= param(sign_in_failures.c.last_at, "before")), KNOWN_FOR),
    (
        _pruning(idempotency_keys, idempotency_keys.c.created_at <= param(idempotency_keys.c.created_at, "before")),
        ANSWERS_KEPT,
    ),
)


def prune(uow: UnitOfWork, now: datetime, most: int) -> int:
    """Delete up to `most` sessions, links, failures and answers that are past. Return their number."""
    pruned = 0
    for statement, kept in _PRUNES:
        pruned += uow.run(statement, before=now - kept, most=most - pruned)
    return pruned
