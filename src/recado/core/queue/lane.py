"""Lanes: jobs that run one at a time, oldest first; and the proof that a transaction holds some.

A lane is 16 bytes that tell nothing of the people behind it. A customer's is derived with the owner's salt, a job's own
from the job's id, a schedule's from its name. What a lane is for is its `kind`, a column beside it.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal, NewType, TypeAlias, get_args
from uuid import UUID

from recado.core.database.unit_of_work import UnitOfWork

Lane = NewType("Lane", UUID)
LaneKind: TypeAlias = Literal["reply", "send", "job", "schedule"]
"""Replies to one customer at one number of ours; the sends between the two; one job alone; the runs of one schedule."""
LANE_KINDS: Final[tuple[LaneKind, ...]] = get_args(LaneKind)

_SEND: Final = 1


def lane_of_digest(digest: bytes) -> Lane:
    """Return the reply lane of a keyed hash: its first 16 bytes, with the lowest bit cleared."""
    return Lane(UUID(int=int.from_bytes(digest[:16]) & ~_SEND))


def send_lane(lane: Lane) -> Lane:
    """Return the lane of sends between the pair of a reply lane: the same lane with its lowest bit set."""
    return Lane(UUID(int=lane.int | _SEND))


def reply_lane(lane: Lane) -> Lane:
    """Return the reply lane of a pair, of which `lane` is the reply lane or the send lane."""
    return Lane(UUID(int=lane.int & ~_SEND))


def job_lane(job_id: UUID) -> Lane:
    """Return the lane of a job that runs beside all others."""
    return Lane(job_id)


def schedule_lane(name: str) -> Lane:
    """Return the lane of a schedule's runs. Its name is no secret, so the hash needs no key."""
    return lane_of_digest(hashlib.sha256(f"schedule {name}".encode()).digest())


@dataclass(frozen=True, slots=True, eq=False)
class HeldLanes:
    """Proof that a transaction holds some lanes: no other transaction can change their jobs before it ends.

    Made by `storage.lanes` and by a claim only. Functions that change jobs take it instead of a unit of work.
    """

    uow: UnitOfWork
    lanes: frozenset[Lane]

    def require(self, lane: Lane) -> None:
        """Raise `LaneNotHeld` unless the lane is among those held."""
        if lane not in self.lanes:
            raise LaneNotHeld(
                f"lane {lane} is changed by a transaction that does not hold it; this is a fault of Recado"
            )


class LaneNotHeld(RuntimeError):
    """A job of a lane was about to be changed without holding the lane."""
