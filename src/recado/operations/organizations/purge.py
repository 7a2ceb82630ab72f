"""Delete everything of an organisation that was closed for 30 days, and its keys with it.

    ask       its numbers are removed and its sessions end; from here on nothing brings it back
    wait      until nothing of it is under way; then what was accepted has its outcome
    delete    its rows, a page at a time, until a whole pass finds none; then its own row, which holds its keys
    again     once more, for what another process stored meanwhile

A job does it, in the name of the installation: the owner's own jobs are deleted too. Each step may be repeated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import MetaData

from recado.channels.repository import ChannelAccounts, ChannelAddresses, DirectoryGeneration, Orphans
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Conflict, InvalidInput, NotFound
from recado.core.event_log.repository import keep_last_number
from recado.core.event_log.tables import events
from recado.core.ids import SYSTEM_OWNER, Ids
from recado.core.queue.job import Claim, Done, JobResult, NewJob, Replayed, ReplayRefused, RetryIn, Status, StoredJob
from recado.core.queue.lane import HeldLanes
from recado.core.queue.storage import enqueue, inspection, lanes
from recado.core.queue.transactions import Transactions, UnlockedTransaction
from recado.identity import audit
from recado.identity.models import Owner
from recado.identity.principal import Principal
from recado.identity.repository import Owners, held_owner, owner_in
from recado.operations.storage.owner_rows import STEP, OwnerRows, Position, overwriting, tables_of_owners

log = structlog.get_logger(__name__)

PURGE: Final = "owner.purge"
CLOSED_FOR: Final = timedelta(days=30)
CACHES_FORGET: Final = timedelta(seconds=10)
"""Longer than any process caches whose a number is."""
WAIT: Final = timedelta(minutes=1)
_RUN: Final = timedelta(minutes=2)
"""After this a run gives the job back, and a new lease goes on."""
_OWN_STEPS: Final = frozenset({"owners", "orphans", "orphan_signers"})


class PurgeRefused(Conflict):
    """The organisation is open, or was closed for less than 30 days."""

    code = "operations.purge_refused"


@dataclass(frozen=True, slots=True)
class Ordered:
    """An order to delete an owner, and the job that does it."""

    owner: Owner
    job_id: UUID


@dataclass(frozen=True, slots=True)
class PurgeProgress:
    """How far a purge is. `rows` is None before the first was deleted, and again when all are."""

    status: Status
    """Of the job; `done` once everything is deleted."""
    rows: int | None
    note: str | None
    """Why the job waits, or what made it fail."""


class _Stopped(Exception):
    """The run must give the job back."""


class OwnerPurge:
    """Takes the order to delete an owner, and as the handler of a job does it."""

    name = PURGE
    time_limit = timedelta(minutes=5)

    def __init__(self, database: Database, clock: Clock, ids: Ids, tables: Callable[[], MetaData]) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._clock = clock
        self._tables = tables

    async def order(self, principal: Principal) -> Ordered:
        """Have everything of the principal's owner deleted. Raises `NotFound` and `PurgeRefused`.

        To order it again does no harm, and helps when the job of the first order became a dead letter.
        """
        # As the system: the job belongs to the installation.
        return await self._transactions.write(partial(_order, principal=principal), owner=None)

    async def progress(self, ordered: Ordered) -> PurgeProgress:
        """Return how far a purge is. Raises `NotFound` for one whose job was pruned."""

        def read(uow: UnitOfWork) -> PurgeProgress:
            job, owner = inspection.find(uow, ordered.job_id), Owners(uow).get(ordered.owner.id)
            if job is None:
                raise NotFound(f"there is no job {ordered.job_id}")
            return PurgeProgress(job.status, None if owner is None else owner.purged_rows, job.last_error)

        return await self._database.read(read, owner=None)

    async def run(self, claim: Claim) -> JobResult:
        owner_id = _owner_of(claim.job)
        if await self._database.read(lambda uow: _is_busy(uow, owner_id), owner=None):
            return RetryIn(WAIT, "something of the organisation is under way", counts=False)
        run = _Run(self._database, self._clock, claim, owner_id, self._clock.now() + _RUN)
        tables = [each for each in reversed(tables_of_owners(self._tables())) if each.table.name not in _OWN_STEPS]
        try:
            await run.delete_all(tables)
            if await self._database.write(partial(_delete_owner, owner_id=owner_id), owner=None):
                log.warning("owner.purged", owner=str(owner_id))
            await run.delete_all(tables)  # What was stored while the last pass went by.
        except _Stopped:
            return RetryIn(timedelta(), counts=False)
        return Done()

    # --- In transactions of the queue ---------------------------------------------------------------------------------

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:
        """Do nothing: the dead letter says what was wrong, and the order can be given again."""

    def replay(
        self,
        held: HeldLanes,  # noqa: ARG002
        job: StoredJob,
        *,
        force: bool,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
        ids: Ids,  # noqa: ARG002
    ) -> Replayed | ReplayRefused:
        return ReplayRefused(job.id, "give the order again: recado org purge")

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:  # noqa: ARG002
        return "an organisation that is being deleted cannot be kept any more"


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of the job: it deletes a page at a time, and stops between two of them."""

    database: Database
    clock: Clock
    claim: Claim
    owner_id: UUID
    end: datetime

    async def delete_all(self, tables: Sequence[OwnerRows]) -> None:
        """Delete the owner's rows of every table, the ones that refer to others first, until none is left."""
        while deleted := await self._pass(tables):
            log.info("owner.purging", owner=str(self.owner_id), rows=deleted)

    async def _pass(self, tables: Sequence[OwnerRows]) -> int:
        deleted = 0
        while step := await self._write(lambda uow: Orphans(uow).purge(self.owner_id, STEP)):
            deleted += step
        for table in tables:
            deleted += await self._delete_from(table)
        return deleted

    async def _delete_from(self, table: OwnerRows) -> int:
        after: Position | None = None
        deleted = 0
        while True:
            read = partial(_keys, table=table, owner_id=self.owner_id, after=after)
            keys, after = await self.database.read(read, owner=None)
            for n in range(0, len(keys), STEP):
                deleted += await self._write(
                    partial(_delete, table=table, owner_id=self.owner_id, keys=keys[n : n + STEP])
                )
            if after is None:
                return deleted
            self._stop_if_over()

    async def _write(self, delete: Callable[[UnitOfWork], int]) -> int:
        """Delete a page, and count it at the owner. Raises `_Stopped` when the run must end before it."""
        self._stop_if_over()

        def work(uow: UnitOfWork) -> int:
            deleted = delete(uow)
            if deleted:
                Owners(uow).count_purged(self.owner_id, deleted)
            return deleted

        return await self.database.write(work, owner=None)

    def _stop_if_over(self) -> None:
        if self.claim.is_lost or self.clock.now() >= self.end:
            raise _Stopped


