"""Queries of the jobs in a restored copy."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select

from recado.conversation.replying.jobs import REPLY
from recado.conversation.sending.outbox import SEND
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.storage.tables import message_queue


def unfinished_jobs(uow: UnitOfWork) -> Sequence[UUID]:
    """Return the unfinished jobs that end in a message to a customer."""
    unfinished = message_queue.c.status.in_(("collecting", "waiting", "running"))
    ids = select(message_queue.c.id).where(unfinished, message_queue.c.name.in_((REPLY, SEND)))
    return [row["id"] for row in uow.all(ids.order_by(message_queue.c.id))]


def leased_jobs(uow: UnitOfWork, now: datetime) -> int:
    """Return the number of jobs that a worker holds."""
    held = select(func.count()).where(message_queue.c.status == "running", message_queue.c.leased_until > now)
    return int(uow.execute(held).scalar_one())
