"""The second half of step 10: every accepted message ends in exactly one outcome.

This is the only place that writes an outcome. The first one is written once. A later change must be allowed by
`models.OUTCOME_CHANGES` and leaves a line in the history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from recado.conversation.models import (
    OUTCOME_CHANGES,
    Message,
    Outcome,
    OutcomeCause,
    Suppression,
    Turn,
    outcome_and_reason,
)
from recado.conversation.repository import Messages, Turns, add_outcome_change
from recado.core.event_log.models import NewEvent, given
from recado.core.event_log.repository import append
from recado.core.metrics import OUTCOMES
from recado.core.queue.transactions import Transaction


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """The outcome of a turn. With `answered`, only the newest message is answered and the others are `superseded`."""

    outcome: Outcome
    reason: Suppression | None = None
    answered_by: UUID | None = None


class Outcomes:
    """Writes outcomes inside a transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._uow = tx.uow

    def settle_turn(self, turn: Turn, ended: TurnOutcome, *, by_person: bool = False) -> None:
        """Give every message of the turn its outcome, and the turn its end."""
        because: list[OutcomeCause] = ["late_sid"]
        if by_person:
            because.append("person")
        if turn.replay_of is not None:
            because.append("replay")
        if turn.resumes:
            because.append("release")
        self.settle(Messages(self._uow).of_turn(turn.id), ended, because)
        if turn.settled_at is None:
            Turns(self._uow).change(turn.id, settled_at=self._tx.now)

    def settle(self, group: Sequence[Message], ended: TurnOutcome, because: Sequence[OutcomeCause]) -> None:
        """Give each message its outcome. The newest by our order of receipt is the one that is answered."""
        if not group:
            return
        newest = max(group, key=lambda message: message.id)
        written: list[tuple[Message, Outcome]] = []
        for message in group:
            outcome = ended.outcome
            if outcome == "answered" and message is not newest:
                outcome = "superseded"
            if self._write(message, outcome, ended, because):
                written.append((message, outcome))
        append(self._uow, [self._event(message, outcome, ended) for message, outcome in written])

    def _write(self, message: Message, outcome: Outcome, ended: TurnOutcome, because: Sequence[OutcomeCause]) -> bool:
        """Write an outcome unless the message has one that must not become this one."""
        before, after = message.outcome_and_reason, outcome_and_reason(outcome, ended.reason)
        if before is not None:
            legal = [each for each in because if outcome in OUTCOME_CHANGES[each].get(before, frozenset())]
            if not legal or before == after:
                return False
            self._remember(message, before, after, legal[0])
        Messages(self._uow).change(
            message.id,
            outcome=outcome,
            outcome_reason=ended.reason,
            outcome_at=self._tx.now,
            answered_by=ended.answered_by,
        )
        self._uow.count(OUTCOMES, outcome, ended.reason or "")
        return True

    def _event(self, message: Message, outcome: Outcome, ended: TurnOutcome) -> NewEvent:
        """Return the event of an outcome. `before` is the one that the message had."""
        data = {
            "message_id": str(message.id),
            "outcome": outcome,
            "reason": ended.reason,
            "before": message.outcome_and_reason,
            "answer_id": None if ended.answered_by is None else str(ended.answered_by),
        }
        return NewEvent(
            self._tx.ids.new(),
            message.owner_id,
            "outcome.decided",
            message.lane,
            self._tx.now,
            message.conversation_id,
            given(data),
        )

    def _remember(self, message: Message, before: str, after: str, because: OutcomeCause) -> None:
        add_outcome_change(
            self._uow,
            id=self._tx.ids.new(),
            owner_id=message.owner_id,
            message_id=message.id,
            before=before,
            after=after,
            because=because,
            at=self._tx.now,
        )
