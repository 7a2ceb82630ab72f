"""Proves the promise on the database as it stands: every accepted message ended in exactly one outcome, or will.

`recado verify` runs this. Each violation names the message and says what is wrong with it, so that it can be looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork

LATE: Final = timedelta(seconds=60)
UNKNOWN_TOO_LONG: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise: whose message, and how."""

    message_sid: str
    why: str


@dataclass(frozen=True, slots=True)
class Report:
    """What `recado verify` says. The last three are not violations, but somebody should know."""

    accepted: int
    open: int
    outcomes: Mapping[str, int]
    violations: Sequence[Violation]
    orphans: int = 0
    paused_accounts: int = 0
    undelivered: int = 0
    unknown_sends: int = field(default=0)


class Verifier:
    """Asks the database."""

    def __init__(self, database: Database, clock: Clock, answer_deadline_seconds: float) -> None:
        self._database = database
        self._clock = clock
        self._deadline = timedelta(seconds=answer_deadline_seconds)

    async def verify(self) -> Report:
        """Everything at one moment: a single snapshot."""
        now = self._clock.now()
        return await self._database.read(lambda uow: self._report(uow, now), owner=None)

    def _report(self, uow: UnitOfWork, now: datetime) -> Report:
        raise NotImplementedError
