"""Sessions of users: opened by a sign-in, told by a token, ended at once when something about the user changes.

A session is a row, so that it can be ended by us; the token in the browser only names it. A request with a session
writes at most once a minute.
"""

import secrets
from contextlib import suppress

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, StorageUnavailable
from recado.core.queue.transactions import Transaction
from recado.identity.access.models import LONGEST, USED_EVERY, Session
from recado.identity.access.repository import AllSessions, Sessions
from recado.identity.access.tokens import RandomBytes, hash_of, is_token, new_token
from recado.identity.models import User
from recado.identity.principal import Principal, user_principal
from recado.identity.repository import AllUsers


class SessionService:
    """Tells who bears a session."""

    def __init__(self, database: Database, clock: Clock, random_bytes: RandomBytes = secrets.token_bytes) -> None:
        self._database = database
        self._clock = clock
        self._random_bytes = random_bytes

    async def principal_of(self, token: str, *, source: str | None = None) -> Principal | None:
        """Return the user whose session this token names, or None. `source` is the address of the request."""
        if not is_token(token):
            return None
        token_hash = hash_of(token)
        found = await self._database.read(lambda uow: _session_and_user(uow, token_hash), owner=None)
        now = self._clock.now()
        if found is None or found[0].is_over(now) or not found[1].active:
            return None
        session, user = found
        if now - session.last_used_at >= USED_EVERY:
            # A database that cannot store now must not sign people out.
            with suppress(Busy, StorageUnavailable):
                await self._database.write(lambda uow: Sessions(uow).used(session.id, now), owner=session.owner_id)
        return user_principal(user, source)

    def new_token(self) -> str:
        """Return the token of a session that is about to be opened."""
        return new_token(self._random_bytes)


def open_session(tx: Transaction, user: User, token: str, source: str | None) -> Session:
    """Open a session of a user, in the transaction of the sign-in."""
    session = Session(
        id=tx.ids.new(),
        owner_id=user.owner_id,
        user_id=user.id,
        token_hash=hash_of(token),
        created_at=tx.now,
        last_used_at=tx.now,
        expires_at=tx.now + LONGEST,
        source=source,
    )
    return Sessions(tx.uow).add(session)


def _session_and_user(uow: UnitOfWork, token_hash: bytes) -> tuple[Session, User] | None:
    session = AllSessions(uow).of_token(token_hash)
    user = None if session is None else AllUsers(uow).get(session.user_id)
    return None if session is None or user is None else (session, user)
