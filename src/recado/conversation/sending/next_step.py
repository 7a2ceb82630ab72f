"""The first half of step 9: decide in one transaction what to do next for an answer.

Make a create call, whose attempt row is stored here; poll the provider's list for an attempt whose outcome is unknown;
wait; or nothing more. While an attempt is `sending` or `unknown` nothing else goes to that pair of addresses: sends to
it are serial, and a unique index is the backstop. An attempt that its dead worker left `sending` becomes `unknown`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from recado.conversation.models import Answer, Attempt, Part
from recado.conversation.ports import ChannelRules, Finder, OutboundText
from recado.conversation.repository import Conversations
from recado.conversation.sending.policy import overtaken, sendable_until, why_not
from recado.conversation.sending.repository import Answers, Attempts, Parts
from recado.conversation.sending.results import SendRules, change_state, fail, settle
from recado.conversation.sending.unknown import (
    CALL_LIMIT,
    PULLS_AFTER,
    clear_by,
    give_up_unfound,
    next_poll_at,
    with_times_reset,
)
from recado.conversation.values import Address
from recado.core.errors import InvalidInput
from recado.core.queue.job import Claim, StoredJob
from recado.core.queue.storage import endings, leases
from recado.core.queue.transactions import LaneTransaction, Transaction


@dataclass(frozen=True, slots=True)
class Call:
    """Make this create call now. Its attempt row is stored."""

    attempt: Attempt
    message: OutboundText


@dataclass(frozen=True, slots=True)
class Poll:
    """Poll the provider's list for an attempt whose outcome is unknown."""

    attempt: Attempt
    message: OutboundText
    finder: Finder


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done before this time has passed."""

    delay: timedelta
    why: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The job is ended, or another worker's."""


NextStep: TypeAlias = Call | Poll | Wait | JobEnded


def next_step(tx: LaneTransaction, claim: Claim, rules: SendRules) -> NextStep:
    """Decide what to do next, and store the attempt if that is a call."""
    if not leases.holds(tx.held, claim):
        return JobEnded()
    answer = Answers(tx.uow).require(answer_id_of(claim.job))
    if answer.state != "waiting":
        endings.complete(tx.held, claim, tx.now)
        return JobEnded()
    parts = Parts(tx.uow).of(answer.id)
    free_pair(tx, answer, parts)
    part = next((part for part in parts if part.state != "accepted"), None)
    if part is None:
        settle(tx, claim, lambda settlement: settlement.accepted(answer))
        return JobEnded()
    tried = Attempts(tx.uow).of_part(part.id)
    last = tried[-1] if tried else None
    if last is not None and last.state == "sending":  # Its worker died in the call.
        last = change_state(tx, last, "unknown", code="interrupted")
    if last is not None and last.state == "unknown":
        return _next_poll(tx, claim, answer, part, with_times_reset(tx, last), rules)
    return _next_call(tx, claim, answer, part, tried, rules)


def _next_poll(
    tx: LaneTransaction, claim: Claim, answer: Answer, part: Part, attempt: Attempt, rules: SendRules
) -> NextStep:
    """Poll the provider's list when it is time. Without a list only a callback or the deadline settles the attempt."""
    provider = rules.accounts.of(tx.uow, attempt.account_id).provider
    finder = rules.channels.finder_for(provider)
    due_at = next_poll_at(attempt) if finder is not None else clear_by(attempt)
    if due_at > tx.now:
        return Wait(due_at - tx.now, "outcome of a send unknown")
    if finder is None:
        give_up_unfound(tx, claim, attempt)
        return Wait(timedelta(), "outcome of a send stays unknown") if leases.holds(tx.held, claim) else JobEnded()
    return Poll(attempt, _outbound(answer, part, attempt, provider), finder)


def free_pair(tx: Transaction, answer: Answer, parts: Sequence[Part]) -> None:
    """Give up an attempt in flight whose part has been accepted by another, so that it holds up no other send."""
    accepted = {part.id for part in parts if part.state == "accepted"}
    busy = Attempts(tx.uow).in_flight(answer.lane) if accepted else None
    if busy is not None and busy.part_id in accepted:
        change_state(tx, busy, "unconfirmed")


def _next_call(
    tx: LaneTransaction, claim: Claim, answer: Answer, part: Part, tried: Sequence[Attempt], rules: SendRules
) -> NextStep:
    account = rules.accounts.behind(tx.uow, answer.address_id)
    channel_rules = rules.of(account, answer)
    if _stopped(tx, claim, answer, channel_rules, rules.apology_quiet):
        return JobEnded()
    paused = rules.accounts.paused_for(tx.uow, answer.address_id, tx.now)
    if paused is not None:
        return Wait(min(paused, sendable_until(tx.uow, answer, channel_rules) - tx.now), "the account is paused")
    if Attempts(tx.uow).in_flight(answer.lane) is not None:
        return Wait(PULLS_AFTER[0], "another send to this customer is not settled")
    attempt = Attempts(tx.uow).add(_attempt(tx, claim, answer, part, account.account_id, tried))
    return Call(attempt, _outbound(answer, part, attempt, account.provider))


def _attempt(
    tx: Transaction, claim: Claim, answer: Answer, part: Part, account_id: UUID, tried: Sequence[Attempt]
) -> Attempt:
    return Attempt(
        id=tx.ids.new(),
        owner_id=answer.owner_id,
        answer_id=answer.id,
        part_id=part.id,
        account_id=account_id,
        lane=answer.lane,
        number=len(tried) + 1,
        resend_of=tried[-1].id if tried and tried[-1].state == "unconfirmed" else None,
        state="sending",
        worker=claim.token,
        started_at=tx.now,
        deadline_at=tx.now + CALL_LIMIT,
        pulls=0,
        last_pull_at=None,
        code=None,
        detail=None,
        finished_at=None,
    )


def _stopped(tx: LaneTransaction, claim: Claim, answer: Answer, rules: ChannelRules, apology_quiet: timedelta) -> bool:
    """Settle an answer that must not be sent. Return whether that was so."""
    conversation = Conversations(tx.uow).require(answer.conversation_id)
    end = overtaken(tx, answer, conversation, apology_quiet)
    if end is not None:
        settle(tx, claim, end)
        return True
    reason = why_not(tx.uow, answer, conversation, tx.now, rules)
    if reason is None:
        return False
    fail(tx, claim, answer, "refused" if reason == "unreachable" else "stopped", reason)
    return True


def _outbound(answer: Answer, part: Part, attempt: Attempt, provider: str) -> OutboundText:
    return OutboundText(
        owner_id=answer.owner_id,
        address_id=answer.address_id,
        account_id=attempt.account_id,
        provider=provider,
        from_address=Address(answer.from_address),
        to_address=Address(answer.to_address),
        text=part.text,
        attempt_id=attempt.id,
    )


def answer_id_of(job: StoredJob) -> UUID:
    """Return the answer that a send job is about."""
    answer_id = job.payload.get("answer_id")
    if not isinstance(answer_id, str):
        raise InvalidInput(f"job {job.id} names no answer")
    return UUID(answer_id)
