"""A provider with its own truth: what it took, whatever it told us, and what a part may cost at most.

It is also the judge. Before it takes a message for a part that it has taken before, it asks whether the ledger allows
that: only when the earlier one was absent from three complete looks at its list, the last of them two minutes after the
attempt's deadline; when an owner who prefers delivery waited ten minutes for an unclear one; or when a person, who was
told that nobody knows, sent it again. Never after a callback has named the attempt.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from recado.channels.twilio.values import MessageSid
from recado.conversation.ports import NotProcessed, OutboundText, Pull, Refused, SendResult, Sent, Unknown
from recado.conversation.sending.unknown import ABSENT_AFTER, ABSENT_PULLS, CALL_LIMIT, CLEAR_WITHIN
from recado.core.clock import FrozenClock
from tests.chaos.models.inline import InlineDatabase
from tests.world import Lost, ScriptedChannel, Taken, WorkerDied

Ending: TypeAlias = NotProcessed | Refused | Unknown | Lost | None


@dataclass(slots=True)
class Delivery:
    """One message that the provider took, and what we could have known about it."""

    taken: Taken
    attempt: UUID
    part: bytes
    answer: bytes
    absent_from: list[datetime] = field(default_factory=list)
    """The complete looks that did not show it."""

    reported: bool = False
    """A callback has named its attempt."""

    def excuses(self, now: datetime, *, delivery: bool, retried_at: datetime | None) -> bool:
        """Whether the ledger allows the part to be sent once more."""
        if self.reported:
            return False
        deadline = self.taken.at + CALL_LIMIT
        proven = len(self.absent_from) >= ABSENT_PULLS and self.absent_from[-1] >= deadline + ABSENT_AFTER
        unclear = delivery and now >= deadline + CLEAR_WITHIN
        return proven or unclear or (retried_at is not None and retried_at >= self.taken.at)


@dataclass(slots=True)
class Hanging:
    """A call whose answer has not come back yet."""

    message: OutboundText
    result: SendResult
    future: "asyncio.Future[SendResult]"


class Provider(ScriptedChannel):
    """Takes, refuses, hangs and lies as it is told."""

    def __init__(self, clock: FrozenClock, database: InlineDatabase, prefers_delivery: Callable[[], bool]) -> None:
        super().__init__(clock)
        self._now = clock.now
        self._database = database
        self._prefers_delivery = prefers_delivery
        self.endings: list[Ending] = []
        self.hold = False
        self.hanging: list[Hanging] = []
        self.deliveries: list[Delivery] = []
        self.retried: dict[bytes, datetime] = {}
        """When a person last sent an answer again."""

    async def send(self, message: OutboundText) -> SendResult:
        self.calls += 1
        self._judge(message)
        ending = self.endings.pop(0) if self.endings else None
        result = self._answer(message, ending)
        if not self.hold:
            return result
        self.hold = False
        call = Hanging(message, result, asyncio.get_running_loop().create_future())
        self.hanging.append(call)
        return await call.future

    async def find(self, message: OutboundText, *, created_after: datetime, created_before: datetime) -> Pull:
        pull = await super().find(message, created_after=created_after, created_before=created_before)
        shown = {listed.provider_message_id for listed in pull.messages}
        for each in self.deliveries:
            if (
                pull.complete
                and each.taken.message.to_address == message.to_address
                and each.taken.sid.value not in shown
            ):
                each.absent_from.append(self._now())
        return pull

    # --- What the outside does to a call that hangs -------------------------------------------------------------------

    def comes_back(self, number: int) -> None:
        call = self.hanging.pop(number)
        call.future.set_result(call.result)

    def dies(self, number: int) -> None:
        """The worker that waits for it is killed."""
        self.hanging.pop(number).future.set_exception(WorkerDied("in a call"))

    # --- The judge ----------------------------------------------------------------------------------------------------

    def deliveries_of(self, part: bytes) -> list[Delivery]:
        return [each for each in self.deliveries if each.part == part]

    def _answer(self, message: OutboundText, ending: Ending) -> SendResult:
        if ending is not None and not isinstance(ending, Lost):
            return ending
        taken = Taken(
            message, MessageSid(f"SM{len(self.taken) + 1:032x}"), self._now(), ending is None or ending.listed
        )
        self.taken.append(taken)
        part, answer = self._part_of(message)
        self.deliveries.append(Delivery(taken, message.attempt_id, part, answer))
        return Sent(taken.sid.value) if ending is None else Unknown("timeout", "the answer never came")

    def _judge(self, message: OutboundText) -> None:
        part, answer = self._part_of(message)
        for earlier in self.deliveries_of(part):
            assert earlier.excuses(
                self._now(), delivery=self._prefers_delivery(), retried_at=self.retried.get(answer)
            ), f"{message.text[:20]!r} is sent again, though nothing excuses it: {earlier}"
        before = self._database.rows(
            """SELECT part_no FROM answer_parts WHERE answer_id = ? AND state <> 'accepted'
                AND part_no < (SELECT part_no FROM answer_parts WHERE id = ?)""",
            answer,
            part,
        )
        assert before == [], "a part goes out before the one ahead of it has arrived"
        [(busy,)] = self._database.rows(
            """SELECT count(*) FROM attempts x JOIN attempts y ON y.lane = x.lane AND y.id <> x.id
                WHERE x.id = ? AND y.state IN ('sending', 'unknown')""",
            message.attempt_id.bytes,
        )
        assert busy == 0, "two sends to one pair at a time"
        self._judge_speaker(answer)

    def _judge_speaker(self, answer: bytes) -> None:
        [(author, held_by, opted_out)] = self._database.rows(
            """SELECT a.author, c.held_by, k.opted_out_at IS NOT NULL FROM answers a
                JOIN conversations c ON c.id = a.conversation_id JOIN contacts k ON k.id = c.contact_id
                WHERE a.id = ?""",
            answer,
        )
        assert not opted_out, "a customer who opted out is written to"
        assert author in ("person", "notice") or held_by == "agent", f"the {author} speaks while {held_by} holds it"

    def _part_of(self, message: OutboundText) -> tuple[bytes, bytes]:
        [(part, answer, state)] = self._database.rows(
            "SELECT part_id, answer_id, state FROM attempts WHERE id = ?", message.attempt_id.bytes
        )
        assert state == "sending", "the attempt's row is committed before the call"
        return part, answer