def _order(tx: UnlockedTransaction, principal: Principal) -> Ordered:
    owner_id = principal.owner_id
    of_owner = tx.of_owner(owner_id)
    owner = held_owner(of_owner.uow, owner_id)
    if owner.closed_at is None:
        raise PurgeRefused("the organisation is open: close it first, and purge it 30 days later")
    if owner.purge_started_at is None and owner.closed_at + CLOSED_FOR > tx.now:
        raise PurgeRefused(f"the organisation may be purged from {owner.closed_at + CLOSED_FOR:%Y-%m-%d %H:%M} UTC on")
    if owner.purge_started_at is None:
        Owners(of_owner.uow).change(owner_id, purge_started_at=tx.now)
        _remove_numbers(of_owner.uow, tx.now)
        audit.record(of_owner, principal, "owner.purged", "owner", owner_id)
    job = NewJob(
        id=tx.ids.new(),
        name=PURGE,
        owner_id=SYSTEM_OWNER,
        created_at=tx.now,
        due_at=tx.now + CACHES_FORGET,
        payload={"owner_id": str(owner_id)},
    )
    enqueue.add(lanes.hold_for(tx.uow, [job]), [job])
    return Ordered(owner_in(of_owner.uow, owner_id), job.id)


def _delete_owner(uow: UnitOfWork, owner_id: UUID) -> bool:
    with overwriting(uow):
        return Owners(uow).delete(owner_id)


def _remove_numbers(uow: UnitOfWork, now: datetime) -> None:
    numbers, accounts = ChannelAddresses(uow), ChannelAccounts(uow)
    for number in numbers.all():
        numbers.change(number.id, removed_at=now)
        accounts.change(number.account_id, changed_in=DirectoryGeneration(uow).advance())


def _is_busy(uow: UnitOfWork, owner_id: UUID) -> bool:
    return inspection.has_unfinished(uow, owner_id)


def _keys(
    uow: UnitOfWork, table: OwnerRows, owner_id: UUID, after: Position | None
) -> tuple[list[Position], Position | None]:
    end = table.window_end(uow, after)
    return list(table.keys(uow, owner_id, after, end)), end


def _delete(uow: UnitOfWork, table: OwnerRows, owner_id: UUID, keys: Sequence[Position]) -> int:
    if table.table is events:  # Numbers go on after those of an owner who had the newest.
        keep_last_number(uow)
    return table.delete(uow, owner_id, keys)


def _owner_of(job: StoredJob) -> UUID:
    owner_id = job.payload.get("owner_id")
    if not isinstance(owner_id, str):
        raise InvalidInput(f"job {job.id} names no owner")
    return UUID(owner_id)
