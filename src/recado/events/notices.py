"""Mail those who may do something about it that an endpoint was switched off.

The event `endpoint.disabled` reaches an owner's other endpoints. Most owners have one, so people are told, too, where a
mail server is set: each owner and admin of the organisation in a job of their own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.i18n import Text, translate
from recado.core.ids import Ids
from recado.core.queue.job import (
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
from recado.core.queue.storage import enqueue
from recado.core.queue.transactions import LaneTransaction
from recado.events.models import Endpoint
from recado.events.repository import Endpoints
from recado.identity.mail.jobs import MAX_ATTEMPTS, PRIORITY, delay_after, sent_again
from recado.identity.mail.letters import Delivered, Letter, Mailer
from recado.identity.models import Owner, Role, User
from recado.identity.repository import Users, owner_in

DISABLED_MAIL: Final = "event.disabled_mail"
_TOLD: Final[frozenset[Role]] = frozenset({"owner", "admin"})
MOST_TOLD: Final = 50
"""In one organisation. All jobs are stored in one transaction, and an alarm for everybody is one for nobody."""
_WHY: Final = {"failing": Text.ENDPOINT_FAILING, "gone": Text.ENDPOINT_GONE}


def put_disabled_mails(tx: LaneTransaction, endpoint: Endpoint) -> None:
    """Store a job for each owner and admin of the organisation who has accepted an invitation, owners first."""
    to = [user for user in Users(tx.uow).in_order() if _is_told(user)]
    to.sort(key=lambda user: user.role != "owner")
    jobs = [_job(tx.ids.new(), user, endpoint, tx.now) for user in to[:MOST_TOLD]]
    enqueue.add_alone(tx.held, jobs)


def _is_told(user: User) -> bool:
    """Return whether a user is mailed. Strangers whom somebody has invited get nothing but the invitation."""
    return user.can_enter and user.role in _TOLD


def _job(id_: UUID, user: User, endpoint: Endpoint, now: datetime) -> NewJob:
    return NewJob(
        id=id_,
        name=DISABLED_MAIL,
        owner_id=endpoint.owner_id,
        created_at=now,
        due_at=now,
        payload={"user_id": str(user.id), "endpoint_id": str(endpoint.id)},
        priority=PRIORITY,
        max_attempts=MAX_ATTEMPTS,
    )


@dataclass(frozen=True, slots=True)
class _Nobody:
    """Nobody needs to be told any more, and why."""

    why: str


class DisabledMailHandler:
    """Sends the mails, to those who still need to know."""

    name = DISABLED_MAIL
    time_limit = timedelta(minutes=2)

    def __init__(self, database: Database, mailer: Mailer | None) -> None:
        self._database = database
        self._mailer = mailer

    async def run(self, claim: Claim) -> JobResult:
        """Send the mail."""
        job = claim.job
        if self._mailer is None:
            return RetryIn(delay_after(job.attempts), "RECADO_SMTP_URL is not set for this worker")
        letter = await self._database.read(lambda uow: _letter(uow, job), owner=job.owner_id)
        if isinstance(letter, _Nobody):
            return Discard(letter.why)
        sent = await self._mailer.send(letter)
        return Done() if isinstance(sent, Delivered) else RetryIn(delay_after(job.attempts), sent.why)

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:
        """Do nothing: the dead letter says why."""

    def replay(
        self,
        held: HeldLanes,
        job: StoredJob,
        *,
        force: bool,  # noqa: ARG002 - a second mail does no harm
        now: datetime,
        ids: Ids,
    ) -> Replayed | ReplayRefused:
        """Send it again."""
        return sent_again(held, job, now, ids)

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:  # noqa: ARG002
        """Settle nothing."""
        return None


def _letter(uow: UnitOfWork, job: StoredJob) -> Letter | _Nobody:
    user = Users(uow).get(UUID(str(job.payload["user_id"])))
    endpoint = Endpoints(uow).get(UUID(str(job.payload["endpoint_id"])))
    if user is None or not _is_told(user):
        return _Nobody("the user is no owner or admin who can sign in any more")
    if endpoint is None or endpoint.disabled_reason not in _WHY:
        return _Nobody("the endpoint was switched on, or removed")
    return disabled_letter(owner_in(uow, job.owner_id), user, endpoint)


def disabled_letter(owner: Owner, user: User, endpoint: Endpoint) -> Letter:
    """Return the mail, in the language of the organisation."""
    why = translate(owner.locale, _WHY[endpoint.disabled_reason or "failing"])
    values = {
        "organisation": owner.name,
        "url": endpoint.url,
        "why": why,
        "owner": str(owner.id),
        "endpoint": str(endpoint.id),
    }
    subject = translate(owner.locale, Text.ENDPOINT_OFF_SUBJECT, **values)
    return Letter(user.email, subject, translate(owner.locale, Text.ENDPOINT_OFF_MAIL, **values))
