"""An attempt whose outcome is unknown: it may or may not have been sent.

A callback that bears the attempt's id settles it (`provider_messages.py`), or the provider's list does, here. Polls
count once the list was read to its end, from the moment they began. An attempt that is absent from three complete
polls, the last of them two minutes after its deadline, was not sent: it is `absent` and sent once more. A list that
cannot be read for ten minutes leaves it `unconfirmed`, and so does a channel that has no list (`Finder`).
"""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from recado.conversation.models import Attempt
from recado.conversation.ports import ListedMessage, Pull
from recado.conversation.sending.provider_messages import ProviderMessages
from recado.conversation.sending.repository import Answers, Attempts, Parts
from recado.conversation.sending.results import change_state, fail, settle_if_complete
from recado.conversation.sending.splitting import normalised
from recado.core.queue.job import Claim
from recado.core.queue.storage import leases
from recado.core.queue.storage.claiming import LEEWAY
from recado.core.queue.transactions import LaneTransaction, Transaction
from recado.identity.repository import owner_in

log = structlog.get_logger(__name__)

CALL_LIMIT = timedelta(seconds=18)
"""Connect 3 s and read 15 s: after this an attempt's call is over, whatever it answered."""
PULLS_AFTER = (timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=45))
"""When the list is polled, counted from the attempt's start. It may lag, so one poll is no proof."""
PULL_PAUSE = timedelta(seconds=30)
ABSENT_PULLS = 3
ABSENT_AFTER = timedelta(seconds=120)
CLEAR_WITHIN = timedelta(minutes=10)
CREATED_BEFORE_START = timedelta(seconds=5)
CREATED_BEFORE_RESET = timedelta(days=1)
CREATED_AFTER_DEADLINE = timedelta(seconds=60)
SET_BACK = "clock_set_back"
"""The code of an attempt that began by a clock which was ahead. Its times were set right, and are a guess."""


def next_poll_at(attempt: Attempt) -> datetime:
    """Return when to poll: 5, 15 and 45 s after the start, then when three polls are proof, then every half minute."""
    if attempt.last_pull_at is None:
        return attempt.started_at + PULLS_AFTER[0]
    if attempt.pulls < len(PULLS_AFTER):
        # A list that cannot be read is polled less and less often.
        pause = min(max(PULLS_AFTER[0], attempt.last_pull_at - attempt.started_at), PULL_PAUSE)
        return max(attempt.started_at + PULLS_AFTER[attempt.pulls], attempt.last_pull_at + pause)
    return max(attempt.deadline_at + ABSENT_AFTER, attempt.last_pull_at + PULL_PAUSE)


def clear_by(attempt: Attempt) -> datetime:
    """Return until when it must be known whether an attempt's message was sent."""
    return attempt.deadline_at + CLEAR_WITHIN


def created_within(attempt: Attempt) -> tuple[datetime, datetime]:
    """Return the span in which the provider must have made the attempt's message, if it made one."""
    before_start = CREATED_BEFORE_RESET if attempt.code == SET_BACK else CREATED_BEFORE_START
    return attempt.started_at - before_start, attempt.deadline_at + CREATED_AFTER_DEADLINE


def with_times_reset(tx: Transaction, attempt: Attempt) -> Attempt:
    """Set an attempt right whose start or last poll lies in the future, because a clock was set back since.

    Its polls begin again. When it really began is not known, so its message may be any of the last day.
    """
    begun_ahead = attempt.started_at > tx.now + LEEWAY
    if not begun_ahead and (attempt.last_pull_at is None or attempt.last_pull_at <= tx.now + LEEWAY):
        return attempt
    reset = replace(attempt, pulls=0, last_pull_at=None)
    if begun_ahead:
        reset = replace(reset, started_at=tx.now, deadline_at=tx.now + CALL_LIMIT, code=SET_BACK)
    log.warning("send.clock_was_set_back", attempt=str(attempt.id))
    Attempts(tx.uow).change(
        attempt.id,
        pulls=reset.pulls,
        last_pull_at=reset.last_pull_at,
        started_at=reset.started_at,
        deadline_at=reset.deadline_at,
        code=reset.code,
    )
    return reset


def record_poll(
    tx: LaneTransaction, claim: Claim, attempt: Attempt, pull: Pull, text: str, polled_at: datetime
) -> None:
    """Bind what was found; otherwise count the poll, and decide when there were enough of them."""
    attempt = Attempts(tx.uow).require(attempt.id)
    if attempt.state != "unknown" or not leases.holds(tx.held, claim):
        return
    found = _ours(tx, attempt, pull, text)
    if found is not None:
        ProviderMessages(tx).bind(attempt, found.provider_message_id, found_by="list", status=found.status)
        settle_if_complete(tx, claim, attempt)
        return
    if Parts(tx.uow).require(attempt.part_id).state == "accepted":
        return  # An earlier attempt has turned up during the poll; the next step frees the pair.
    attempt = replace(attempt, pulls=attempt.pulls + pull.complete, last_pull_at=polled_at)
    Attempts(tx.uow).change(attempt.id, pulls=attempt.pulls, last_pull_at=polled_at)
    if pull.complete and attempt.pulls >= ABSENT_PULLS and polled_at >= attempt.deadline_at + ABSENT_AFTER:
        change_state(tx, attempt, "absent")
        _resend_or_give_up(tx, claim, attempt, resends=1)
    elif not pull.complete and polled_at >= clear_by(attempt):
        give_up_unfound(tx, claim, attempt)


def give_up_unfound(tx: LaneTransaction, claim: Claim, attempt: Attempt) -> None:
    """Leave an attempt unconfirmed of which nothing was heard in time. `prefer_delivery` sends its part once more."""
    change_state(tx, attempt, "unconfirmed")
    _resend_or_give_up(tx, claim, attempt, resends=0)


def _ours(tx: LaneTransaction, attempt: Attempt, pull: Pull, text: str) -> ListedMessage | None:
    """Return the oldest listed message with the attempt's text that belongs to no attempt yet."""
    messages = ProviderMessages(tx)
    ours = [
        listed
        for listed in pull.messages
        if normalised(listed.body) == normalised(text) and not messages.bound(attempt.account_id, listed)
    ]
    return min(ours, key=lambda listed: (listed.created_at, listed.provider_message_id)) if ours else None


def _resend_or_give_up(tx: LaneTransaction, claim: Claim, attempt: Attempt, *, resends: int) -> None:
    """Leave the part to be sent again, if that was not done too often. `prefer_delivery` allows one resend more."""
    lost = [tried for tried in Attempts(tx.uow).of_part(attempt.part_id) if tried.state in ("absent", "unconfirmed")]
    if owner_in(tx.uow, attempt.owner_id).send_policy == "prefer_delivery":
        resends += 1
    if len(lost) <= resends:
        return
    Attempts(tx.uow).change(attempt.id, state="unconfirmed")
    Parts(tx.uow).change(attempt.part_id, state="unconfirmed")
    fail(tx, claim, Answers(tx.uow).require(attempt.answer_id), "unconfirmed", "unconfirmed", attempt.code)
