"""Delete everything of an organisation that was closed for 30 days, and its keys with it.

    ask       its numbers are removed, its people and keys are let in no more; from here on nothing brings it back
    wait      until no customer of it waits for an answer; then what was accepted has its outcome
    delete    its rows, a page at a time, until a whole pass finds none; then its own row, which holds its keys
    again     once more, for what another process stored meanwhile
    remains   on SQLite: what deleted rows have left in the file

A job does it, in the name of the installation: the owner's own jobs are deleted too. Each step may be repeated. A run
that has taken long enough stores where the next one goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import MetaData

from recado.channels.repository import ChannelAccounts, ChannelAddresses, DirectoryGeneration
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, Conflict, NotFound
from recado.core.ids import SYSTEM_OWNER, Ids
from recado.core.queue.job import Claim, Done, JobResult, NewJob, Replayed, ReplayRefused, RetryIn, Status, StoredJob
from recado.core.queue.lane import HeldLanes
from recado.core.queue.storage import endings, enqueue, inspection, lanes
from recado.core.queue.transactions import LaneTransaction, Transactions, UnlockedTransaction
from recado.identity import audit
from recado.identity.access.repository import ApiKeys
from recado.identity.models import Owner
from recado.identity.principal import Principal
from recado.identity.repository import Owners, Users, held_owner, owner_in
from recado.operations.organizations.remains import Remains
from recado.operations.organizations.walk import Place, Walk
from recado.operations.storage.owner_rows import tables_of_owners

log = structlog.get_logger(__name__)

PURGE: Final = "owner.purge"
CLOSED_FOR: Final = timedelta(days=30)
CACHES_FORGET: Final = timedelta(seconds=10)
"""Longer than any process caches whose a number is."""
WAIT: Final = timedelta(minutes=1)
_RUN: Final = timedelta(minutes=2)
"""After this a run gives the job back, and a new lease goes on."""


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


class OwnerPurge:
    """Takes the order to delete an owner, and as the handler of a job does it."""

    name = PURGE
    time_limit = timedelta(minutes=5)

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        tables: Callable[[], MetaData],
        remains: Remains | None = None,
    ) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._clock = clock
        self._tables = tables
        self._remains = remains or Remains(database)

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
        place, end = Place.of(claim.job), self._clock.now() + _RUN

        def may_go_on() -> bool:
            return not claim.is_lost and self._clock.now() < end

        if place is not None:
            if await self._database.read(partial(_is_busy, owner_id=place.owner_id), owner=None):
                return RetryIn(WAIT, "something of the organisation is under way", counts=False)
            walk = Walk(self._database, tables_of_owners(self._tables()), place, may_go_on)
            is_over = await walk.go()
            log.info("owner.purging", owner=str(place.owner_id), rows=walk.deleted)
            if not claim.is_lost:
                left = None if is_over else walk.place
                await self._transactions.write_job(claim, partial(_store_place, job=claim.job, place=left))
            if not is_over:
                return RetryIn(timedelta(), counts=False)
            log.warning("owner.purged", owner=str(place.owner_id))
        return await self._remove_remains(may_go_on)

    async def _remove_remains(self, may_go_on: Callable[[], bool]) -> JobResult:
        try:
            is_over = await self._remains.remove(may_go_on)
        except Busy as error:
            return RetryIn(WAIT, str(error), counts=False)
        return Done() if is_over else RetryIn(timedelta(), counts=False)

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
        Users(of_owner.uow).disable_all()
        ApiKeys(of_owner.uow).revoke_all(tx.now)
        _remove_numbers(of_owner.uow, tx.now)
        audit.record(of_owner, principal, "owner.purged", "owner", owner_id)
    job = NewJob(
        id=tx.ids.new(),
        name=PURGE,
        owner_id=SYSTEM_OWNER,
        created_at=tx.now,
        due_at=tx.now + CACHES_FORGET,
        payload=Place(owner_id).as_payload(),
    )
    enqueue.add(lanes.hold_for(tx.uow, [job]), [job])
    return Ordered(owner_in(of_owner.uow, owner_id), job.id)


def _remove_numbers(uow: UnitOfWork, now: datetime) -> None:
    generation = DirectoryGeneration(uow).advance()  # Locks, before any number: as all who change numbers.
    numbers, accounts = ChannelAddresses(uow), ChannelAccounts(uow)
    for number in numbers.all():
        accounts.change(number.account_id, changed_in=generation)
        numbers.change(number.id, removed_at=now)


def _is_busy(uow: UnitOfWork, owner_id: UUID) -> bool:
    return inspection.has_unfinished(uow, owner_id)


def _store_place(tx: LaneTransaction, job: StoredJob, place: Place | None) -> None:
    """Let the next run go on there. Without a place the job names nobody any more: all that is left is remains."""
    endings.set_payload(tx.held, job, {} if place is None else place.as_payload())
