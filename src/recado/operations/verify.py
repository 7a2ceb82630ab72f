"""Check the promise on the database: every accepted message has exactly one outcome, or a job that will give it one.

`recado verify` runs this. Each violation names its message and says what is wrong with it. All checks read one
snapshot, so a message that changes meanwhile is seen either before or after the change.

Cost with n messages: open rows are found through partial indexes that hold only open rows (messages without a turn,
unsettled turns and answers, attempts in flight, hand-offs). Closed rows are read in order a few times (the counts, and
once for each check marked `SCAN`) with lookups by index; nothing is sorted and no join grows faster than n. A million
messages (1.6 GB) took twelve seconds on two cores. Writers do not wait, but SQLite cannot truncate its write-ahead log
while the snapshot is open.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, get_args
from uuid import UUID

from sqlalchemy import TextClause, bindparam, text

from recado.channels.twilio.webhook.dtos import FAILED
from recado.conversation.models import OUTCOMES, Suppression
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.types import Id, Moment, ProviderId
from recado.core.database.unit_of_work import UnitOfWork

COMMIT_GRACE: Final = timedelta(seconds=60)
"""An answer may be committed this long after the deadline of its turn."""
SENDING_GRACE: Final = timedelta(seconds=60)
"""A create call may stay `sending` this long after its deadline. Its worker's lease has ended by then."""
UNKNOWN_GRACE: Final = timedelta(minutes=15)
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
            "unknown_sends": self.unknown_sends,
            "unclaimed": self.unclaimed,
        }


# --- The checks -------------------------------------------------------------------------------------------------------

# Every check selects one column, the SID of the message. Without an owner these filters become TRUE.
_OWNER_FILTERS: Final = {"{mine}": "m.owner_id = :owner", "{its}": "a.owner_id = :owner"}
_UNFINISHED = "status IN ('collecting', 'waiting', 'running')"
_OUTCOMES = ", ".join(f"'{outcome}'" for outcome in OUTCOMES)
_REASONS = ", ".join(f"'{reason}'" for reason in get_args(Suppression))

# An answer is named by the newest message of its turn. An answer without a turn (or whose messages belong to a replay
# now) is named by the newest message of its conversation.
_NAMED_BY = """coalesce(
    (SELECT provider_message_id FROM messages WHERE turn_id = a.turn_id ORDER BY id DESC LIMIT 1),
    (SELECT provider_message_id FROM messages WHERE conversation_id = a.conversation_id ORDER BY id DESC LIMIT 1)
) AS provider_message_id"""

# Ids are bytes on SQLite and UUIDs on PostgreSQL; in a job's payload they are text with hyphens.
_PLAIN_ID = {"sqlite": "lower(hex(a.id))", "postgresql": "replace(a.id::text, '-', '')"}
_NAMES_IT = "replace(CAST(j.payload AS TEXT), '-', '') LIKE '%' || {plain_id} || '%'"


@dataclass(frozen=True, slots=True)
class Check:
    """One way to break the promise: the sentence for people, and the query for the SIDs of the messages."""

    name: str
    why: str
    sql: str


