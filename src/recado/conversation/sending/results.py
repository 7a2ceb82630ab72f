"""The second half of step 9: store what a create call gave, and end the job when that settles the answer.

Facts are stored even when the lease was lost meanwhile; only the end of the job stands behind the lease's fence. An
answer is settled (step 10, `settlement.py`) in the transaction that ends its job.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import structlog

from recado.conversation.contacts import opt_out
from recado.conversation.models import Answer, AnswerState, Attempt, AttemptState, Part, Suppression
from recado.conversation.ports import (
    ChannelRules,
    Channels,
    NotProcessed,
    Refused,
    SendingAccount,
    SendResult,
    Sent,
    Unknown,
)
from recado.conversation.sending.outbox import send_payload
from recado.conversation.sending.policy import sendable_until
from recado.conversation.sending.provider_messages import ProviderMessages
from recado.conversation.sending.repository import Answers, Attempts, Parts
from recado.conversation.settlement import Settlement
from recado.conversation.values import Address
from recado.core.database.types import JsonValue
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.job import Claim
from recado.core.queue.storage import endings
from recado.core.queue.transactions import LaneTransaction, Transaction

log = structlog.get_logger(__name__)

MAX_PAUSE = timedelta(hours=6)
"""The longest pause that a provider may ask for; after it the provider is asked again."""


class Accounts(Protocol):
    """What sending must know of the account behind an address of ours, inside its own transaction."""

    def behind(self, uow: UnitOfWork, address_id: UUID) -> SendingAccount:
        """Return the account that an address of ours sends with now."""
        ...

    def of(self, uow: UnitOfWork, account_id: UUID) -> SendingAccount:
        """Return the account that an attempt was made with."""
        ...

    def paused_for(self, uow: UnitOfWork, address_id: UUID, now: datetime) -> timedelta | None: ...

    def pause(self, uow: UnitOfWork, account_id: UUID, now: datetime, span: timedelta, why: str) -> None: ...


@dataclass(frozen=True, slots=True)
class SendRules:
    """What sending is told from outside: the channels, the accounts, and the quiet time after an apology."""

    channels: Channels
    accounts: Accounts
    apology_quiet: timedelta = timedelta(minutes=10)

    def of(self, account: SendingAccount, answer: Answer) -> ChannelRules:
        """Return the rules of the channel for an answer's recipient."""
        return self.channels.rules_for(account.provider, Address(answer.to_address))


def record(
    tx: LaneTransaction, claim: Claim, attempt: Attempt, result: SendResult, pause: timedelta, rules: SendRules
) -> bool:
    """Store the result of a create call. Return whether it settled the answer. `pause` is the wait before a retry."""
    current = Attempts(tx.uow).require(attempt.id)
    match result:
        case Sent(provider_message_id):
            ProviderMessages(tx).bind(current, provider_message_id, found_by="create")
            return settle_if_complete(tx, claim, current)
        case _ if current.state != "sending":
            return False  # A callback was faster, or another worker reconciles it by now: what that finds wins.
        case Refused() as refused:
            return _refused(tx, claim, current, refused)
        case NotProcessed() as not_processed:
            _not_processed(tx, claim, current, not_processed, pause, rules)
        case Unknown(code, detail):
            log.warning("send.unknown", attempt=str(attempt.id), code=code)
            change_state(tx, current, "unknown", code=code, detail=detail)
    return False


def _refused(tx: LaneTransaction, claim: Claim, attempt: Attempt, refused: Refused) -> bool:
    log.warning("send.refused", attempt=str(attempt.id), code=refused.code, reason=refused.reason)
    change_state(tx, attempt, "refused", code=refused.code, detail=refused.detail)
    answer = Answers(tx.uow).require(attempt.answer_id)
    if refused.reason == "opt_out":
        opt_out(tx, answer.conversation_id)
    if Parts(tx.uow).require(attempt.part_id).state == "accepted":
        # An earlier attempt that was taken for lost turned out to have arrived while this one was under way.
        return settle_if_complete(tx, claim, attempt)
    if not fail(tx, claim, answer, "refused", refused.reason, refused.code):
        return False
    Parts(tx.uow).change(attempt.part_id, state="refused")
    return True


