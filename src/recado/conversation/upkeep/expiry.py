"""Conversations in which nobody speaks any more: first they become idle, then they are closed.

Cron asks an index for both; no conversation has a timer. Each one found is checked again in a transaction of its own,
once its lane is locked: whatever was stored before that moment wins. Left alone are a lane in which something is under
way, a conversation that a person or nobody holds, and one that waits in an inbox.

The nudge of an owner who has one is stored with the change to `idle`, so there is one for each stretch of silence. It
is no activity: the time to the end runs on from what was said before it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeAlias

import structlog

from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Conversation, ConversationStatus
from recado.conversation.ports import Channels
from recado.conversation.repository import Contacts, Conversations, Messages
from recado.conversation.sending.outbox import Outbox, Split
from recado.conversation.upkeep.repository import (
    IdleCandidate,
    active_after,
    idle_conversations,
    reset_activity,
)
from recado.conversation.values import Address
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.pages import FIRST_PLACE
from recado.core.errors import Busy, StorageUnavailable
from recado.core.ids import Ids
from recado.core.queue.storage.claiming import LEEWAY
from recado.core.queue.transactions import LaneTransaction, Transaction, Transactions, UnlockedTransaction
from recado.identity.repository import owner_in

log = structlog.get_logger(__name__)

PAGE: Final = 200
AT_ONCE: Final = 20
"""How many conversations are changed at a time; their transactions share commits."""
RUN_LIMIT: Final = timedelta(minutes=3)
"""After this a run leaves the rest to the next one."""


_Change: TypeAlias = Callable[[LaneTransaction, Conversation], bool]


@dataclass(frozen=True, slots=True)
class IdleLimits:
    """After how much silence a conversation becomes idle, and after how much it is closed."""

    idle: timedelta = timedelta(minutes=15)
    expire: timedelta = timedelta(hours=24)


class IdleExpiry:
    """Makes conversations idle and closes them. Any number of runs may overlap."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        channels: Channels,
        split: Split,
        limits: IdleLimits,
        *,
        page: int = PAGE,
    ) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._clock = clock
        self._channels = channels
        self._split = split
        self._limits = limits
        self._page_size = page

    async def mark_idle(self) -> int:
        """Make conversations idle that have been silent for long enough. Return their number."""
        return await self._run(("open",), self._limits.idle, self._make_idle)

    async def close_expired(self) -> int:
        """Close conversations that have been silent for longer still. Return their number."""
        return await self._run(("open", "idle"), self._limits.expire, self._close)

    async def _run(self, statuses: Sequence[ConversationStatus], silence: timedelta, change: _Change) -> int:
        begun, changed = self._clock.now(), 0
        since = begun - silence
        for status in statuses:
            await self._reset_future_activity(status, begun)
            after = FIRST_PLACE
            while self._clock.now() - begun < RUN_LIMIT:
                read = partial(idle_conversations, status=status, since=since, after=after, limit=self._page_size)
                page = await self._database.read(read, owner=None)
                for n in range(0, len(page), AT_ONCE):
                    changed += await self._change_each(page[n : n + AT_ONCE], since, change)
                if len(page) < self._page_size:
                    break
                after = (page[-1].last_activity_at, page[-1].id)
        return changed

    async def _reset_future_activity(self, status: ConversationStatus, now: datetime) -> None:
        """Let silence begin now where the last activity lies in the future: a clock has been set back since."""
        ahead = now + LEEWAY
        read = partial(active_after, status=status, moment=ahead, limit=self._page_size)
        while found := await self._database.read(read, owner=None):
            write = partial(reset_activity, ids=found, ahead=ahead, now=now)
            await self._database.write(write, owner=None)

    async def _change_each(self, page: Sequence[IdleCandidate], since: datetime, change: _Change) -> int:
        """Change each in a transaction of its own, so that a fault of one does not concern the others."""
        writes = [
            self._transactions.write(
                partial(_change_if_idle, found=found, since=since, change=change), owner=found.owner_id
            )
            for found in page
        ]
        results = await asyncio.gather(*writes, return_exceptions=True)
        for found, result in zip(page, results, strict=True):
            if isinstance(result, Busy | StorageUnavailable) or not isinstance(result, bool | Exception):
                raise result
            if isinstance(result, Exception):
                log.error("conversation.expiry_failed", conversation=str(found.id), error=repr(result))
        return sum(result is True for result in results)

    def _make_idle(self, tx: LaneTransaction, conversation: Conversation) -> bool:
        if conversation.status != "open":
            return False
        nudge = self._nudge_for(tx, conversation)
        answer = Outbox(tx, self._split).put(conversation, "notice", nudge) if nudge else None
        Lifecycle(tx).mark_idle(conversation, answer)
        return True

    def _close(self, tx: LaneTransaction, conversation: Conversation) -> bool:
        Lifecycle(tx).close(conversation, "system", "expired")
        return True

    def _nudge_for(self, tx: Transaction, conversation: Conversation) -> str | None:
        """Return the owner's nudge, unless it could not be sent or would come long after the customer has left."""
        owner = owner_in(tx.uow, conversation.owner_id)
        newest = Messages(tx.uow).newest(conversation.id)
        if owner.nudge_text is None or owner.is_closed or newest is None:
            return None
        if not Contacts(tx.uow).require(conversation.contact_id).may_be_written_to:
            return None
        rules = self._channels.rules_for(newest.provider, Address(newest.from_address))
        if rules.is_too_old(newest.received_at, tx.now):
            return None
        if tx.now - conversation.last_activity_at >= self._limits.expire:
            return None
        return owner.nudge_text


def _change_if_idle(tx: UnlockedTransaction, found: IdleCandidate, since: datetime, change: _Change) -> bool:
    """Change a conversation if nobody speaks in it even now that its lane is locked."""
    held = tx.hold(found.lane)
    conversations = Conversations(tx.uow)
    conversation = conversations.require(found.id)
    if conversation.status == "closed" or conversation.held_by != "agent":
        return False
    until = held.now + LEEWAY  # Activity after this is of a clock that has been set back since.
    if conversations.activity_of(conversation, until) > since or conversations.is_live(conversation):
        return False
    return change(held, conversation)
