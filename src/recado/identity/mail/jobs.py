"""The job that makes a link and mails it. Its payload names the user; the link exists only in the mail."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.types import JsonValue
from recado.core.ids import SYSTEM_OWNER, Ids
from recado.core.queue.job import (
    BACKGROUND_PRIORITY,
    Claim,
    Discard,
    Done,
    JobResult,
    NewJob,
    Replayed,
    ReplayRefused,
    RetryIn,
    StoredJob,
)
from recado.core.queue.lane import HeldLanes
from recado.core.queue.storage import enqueue, lanes
from recado.core.queue.transactions import Transaction, Transactions
from recado.identity import audit
from recado.identity.access.links import Asked, LinkOrder, make_link
from recado.identity.access.models import LinkPurpose
from recado.identity.access.tokens import RandomBytes, new_token
from recado.identity.mail.letters import Delivered, Letter, Mailer, link_letter, link_url
from recado.identity.principal import user_principal
from recado.identity.repository import Users, owner_in

LINK_MAIL: Final = "identity.link_mail"
MAX_ATTEMPTS: Final = 5
_NO_SERVER: Final = "RECADO_SMTP_URL is not set for this worker"
PRIORITY: Final = BACKGROUND_PRIORITY
"""A mail server that takes its time must not have all of a worker: customers wait for answers there."""


def put_link_mail(tx: Transaction, order: LinkOrder) -> UUID:
    """Store a job that mails a link to a user. Return the job's id."""
    asked: dict[str, JsonValue] = {} if order.asked is None else {"asked_from": order.asked.source}
    job = NewJob(
        id=tx.ids.new(),
        name=LINK_MAIL,
        owner_id=order.owner_id,
        created_at=tx.now,
        due_at=tx.now,
        payload={"user_id": str(order.user_id), "purpose": order.purpose, **asked},
        priority=PRIORITY,
        max_attempts=MAX_ATTEMPTS,
    )
    enqueue.add(lanes.hold_for(tx.uow, [job]), [job])
    return job.id


def _order_of(job: StoredJob) -> LinkOrder:
    payload = job.payload
    source = payload.get("asked_from")
    asked = Asked(None if source is None else str(source)) if "asked_from" in payload else None
    purpose: LinkPurpose = "invite" if payload["purpose"] == "invite" else "reset"
    return LinkOrder(job.owner_id, UUID(str(payload["user_id"])), purpose, asked)


@dataclass(frozen=True, slots=True)
class MailSettings:
    """How mails get out; both are missing where no mail can be sent."""

    mailer: Mailer | None
    public_url: str | None


class LinkMailHandler:
    """Makes a new link at each run, so that a retry needs nothing that was stored before."""

    name = LINK_MAIL
    time_limit = timedelta(minutes=2)

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        settings: MailSettings,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._transactions = Transactions(database, clock, ids)
        self._settings = settings
        self._random_bytes = random_bytes

    async def run(self, claim: Claim) -> JobResult:
        """Make the link and send it."""
        if claim.job.owner_id == SYSTEM_OWNER:  # Somebody asked with an address that no user has.
            return Done()
        mailer, public_url = self._settings.mailer, self._settings.public_url
        if mailer is None or public_url is None:
            return RetryIn(delay_after(claim.job.attempts), _NO_SERVER)
        letter = await self._make(claim.job, public_url)
        if letter is None:
            return Discard("the user may not sign in any more")
        sent = await mailer.send(letter)
        return Done() if isinstance(sent, Delivered) else RetryIn(delay_after(claim.job.attempts), sent.why)

    async def _make(self, job: StoredJob, public_url: str) -> Letter | None:
        """Store the link, and return the mail with it; None for a user who may not sign in."""
        order, token = _order_of(job), new_token(self._random_bytes)

        def write(tx: Transaction) -> Letter | None:
            users = Users(tx.uow)
            users.hold()  # Who is being disabled gets no link that would outlive it.
            user = users.get(order.user_id)
            if user is None or not user.active:
                return None
            make_link(tx, user, order.purpose, token)
            if order.asked is not None and job.last_error in {None, _NO_SERVER}:  # At the first link only.
                audit.record(tx, user_principal(user, order.asked.source), "user.link_requested", "user", user.id)
            return link_letter(owner_in(tx.uow, user.owner_id), user, order.purpose, link_url(public_url, token))

        return await self._transactions.write(write, owner=job.owner_id)

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:
        """Do nothing: the dead letter says why, and a person can ask for another link."""

    def replay(
        self,
        held: HeldLanes,
        job: StoredJob,
        *,
        force: bool,  # noqa: ARG002 - a second mail does no harm: the newer link ends the older one
        now: datetime,
        ids: Ids,
    ) -> Replayed | ReplayRefused:
        """Send it again."""
        return sent_again(held, job, now, ids)

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:  # noqa: ARG002
        """Settle nothing: a link that was not sent does not exist."""
        return None


def sent_again(held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> Replayed:
    """Store the job of a mail again."""
    again = NewJob(
        id=ids.new(),
        name=job.name,
        owner_id=job.owner_id,
        created_at=now,
        due_at=now,
        payload=job.payload,
        priority=PRIORITY,
        max_attempts=MAX_ATTEMPTS,
    )
    enqueue.add_alone(held, [again])
    return Replayed(job.id, again.id)


def delay_after(attempts: int) -> timedelta:
    """Return how long to wait after so many tries to send a mail."""
    return timedelta(seconds=min(30 * 4**attempts, 900))
