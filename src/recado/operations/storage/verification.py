"""The queries of `recado verify`: each check finds messages for which the promise is broken."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, get_args
from uuid import UUID

from sqlalchemy import TextClause, bindparam, text

from recado.conversation.models import OUTCOMES, Suppression
from recado.core.database.types import Id, Moment, ProviderId
from recado.core.database.unit_of_work import UnitOfWork

COMMIT_GRACE: Final = timedelta(seconds=60)
"""An answer may be committed this long after the deadline of its turn."""
SENDING_GRACE: Final = timedelta(seconds=60)
"""A create call may stay `sending` this long after its deadline. Its worker's lease has ended by then."""
UNKNOWN_GRACE: Final = timedelta(minutes=15)


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

_SENT_AGAIN = "SELECT part_id, count(*) AS ids FROM sent_messages GROUP BY part_id HAVING count(*) > 1"

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
                SELECT 1 FROM message_queue j WHERE j.lane = a.send_lane AND j.{_UNFINISHED} AND {_NAMES_IT})""",
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
    Check(  # Reads one small index only. Each resend by an owner's policy or an operator allows one id more.
        "sent_twice",
        "sent_twice: one part of an answer to it went out under two ids",
        f"""SELECT {_NAMED_BY} FROM ({_SENT_AGAIN}) again
            JOIN answer_parts p ON p.id = again.part_id JOIN answers a ON a.id = p.answer_id
            WHERE {{its}} AND again.ids > 1 + (
                SELECT count(DISTINCT x.id) FROM attempts x JOIN sent_messages s ON s.attempt_id = x.id
                WHERE x.part_id = again.part_id AND x.resend_of IS NOT NULL)""",
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
    "undelivered": """SELECT count(*) FROM sent_messages m
        WHERE status IN ({failed}) AND {mine}""",
    "resent": f"""SELECT count(DISTINCT m.part_id) FROM ({_SENT_AGAIN}) again
        JOIN attempts m ON m.part_id = again.part_id WHERE m.resend_of IS NOT NULL AND {{mine}}""",
    "unknown_sends": """SELECT count(*) FROM attempts m
        WHERE state IN ('sending', 'unknown') AND state = 'unknown' AND {mine}""",
    "unclaimed": """SELECT count(*) FROM messages m
        WHERE turn_id IS NULL AND outcome IS NULL AND received_at < :unclaimed AND {mine}""",
}


class VerificationQueries:
    """The queries for one owner or for all, with the moments that they compare with."""

    def __init__(
        self, now: datetime, deadline: timedelta, failed_statuses: Collection[str], owner_id: UUID | None
    ) -> None:
        self._failed = ", ".join(f"'{status}'" for status in sorted(failed_statuses))
        self._values: dict[str, object] = {
            "now": now,
            "late": now - COMMIT_GRACE,
            "sending": now - SENDING_GRACE,
            "unknown": now - UNKNOWN_GRACE,
            "unclaimed": now - deadline,
            "owner": owner_id,
        }

    def outcomes(self, uow: UnitOfWork) -> Sequence[tuple[str | None, str | None, int]]:
        """Return the number of messages by outcome and reason. Open messages have no outcome."""
        rows = uow.all(self._statement(uow, _OUTCOMES_BY_REASON))
        return [(row["outcome"], row["outcome_reason"], int(row["n"])) for row in rows]

    def found(self, uow: UnitOfWork, check: Check, limit: int) -> Sequence[str]:
        """Return the ids of the first messages that a check finds."""
        limited = self._statement(uow, f"SELECT * FROM ({check.sql}) AS found LIMIT {limit}")
        return [row[0] for row in uow.execute(limited.columns(provider_message_id=ProviderId()))]

    def count(self, uow: UnitOfWork, check: Check) -> int:
        """Return the number of messages that a check finds."""
        return self._number(uow, f"SELECT count(*) FROM ({check.sql}) AS found")

    def totals(self, uow: UnitOfWork) -> Mapping[str, int]:
        """Return the numbers that are no violations but that an operator should know."""
        return {name: self._number(uow, sql) for name, sql in _COUNTS.items()}

    def _number(self, uow: UnitOfWork, sql: str) -> int:
        return int(uow.execute(self._statement(uow, sql)).scalar_one())

    def _statement(self, uow: UnitOfWork, sql: str) -> TextClause:
        """Return the statement for this owner, with moments and ids as the database stores them."""
        sql = sql.replace("{plain_id}", _PLAIN_ID[uow.dialect]).replace("{failed}", self._failed)
        for token, mine in _OWNER_FILTERS.items():
            sql = sql.replace(token, "TRUE" if self._values["owner"] is None else mine)
        used = {name: value for name, value in self._values.items() if f":{name}" in sql}
        typed = [bindparam(name, value, type_=Id() if name == "owner" else Moment()) for name, value in used.items()]
        return text(sql).bindparams(*typed)
