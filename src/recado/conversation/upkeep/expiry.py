"""Conversations in which nobody speaks any more: first they are idle, then they are over.

Both are questions to an index, asked by cron; no conversation has a timer. What is found is judged again, one lane at a
time, once its lane is held: whatever was stored before that moment wins. Passed over are a lane in which something is
under way, what a person or nobody holds, and what waits in an inbox.

The nudge of an owner who has one is stored with the change to `idle`, so there is one for each stretch of silence. It
is no activity: the time to the end goes on from what was said before it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import bindparam, select, text, tuple_, update

from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Conversation, ConversationStatus
from recado.conversation.replying.replays import WINDOW
from recado.conversation.repository import Contacts, Conversations, Messages
from recado.conversation.sending.outbox import Outbox, Split, send_lane
from recado.conversation.tables import conversations
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.prepared import Prepared, param
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, StorageUnavailable
from recado.core.ids import Ids
from recado.core.queue.storage import lanes
from recado.core.queue.storage.claiming import LEEWAY
from recado.identity.repository import owner_in

log = structlog.get_logger(__name__)

PAGE: Final = 200
AT_ONCE: Final = 20
"""How many lanes are judged at a time; their transactions share commits."""
RUN_LIMIT: Final = timedelta(minutes=3)
"""When a round leaves the rest to the next one."""

_FIRST: Final = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))

# The first two conditions are those of the index, word for word: SQLite uses it for nothing else.
IDLE_QUERY = Prepared(
    select(conversations.c.last_activity_at, conversations.c.id, conversations.c.owner_id, conversations.c.lane)
    .where(
        conversations.c.status != text("'closed'"),
        conversations.c.held_by == text("'agent'"),
        conversations.c.status == bindparam("status"),
        conversations.c.last_activity_at <= bindparam("since"),
        tuple_(conversations.c.last_activity_at, conversations.c.id)
        > tuple_(param(conversations.c.last_activity_at, "after"), param(conversations.c.id, "after_id")),
    )
    .order_by(conversations.c.last_activity_at, conversations.c.id)
    .limit(bindparam("most"))
)

_AHEAD = Prepared(
    select(conversations.c.id)
    .where(
        conversations.c.status != text("'closed'"),
        conversations.c.held_by == text("'agent'"),
        conversations.c.status == bindparam("status"),
        conversations.c.last_activity_at > bindparam("ahead"),
    )
    .limit(bindparam("most"))
)
_RESET = Prepared(
    update(conversations)
    .where(conversations.c.id == bindparam("of_id"), conversations.c.last_activity_at > bindparam("ahead"))
    .values(last_activity_at=param(conversations.c.last_activity_at, "now"))
)


@dataclass(frozen=True, slots=True)
class IdleLimits:
    """After how much silence a conversation is idle, and after how much it is over."""

    idle: timedelta = timedelta(minutes=15)
    expire: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A conversation that looked quiet when the page was read."""

    last_activity_at: datetime
    id: UUID
    owner_id: UUID
    lane: str


