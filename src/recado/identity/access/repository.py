"""The queries for sessions, API keys and failed sign-ins."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, delete

from recado.core.database.prepared import Prepared, inserting
from recado.core.database.repository import OwnedRepository, Repository, entities, of_owner, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.identity.access.models import Failures, IssuedKey, Session
from recado.identity.tables import api_keys, sessions, sign_in_failures

_OF_TOKEN = Prepared(entities(sessions, Session).where(sessions.c.token_hash == bindparam("token_hash")))
_END = Prepared(delete(sessions).where(of_owner(sessions), sessions.c.id == bindparam("id")))
_END_OF_USER = Prepared(delete(sessions).where(of_owner(sessions), sessions.c.user_id == bindparam("user_id")))
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


class ApiKeys(OwnedRepository[IssuedKey]):
    """The API keys of one owner."""

    table = api_keys
    entity = IssuedKey
    noun = "API key"

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
