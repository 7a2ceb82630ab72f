"""A lane: jobs that run one at a time, oldest first; and the proof that a transaction holds some."""

from dataclasses import dataclass

from recado.core.database.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, eq=False)
class HeldLanes:
    """Proof that a transaction holds some lanes: no other transaction can change their jobs before it ends.

    Made by `storage.lanes` and by a claim only. Functions that change jobs take it instead of a unit of work.
    """

    uow: UnitOfWork
    lanes: frozenset[str]

    def require(self, lane: str) -> None:
        """Raise `LaneNotHeld` unless the lane is among those held."""
        if lane not in self.lanes:
            raise LaneNotHeld(
                f"lane {lane} is changed by a transaction that does not hold it; this is a fault of Recado"
            )


class LaneNotHeld(RuntimeError):
    """A job of a lane was about to be changed without holding the lane."""