def _not_processed(
    tx: LaneTransaction,
    claim: Claim,
    attempt: Attempt,
    not_processed: NotProcessed,
    pause: timedelta,
    rules: SendRules,
) -> None:
    """Try again after a pause, but no later than the answer may be sent."""
    change_state(tx, attempt, "retry", code=not_processed.code, detail=not_processed.detail)
    if not_processed.retry_after is not None:
        pause = min(max(pause, timedelta(seconds=not_processed.retry_after)), MAX_PAUSE)
    if not_processed.pause_account:
        seconds = pause.total_seconds()
        log.warning("account.paused", account=str(attempt.account_id), code=not_processed.code, seconds=seconds)
        rules.accounts.pause(tx.uow, attempt.account_id, tx.now, pause, not_processed.code)
    answer, account = Answers(tx.uow).require(attempt.answer_id), rules.accounts.of(tx.uow, attempt.account_id)
    left = sendable_until(tx.uow, answer, rules.of(account, answer)) - tx.now
    pause = min(pause, max(left, timedelta()))
    attempts = claim.job.attempts + 1
    endings.requeue(tx.held, claim, tx.now, pause, error=f"{not_processed.code}: trying again", attempts=attempts)


def change_state(
    tx: Transaction, attempt: Attempt, state: AttemptState, *, code: str | None = None, detail: str | None = None
) -> Attempt:
    """Store the state of an attempt. Return the attempt as it is then."""
    finished_at = None if state == "unknown" else tx.now
    Attempts(tx.uow).change(
        attempt.id, state=state, code=code or attempt.code, detail=detail or attempt.detail, finished_at=finished_at
    )
    return Attempts(tx.uow).require(attempt.id)


# --- The end of the job -----------------------------------------------------------------------------------------------


def settle_if_complete(tx: LaneTransaction, claim: Claim, attempt: Attempt) -> bool:
    """End the job with its answer as accepted, if every part has been accepted."""
    answer = Answers(tx.uow).require(attempt.answer_id)
    if answer.state != "waiting" or any(part.state != "accepted" for part in Parts(tx.uow).of(answer.id)):
        return False
    return settle(tx, claim, lambda settlement: settlement.accepted(answer))


def settle(tx: LaneTransaction, claim: Claim, end: Callable[[Settlement], None]) -> bool:
    """End the job and settle its answer. Return False, with nothing changed, when the lease was lost."""
    if not endings.complete(tx.held, claim, tx.now):
        return False
    end(Settlement(tx))
    return True


def fail(
    tx: LaneTransaction, claim: Claim, answer: Answer, state: AnswerState, reason: Suppression, code: str | None = None
) -> bool:
    """End the job with its answer as failed. Return False, with nothing changed, when the lease was lost.

    It becomes a dead letter when an operator can do something about it or when some parts have arrived.
    """
    parts = Parts(tx.uow).of(answer.id)
    accepted = numbers_accepted(parts)
    if reason not in ("unreachable", "unconfirmed") and not accepted:
        return settle(tx, claim, lambda settlement: settlement.failed(answer, state, reason, code))
    why = f"{reason} ({code})" if code else reason
    error, attempts = f"{why}: {len(accepted)} of {len(parts)} parts sent", claim.job.attempts + 1
    if not endings.dead_letter(tx.held, claim, tx.now, error, attempts=attempts):
        return False
    endings.set_payload(tx.held, claim.job, dead_letter_payload(answer, parts))
    Settlement(tx).failed(answer, state, reason, code)
    return True


def numbers_accepted(parts: Sequence[Part]) -> list[int]:
    """Return the numbers of the parts that the provider accepted."""
    return [part.part_no for part in parts if part.state == "accepted"]


def dead_letter_payload(answer: Answer, parts: Sequence[Part]) -> Mapping[str, JsonValue]:
    """Return what a dead letter says of its answer: which parts arrived, and of how many."""
    return send_payload(answer) | {"arrived": list(numbers_accepted(parts)), "parts": len(parts)}
