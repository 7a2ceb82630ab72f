"""Check the promise on the database: every accepted message has exactly one outcome, or a job that will give it one.

`recado verify` runs this. Each violation names its message and says what is wrong with it. All checks read one
snapshot, so a message that changes meanwhile is seen either before or after the change.

Cost with n messages: open rows are found through partial indexes that hold only open rows (messages without a turn,
unsettled turns and answers, attempts in flight, hand-offs). Closed rows are read in order a few times (the counts, and
once for each check marked `SCAN`) with lookups by index; nothing is sorted and no join grows faster than n. A million
messages (1.6 GB) took twelve seconds on two cores. Writers do not wait, but SQLite cannot truncate its write-ahead log
while the snapshot is open.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.operations.storage.verification import CHECKS, Check, VerificationQueries

NO_REASON: Final = "none"
"""The key that counts suppressions without a reason. Each of them is a violation."""
MAX_LISTED: Final = 1_000
"""At most this many violations are listed; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A message for which the promise is broken, and the reason."""

    message_sid: str
    why: str


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """The result of `recado verify`. Fields after `more` are no violations, but an operator should know them."""

    accepted: int
    open: int
    outcomes: Mapping[str, int]
    violations: Sequence[Violation]
    suppressed: Mapping[str, int] = field(default_factory=dict)
    """The number of suppressed messages by reason."""
    more: int = 0
    """The number of violations that are not listed."""
    orphans: int = 0
    paused_accounts: int = 0
    undelivered: int = 0
    """Provider messages that were accepted but not delivered."""
    resent: int = 0
    """Parts that arrived more than once because their owner's policy or an operator sent them again, unconfirmed."""
    unknown_sends: int = 0
    unclaimed: int = 0
    """Messages that no worker has claimed within the answer deadline. Probably no worker is running."""

    @property
    def kept(self) -> bool:
        """Whether there are no violations."""
        return not self.violations

    def document(self) -> dict[str, object]:
        """Return the JSON document of `recado verify --json`."""
        return {
            "accepted": self.accepted,
            "open": self.open,
            "outcomes": dict(self.outcomes),
            "suppressed": dict(self.suppressed),
            "violations": [{"message_sid": found.message_sid, "why": found.why} for found in self.violations],
            "more": self.more,
            "orphans": self.orphans,
            "paused_accounts": self.paused_accounts,
            "undelivered": self.undelivered,
            "resent": self.resent,
            "unknown_sends": self.unknown_sends,
            "unclaimed": self.unclaimed,
        }


# --- Running the checks -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Findings:
    """The violations found so far: a bounded list, and the number of further ones."""

    listed: list[Violation] = field(default_factory=list)
    more: int = 0

    @property
    def room(self) -> int:
        return MAX_LISTED - len(self.listed)


class Verifier:
    """Runs all checks. `failed_statuses` are the providers' statuses of messages that were not delivered."""

    def __init__(
        self, database: Database, clock: Clock, answer_deadline_seconds: float, failed_statuses: Collection[str]
    ) -> None:
        self._database = database
        self._clock = clock
        self._deadline = timedelta(seconds=answer_deadline_seconds)
        self._failed_statuses = failed_statuses

    async def verify(self, owner_id: UUID | None = None) -> VerificationReport:
        """Check the messages of one owner, or of all owners, on a single snapshot."""
        queries = VerificationQueries(self._clock.now(), self._deadline, self._failed_statuses, owner_id)
        return await self._database.read(lambda uow: _report(uow, queries), owner=owner_id)


def _report(uow: UnitOfWork, queries: VerificationQueries) -> VerificationReport:
    uow.allow_long_statements()
    outcomes, findings = queries.outcomes(uow), _Findings()
    for check in CHECKS:
        _run_check(uow, queries, check, findings)
    return VerificationReport(
        accepted=sum(count for _, _, count in outcomes),
        open=sum(count for outcome, _, count in outcomes if outcome is None),
        outcomes=_sum_by_key((outcome, count) for outcome, _, count in outcomes if outcome is not None),
        suppressed=_sum_by_key(
            (reason or NO_REASON, count) for outcome, reason, count in outcomes if outcome == "suppressed"
        ),
        violations=findings.listed,
        more=findings.more,
        **queries.totals(uow),
    )


def _run_check(uow: UnitOfWork, queries: VerificationQueries, check: Check, findings: _Findings) -> None:
    room = findings.room
    found = queries.found(uow, check, room + 1)
    if len(found) > room:
        findings.more += queries.count(uow, check) - room
    findings.listed.extend(Violation(message_sid, check.why) for message_sid in found[:room])


def _sum_by_key(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, count in counts:
        sums[name] = sums.get(name, 0) + count
    return sums