CHECKS: Final = (
    Check(
        "unturned",
        "it has no outcome, and no unfinished job of its lane will give it one",
        f"""SELECT m.provider_message_id FROM messages m
            WHERE m.turn_id IS NULL AND m.outcome IS NULL AND {{mine}} AND NOT EXISTS (
                SELECT 1 FROM message_queue j WHERE j.lane = m.lane AND j.{_UNFINISHED} AND j.turn_id IS NULL)""",
    ),
    Check(  # SCAN. The send job of the answer has the turn id too.
        "turned",
        "it has no outcome, and no unfinished job of its turn or answer will give it one",
        f"""SELECT m.provider_message_id FROM messages m
            WHERE m.turn_id IS NOT NULL AND m.outcome IS NULL AND {{mine}} AND NOT EXISTS (
                SELECT 1 FROM message_queue j WHERE j.turn_id = m.turn_id AND j.{_UNFINISHED})""",
    ),
    Check(  # An isolated job waits without counting until its claim; so does a replay or a released turn.
        "late",
        "its turn has no answer a minute after the answer's deadline",
        """SELECT m.provider_message_id FROM turns t JOIN messages m ON m.turn_id = t.id
            WHERE t.settled_at IS NULL AND t.deadline_at < :late AND {mine}
                AND NOT EXISTS (SELECT 1 FROM answers a WHERE a.turn_id = t.id)
                AND NOT EXISTS (SELECT 1 FROM message_queue j WHERE j.turn_id = t.id AND (
                    (j.status IN ('waiting', 'running') AND j.crashes > 0 AND j.due_at <= t.deadline_at)
                    OR (j.status = 'waiting' AND j.crashes = 0 AND j.attempts = 0
                        AND (t.replay_of IS NOT NULL OR t.resumes))))""",
    ),
    Check(
        "unsent",
        "an answer to it has no final state, and no unfinished job will send it",
        f"""SELECT {_NAMED_BY} FROM answers a WHERE a.settled_at IS NULL AND {{its}} AND NOT EXISTS (
                SELECT 1 FROM message_queue j WHERE j.lane = 'send:' || a.lane AND j.{_UNFINISHED} AND {_NAMES_IT})""",
    ),
    Check(
        "sending",
        "a send to its lane is `sending` past its worker's lease",
        f"""SELECT {_NAMED_BY} FROM attempts x JOIN answers a ON a.id = x.answer_id
            WHERE x.state IN ('sending', 'unknown') AND x.state = 'sending' AND x.deadline_at < :sending AND {{its}}""",
    ),
    Check(
        "unknown",
        "a send to its lane has been `unknown` for more than 15 minutes",
        f"""SELECT {_NAMED_BY} FROM attempts x JOIN answers a ON a.id = x.answer_id
            WHERE x.state IN ('sending', 'unknown') AND x.state = 'unknown' AND x.started_at < :unknown AND {{its}}""",
    ),
    Check(  # Reads the turns once. An answer is unique in its turn, but a replay is another turn.
        "replayed_twice",
        "it was answered twice: by its turn and by a replay",
        """WITH RECURSIVE chain(turn_id, earlier_id) AS (
                SELECT id, replay_of FROM turns WHERE replay_of IS NOT NULL
                UNION ALL
                SELECT chain.turn_id, t.replay_of FROM chain JOIN turns t ON t.id = chain.earlier_id
                WHERE t.replay_of IS NOT NULL)
            SELECT m.provider_message_id FROM chain
            JOIN answers a ON a.turn_id = chain.turn_id AND a.author = 'agent' AND a.state = 'accepted'
            JOIN answers b ON b.turn_id = chain.earlier_id AND b.author = 'agent' AND b.state = 'accepted'
            JOIN messages m ON m.turn_id = chain.turn_id WHERE {mine}""",
    ),
    Check(  # SCAN
        "person_and_agent",
        "it was answered twice: by a person and by the agent",
        """SELECT m.provider_message_id FROM messages m
            JOIN answers p ON p.id = m.answered_by AND p.author = 'person'
            JOIN answers a ON a.turn_id = m.turn_id AND a.author = 'agent' AND a.state = 'accepted'
            WHERE m.outcome IN ('answered', 'superseded') AND {mine}""",
    ),
    Check(  # Reads one small index only.
        "sent_twice",
        "sent_twice: one part of an answer to it went out under two ids",
        f"""SELECT {_NAMED_BY} FROM (SELECT part_id FROM sent_messages GROUP BY part_id HAVING count(*) > 1) twice
            JOIN answer_parts p ON p.id = twice.part_id JOIN answers a ON a.id = p.answer_id WHERE {{its}}""",
    ),
    Check(  # SCAN
        "answered_by_nothing",
        "it is `answered`, but by no accepted answer",
        """SELECT m.provider_message_id FROM messages m WHERE m.outcome = 'answered' AND {mine} AND NOT EXISTS (
                SELECT 1 FROM answers a
                WHERE a.id = m.answered_by AND a.author IN ('agent', 'person') AND a.state = 'accepted')""",
    ),
    Check(  # SCAN
        "answered_in_part",
        "it is `answered`, but not every part of the answer was accepted",
        """SELECT m.provider_message_id FROM messages m JOIN answers a ON a.id = m.answered_by
            WHERE m.outcome = 'answered' AND {mine} AND (
                NOT EXISTS (SELECT 1 FROM answer_parts p WHERE p.answer_id = a.id)
                OR EXISTS (SELECT 1 FROM answer_parts p WHERE p.answer_id = a.id AND (p.state <> 'accepted'
                    OR NOT EXISTS (SELECT 1 FROM sent_messages s WHERE s.part_id = p.id))))""",
    ),
    Check(  # SCAN
        "apologised_without_apology",
        "it is `apologised`, but no apology was accepted",
        """SELECT m.provider_message_id FROM messages m WHERE m.outcome = 'apologised' AND {mine} AND NOT EXISTS (
                SELECT 1 FROM answers a
                WHERE a.id = m.answered_by AND a.author = 'apology' AND a.state = 'accepted')""",
    ),
    Check(  # SCAN. After a replay the apology still has the id of the turn that failed.
        "apologised_without_dead_letter",
        "it is `apologised`, but there is no dead letter",
        """SELECT m.provider_message_id FROM messages m JOIN answers a ON a.id = m.answered_by
            WHERE m.outcome = 'apologised' AND {mine} AND NOT EXISTS (
                SELECT 1 FROM message_queue j WHERE j.turn_id = a.turn_id AND j.status = 'dead')""",
    ),
    Check(  # SCAN. A person's answer covers all messages that waited in the lane, of any turn.
        "superseded_by_nothing",
        "it is `superseded`, but no message of its turn is answered",
        """SELECT m.provider_message_id FROM messages m WHERE m.outcome = 'superseded' AND {mine}
            AND NOT EXISTS (SELECT 1 FROM messages n WHERE n.turn_id = m.turn_id AND n.outcome = 'answered')
            AND NOT EXISTS (
                SELECT 1 FROM answers a JOIN conversations c ON c.lane = a.lane
                JOIN messages n ON n.conversation_id = c.id
                WHERE a.id = m.answered_by AND a.author = 'person' AND n.outcome = 'answered'
                    AND n.answered_by = a.id)""",
    ),
    Check(  # While the job of a released turn is unfinished, the agent handles the turn, not a person.
        "handed_off_to_nobody",
        "it is `handed_off`, but in no inbox",
        f"""SELECT m.provider_message_id FROM messages m WHERE m.outcome = 'handed_off' AND {{mine}}
            AND NOT EXISTS (SELECT 1 FROM inbox_items i WHERE i.turn_id = m.turn_id AND i.resolved_at IS NULL)
            AND NOT EXISTS (SELECT 1 FROM turns t JOIN message_queue j ON j.turn_id = t.id
                WHERE t.id = m.turn_id AND t.settled_at IS NULL AND j.{_UNFINISHED})""",
    ),
    Check(  # SCAN
        "unheard_of",
        "its outcome or the reason of the outcome is unknown",
        f"""SELECT m.provider_message_id FROM messages m WHERE {{mine}} AND m.outcome IS NOT NULL AND (
                m.outcome NOT IN ({_OUTCOMES})
                OR (m.outcome = 'suppressed' AND coalesce(m.outcome_reason, '') NOT IN ({_REASONS}))
                OR (m.outcome <> 'suppressed' AND m.outcome_reason IS NOT NULL))""",
    ),
)