class IdleExpiry:
    """One round of either kind; any number of rounds may go on at once."""

    def __init__(
        self, database: Database, clock: Clock, ids: Ids, split: Split, limits: IdleLimits, *, page: int = PAGE
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._split = split
        self._limits = limits
        self._size = page

    async def mark_idle(self) -> int:
        """Make idle what has been silent for long enough; how many."""
        return await self._run(("open",), self._limits.idle, self._mark_idle)

    async def close_expired(self) -> int:
        """Close what has been silent for longer still; how many."""
        return await self._run(("open", "idle"), self._limits.expire, self._close)

    async def _run(
        self,
        statuses: Sequence[ConversationStatus],
        silence: timedelta,
        change: Callable[[UnitOfWork, Conversation, datetime], bool],
    ) -> int:
        now, changed = self._clock.now(), 0
        for status in statuses:
            await self._reset_future_activity(status, now)
            after = _FIRST
            while self._clock.now() - now < RUN_LIMIT:
                page = await self._page(status, now - silence, after)
                for n in range(0, len(page), AT_ONCE):
                    changed += await self._change_each(page[n : n + AT_ONCE], now - silence, change)
                if len(page) < self._size:
                    break
                after = (page[-1].last_activity_at, page[-1].id)
        return changed

    async def _reset_future_activity(self, status: ConversationStatus, now: datetime) -> None:
        """Speech that lies in the future was told by a clock that has been set back since: its silence begins now."""
        ahead = now + LEEWAY

        def read_ahead(uow: UnitOfWork) -> list[UUID]:
            return [id_ for (id_,) in uow.rows(_AHEAD, status=status, ahead=ahead, most=self._size)]

        while found := await self._database.read(read_ahead, owner=None):
            rows = [{"of_id": id_, "now": now, "ahead": ahead} for id_ in found]
            await self._database.write(partial(UnitOfWork.run_many, prepared=_RESET, values=rows), owner=None)

    async def _page(
        self, status: ConversationStatus, since: datetime, after: tuple[datetime, UUID]
    ) -> list[_Candidate]:
        def read(uow: UnitOfWork) -> list[_Candidate]:
            rows = uow.rows(IDLE_QUERY, status=status, since=since, after=after[0], after_id=after[1], most=self._size)
            return [_Candidate(*row) for row in rows]

        return await self._database.read(read, owner=None)

    async def _change_each(
        self,
        page: Sequence[_Candidate],
        since: datetime,
        change: Callable[[UnitOfWork, Conversation, datetime], bool],
    ) -> int:
        """Each in a transaction of its own, so that what is wrong with one of them concerns no other."""

        def work(found: _Candidate) -> Callable[[UnitOfWork], bool]:
            def change_one(uow: UnitOfWork) -> bool:
                conversation = self._still_idle(uow, found, since)
                return conversation is not None and change(uow, conversation, self._clock.now())

            return change_one

        results = await asyncio.gather(
            *[self._database.write(work(found), owner=found.owner_id) for found in page], return_exceptions=True
        )
        for found, result in zip(page, results, strict=True):
            if isinstance(result, Busy | StorageUnavailable) or not isinstance(result, bool | Exception):
                raise result
            if isinstance(result, Exception):
                log.error("conversation.expiry_failed", conversation=str(found.id), error=repr(result))
        return sum(result is True for result in results)

    def _still_idle(self, uow: UnitOfWork, found: _Candidate, since: datetime) -> Conversation | None:
        """The conversation once nobody else can change its lane, if it is still one in which nobody speaks."""
        lanes.lock_lanes(uow, [send_lane(found.lane)])
        kept = Conversations(uow)
        conversation = kept.require(found.id)
        if conversation.status == "closed" or conversation.held_by != "agent":
            return None
        until = self._clock.now() + LEEWAY  # What lies behind it was told by a clock that has been set back since.
        if kept.activity_of(conversation, until) > since or kept.is_live(conversation):
            return None
        return conversation

    def _mark_idle(self, uow: UnitOfWork, conversation: Conversation, now: datetime) -> bool:
        if conversation.status != "open":
            return False
        nudge = self._nudge_for(uow, conversation, now)
        answer = Outbox(uow, self._ids, now, self._split).put(conversation, "notice", nudge) if nudge else None
        Lifecycle(uow, self._ids, now).mark_idle(conversation, answer)
        return True

    def _close(self, uow: UnitOfWork, conversation: Conversation, now: datetime) -> bool:
        Lifecycle(uow, self._ids, now).close(conversation, "system", "expired")
        return True

    def _nudge_for(self, uow: UnitOfWork, conversation: Conversation, now: datetime) -> str | None:
        """The owner's nudge, unless it could not be sent or would come long after everybody has left."""
        owner = owner_in(uow, conversation.owner_id)
        newest = Messages(uow).newest(conversation.id)
        if owner.nudge_text is None or owner.is_closed or newest is None:
            return None
        if Contacts(uow).require(conversation.contact_id).opted_out_at is not None:
            return None
        if now - newest.received_at >= WINDOW or now - conversation.last_activity_at >= self._limits.expire:
            return None
        return owner.nudge_text
