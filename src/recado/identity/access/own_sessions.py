"""Where a user is signed in, as that user sees it, and how the user ends it."""

from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.pages import PAGE_SIZE, Page
from recado.core.errors import NotFound
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions
from recado.identity import audit
from recado.identity.access.models import IDLE
from recado.identity.access.repository import Sessions
from recado.identity.access.tokens import hash_of
from recado.identity.principal import Principal
from recado.identity.reading import IdentityReading, SessionFilters, SessionItem


class OwnSessions:
    """Shows and ends the sessions of who calls. An API key has none, nor has an operator."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, reading: IdentityReading) -> None:
        self._clock = clock
        self._transactions = Transactions(database, clock, ids)
        self._reading = reading

    async def page(
        self, principal: Principal, token: str | None, cursor: str | None = None, *, limit: int = PAGE_SIZE
    ) -> Page[SessionItem]:
        """Return a page of the caller's sessions, the newest first. `token` is that of the current one."""
        if principal.kind != "user" or principal.id is None:
            return Page([], None)
        now, token_hash = self._clock.now(), b"" if token is None else hash_of(token)
        asked = SessionFilters(principal.id, now, now - IDLE, token_hash)
        return await self._reading.sessions(principal.owner_id, asked, cursor, limit=limit)

    async def end(self, principal: Principal, session_id: UUID, token: str | None) -> bool:
        """End a session of the caller's, and return whether it was the one of this token. Raises `NotFound`."""

        def work(tx: Transaction) -> bool:
            sessions = Sessions(tx.uow)
            session = sessions.get(session_id)
            if session is None or session.user_id != principal.id or not sessions.end(session_id):
                raise NotFound(f"there is no session {session_id}")
            audit.record(tx, principal, "session.ended", "session", session_id)
            return token is not None and session.token_hash == hash_of(token)

        return await self._transactions.write(work, owner=principal.owner_id)