_OUTCOMES_BY_REASON: Final = """SELECT m.outcome, m.outcome_reason, count(*) AS n FROM messages m WHERE {mine}
    GROUP BY m.outcome, m.outcome_reason ORDER BY m.outcome, m.outcome_reason"""

_COUNTS: Final[Mapping[str, str]] = {
    "orphans": "SELECT count(*) FROM orphans m WHERE assigned_at IS NULL AND {mine}",
    "paused_accounts": """SELECT count(*) FROM channel_accounts m
        WHERE paused_until > :now AND updated_at <= :now AND {mine}""",
    "undelivered": f"""SELECT count(*) FROM sent_messages m
        WHERE status IN ({", ".join(f"'{status}'" for status in sorted(FAILED))}) AND {{mine}}""",
    "unknown_sends": """SELECT count(*) FROM attempts m
        WHERE state IN ('sending', 'unknown') AND state = 'unknown' AND {mine}""",
    "unclaimed": """SELECT count(*) FROM messages m
        WHERE turn_id IS NULL AND outcome IS NULL AND received_at < :unclaimed AND {mine}""",
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
    """Runs all checks."""

    def __init__(self, database: Database, clock: Clock, answer_deadline_seconds: float) -> None:
        self._database = database
        self._clock = clock
        self._deadline = timedelta(seconds=answer_deadline_seconds)

    async def verify(self, owner_id: UUID | None = None) -> VerificationReport:
        """Check the messages of one owner, or of all owners, on a single snapshot."""
        run = _CheckRun(self._clock.now(), self._deadline, owner_id)
        return await self._database.read(run.report, owner=owner_id)


class _CheckRun:
    """One run of all checks, with the moments that they compare with."""

    def __init__(self, now: datetime, deadline: timedelta, owner_id: UUID | None) -> None:
        self._values: dict[str, object] = {
            "now": now,
            "late": now - COMMIT_GRACE,
            "sending": now - SENDING_GRACE,
            "unknown": now - UNKNOWN_GRACE,
            "unclaimed": now - deadline,
            "owner": owner_id,
        }

    def report(self, uow: UnitOfWork) -> VerificationReport:
        uow.allow_long_statements()
        outcomes = self._outcomes(uow)
        findings = _Findings()
        for check in CHECKS:
            self._run_check(uow, check, findings)
        counts = {name: int(uow.execute(self._statement(uow, sql)).scalar_one()) for name, sql in _COUNTS.items()}
        return VerificationReport(
            accepted=sum(count for _, _, count in outcomes),
            open=sum(count for outcome, _, count in outcomes if outcome is None),
            outcomes=_sum_by_key((outcome, count) for outcome, _, count in outcomes if outcome is not None),
            suppressed=_sum_by_key(
                (reason or NO_REASON, count) for outcome, reason, count in outcomes if outcome == "suppressed"
            ),
            violations=findings.listed,
            more=findings.more,
            **counts,
        )

    def _outcomes(self, uow: UnitOfWork) -> list[tuple[str | None, str | None, int]]:
        """Return the number of messages by outcome and reason. Open messages have no outcome."""
        rows = uow.all(self._statement(uow, _OUTCOMES_BY_REASON))
        return [(row["outcome"], row["outcome_reason"], int(row["n"])) for row in rows]

    def _run_check(self, uow: UnitOfWork, check: Check, findings: _Findings) -> None:
        limited = self._statement(uow, f"SELECT * FROM ({check.sql}) AS found LIMIT {findings.room + 1}")
        rows = uow.execute(limited.columns(provider_message_id=ProviderId())).all()
        if len(rows) > findings.room:
            counted = uow.execute(self._statement(uow, f"SELECT count(*) FROM ({check.sql}) AS found"))
            findings.more += int(counted.scalar_one()) - findings.room
        findings.listed.extend(Violation(row[0], check.why) for row in rows[: findings.room])

    def _statement(self, uow: UnitOfWork, sql: str) -> TextClause:
        """Return the statement for this owner, with moments and ids as the database stores them."""
        sql = sql.replace("{plain_id}", _PLAIN_ID[uow.dialect])
        for token, mine in _OWNER_FILTERS.items():
            sql = sql.replace(token, "TRUE" if self._values["owner"] is None else mine)
        used = {name: value for name, value in self._values.items() if f":{name}" in sql}
        typed = [bindparam(name, value, type_=Id() if name == "owner" else Moment()) for name, value in used.items()]
        return text(sql).bindparams(*typed)


def _sum_by_key(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, count in counts:
        sums[name] = sums.get(name, 0) + count
    return sums
