"""What people do with jobs: start a dead letter again, or take a job away.

Functions of a transaction that holds no lane yet. They hold the job's lane, so the caller may lock what is always
locked before a lane (the row of a bulk operation), and write beside the deed who did it.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from recado.core.errors import Conflict, NotFound
from recado.core.queue.job import Handler, Replayed, ReplayRefused, StoredJob
from recado.core.queue.storage import endings, inspection
from recado.core.queue.transactions import LaneTransaction, UnlockedTransaction


class Handlers:
    """The handlers that this release has, by the names of their jobs."""

    def __init__(self, handlers: Sequence[Handler]) -> None:
        self._handlers: Mapping[str, Handler] = {handler.name: handler for handler in handlers}

    def of(self, name: str) -> Handler:
        """Return the handler of a job's name. Raises `NotFound` for a name that this release does not know."""
        try:
            return self._handlers[name]
        except KeyError:
            raise NotFound(f"no handler knows jobs named {name!r}") from None

    def know(self, name: str) -> bool:
        """Return whether this release can run jobs of that name."""
        return name in self._handlers


def hold(tx: UnlockedTransaction, job_id: UUID, owner_id: UUID | None = None) -> tuple[LaneTransaction, StoredJob]:
    """Hold the lane of a job, and return the job. Raises `NotFound`, also when it is not this owner's."""
    found = inspection.hold_job(tx.uow, job_id)
    if found is None or owner_id not in (None, found[1].owner_id):
        raise NotFound(f"there is no job {job_id}; `recado queue dead` lists the dead letters")
    held, job = found
    return tx.holding(held), job


def retry(
    tx: LaneTransaction, job: StoredJob, handlers: Handlers, *, force: bool = False, by: str | None = None
) -> Replayed | ReplayRefused:
    """Start a dead letter again, in the name of a person. Raises `Conflict` for a job that is none."""
    if job.status != "dead":
        raise Conflict(f"job {job.id} is {job.status}, not dead; only dead letters can be retried")
    done = inspection.deed_of(tx.uow, job.id)
    if done.discarded_at is not None:
        return ReplayRefused(job.id, "it was discarded")
    if done.replayed_by is not None:
        return ReplayRefused(job.id, "it was retried before")
    result = handlers.of(job.name).replay(tx.held, job, force=force, now=tx.now, ids=tx.ids)
    if isinstance(result, Replayed):
        endings.mark_replayed(tx.held, job, result.by, by)
    return result


def discard(tx: LaneTransaction, job: StoredJob, handlers: Handlers, *, by: str | None = None) -> bool:
    """Take a dead letter off the list, or a waiting job out of the queue, in the name of a person.

    Return False when that was done before; nothing is changed then. Raises `Conflict` for any other job.
    """
    if job.status in ("running", "done", "discarded"):
        raise Conflict(f"job {job.id} is {job.status}; only dead letters and waiting jobs can be discarded")
    if job.status == "dead":
        done = inspection.deed_of(tx.uow, job.id)
        if done.discarded_at is not None:
            return False
        if done.replayed_by is not None:
            raise Conflict(f"job {job.id} was retried before, as job {done.replayed_by}; it is on no list any more")
    else:
        refusal = handlers.of(job.name).discarded(tx.held, job, tx.now, tx.ids)
        if refusal is not None:
            raise Conflict(refusal)
    endings.mark_discarded(tx.held, job, tx.now, by)
    return True
