"""The events of answers, each stored in the transaction of what it tells.

They hold ids and words of closed lists only, never what somebody wrote or a number.
"""

from recado.conversation.models import Answer, Attempt, Suppression
from recado.core.event_log.models import EventType, NewEvent, given
from recado.core.event_log.repository import append
from recado.core.queue.transactions import Transaction


def tell_sent(tx: Transaction, answer: Answer) -> None:
    """Tell that the provider accepted every part of an answer."""
    _tell(tx, "message.sent", answer, {"author": answer.author})


def tell_not_sent(tx: Transaction, answer: Answer, reason: Suppression, code: str | None) -> None:
    """Tell that an answer will not be sent, or not to its end."""
    _tell(tx, "delivery.failed", answer, {"author": answer.author, "reason": reason, "error_code": code})


def tell_undelivered(tx: Transaction, answer: Answer, attempt: Attempt, status: str, code: str | None) -> None:
    """Tell that the provider could not deliver what it had accepted."""
    what = {"author": answer.author, "reason": status, "error_code": code, "part_id": str(attempt.part_id)}
    _tell(tx, "delivery.failed", answer, what)


def _tell(tx: Transaction, type_: EventType, answer: Answer, data: dict[str, str | None]) -> None:
    turn_id = None if answer.turn_id is None else str(answer.turn_id)
    told = {"answer_id": str(answer.id), "turn_id": turn_id, **data}
    event = NewEvent(tx.ids.new(), answer.owner_id, type_, answer.lane, tx.now, answer.conversation_id, given(told))
    append(tx.uow, [event])
