"""Requests that happen once: the first with a key does the work, later ones get its answer.

The answer is stored in the transaction of the work. So a request that was killed in the middle has done nothing, and
one whose answer was lost on the way has its answer stored.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.errors import Conflict, InvalidInput
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions, UnlockedTransaction
from recado.identity.access.models import ANSWERS_KEPT
from recado.identity.idempotency.repository import OnceRow, OnceRows

LOST: Final = timedelta(minutes=1)
"""A request without an answer after this time was killed. Another one may do its work, which then was not done."""


class KeyReused(InvalidInput):
    """The key was used for another request."""

    code = "identity.idempotency_key_reused"


class StillAtWork(Conflict):
    """The first request with this key is not answered yet."""

    code = "identity.idempotency_at_work"


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What the first request was answered."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class FirstRequest:
    """The right to do the work."""

    owner_id: UUID
    key: str
    began: datetime

    def answer(self, tx: Transaction, status: int, body: bytes) -> None:
        """Store the answer in the transaction of the work. Raises `StillAtWork` when another one has the right now."""
        if not OnceRows(tx.uow).answer(self.key, self.began, status, body):
            raise StillAtWork("this took so long that another request with its Idempotency-Key does it now")


class IdempotencyService:
    """Knows which requests were answered."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._transactions = Transactions(database, clock, ids)

    async def begin(self, owner_id: UUID, key: str, request_hash: bytes) -> FirstRequest | StoredAnswer:
        """Return the right to do the work, or the answer. Raises `KeyReused`, `StillAtWork`."""
        return await self._transactions.write(lambda tx: _begin(tx, owner_id, key, request_hash), owner=owner_id)

    async def abandon(self, request: FirstRequest) -> None:
        """Let the next request with this key do the work. One that has its answer keeps it."""

        def abandon(tx: UnlockedTransaction) -> None:
            OnceRows(tx.uow).abandon(request.key, request.began)

        await self._transactions.write(abandon, owner=request.owner_id)


def _begin(tx: Transaction, owner_id: UUID, key: str, request_hash: bytes) -> FirstRequest | StoredAnswer:
    rows = OnceRows(tx.uow)
    found = rows.of_key(key)
    if found is not None and found.created_at <= tx.now - (LOST if found.status is None else ANSWERS_KEPT):
        rows.forget(key)
        found = None
    if found is None:
        row = OnceRow(owner_id=owner_id, key=key, request_hash=request_hash, created_at=tx.now)
        if rows.add_if_absent(row):
            return FirstRequest(owner_id, key, tx.now)
        raise StillAtWork("a request with this Idempotency-Key has just begun; send it again in a second")
    if found.request_hash != request_hash:
        raise KeyReused("this Idempotency-Key was used for another request; a new request needs a new key")
    if found.status is None or found.body is None:
        raise StillAtWork("the first request with this Idempotency-Key is not answered yet; send it again in a second")
    return StoredAnswer(found.status, found.body)
