"""A message that begins with us: it opens a conversation, or is a notice in one that goes on.

It goes out over the same machine as every answer, serially with all else to that customer. It takes the conversation
from nobody: the one who held it before holds it still, and the agent answers what the customer says to it.
"""

from collections.abc import Callable, Mapping
from uuid import UUID

from recado.conversation.contacts import contact_at
from recado.conversation.errors import UnknownNumber
from recado.conversation.lifecycle import conversation_in
from recado.conversation.models import Answer
from recado.conversation.people.sendable import checked_text, nothing_more, require_sendable
from recado.conversation.ports import NumberOfOurs, Numbers
from recado.conversation.repository import Messages
from recado.conversation.sending.outbox import Outbox, Route, Split
from recado.conversation.sending.results import SendRules
from recado.conversation.values import Address, customer_lane
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput
from recado.core.ids import Ids
from recado.core.queue.lane import Lane, send_lane
from recado.core.queue.storage import lanes
from recado.core.queue.storage.lanes import LaneOwner
from recado.core.queue.transactions import LaneTransaction, Transaction, Transactions, UnlockedTransaction
from recado.identity import audit
from recado.identity.keys import KeyRing
from recado.identity.principal import Principal


class MessageService:
    """Begins conversations."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        split: Split,
        rules: SendRules,
        numbers: Numbers,
        keys: KeyRing,
    ) -> None:
        self._transactions = Transactions(database, clock, ids)
        self._split = split
        self._rules = rules
        self._numbers = numbers
        self._keys = keys

    async def send(
        self,
        principal: Principal,
        from_: Address,
        to: Address,
        text: str,
        *,
        then: Callable[[Transaction, Answer], None] = nothing_more,
    ) -> Answer:
        """Store a message to a customer from a number of the owner's.

        Raises `UnknownNumber`, `InvalidInput` for a customer whom that number cannot reach, and `CannotSend` when it
        could not be sent now. `then` is called at the end of its transaction.
        """
        text = checked_text(text)

        def work(tx: UnlockedTransaction) -> Answer:
            number = self._numbers.in_use(tx.uow, from_)
            if number is None:
                raise UnknownNumber(from_.value)
            _check_pair(from_, to)
            lane = customer_lane(self._keys.of(tx.uow, principal.owner_id).lane_salt, number.id, to.match_key)
            held = tx.holding(lanes.hold_or_create(tx.uow, _both(lane, principal.owner_id)))
            answer = self._put(held, principal, number, to, lane, text)
            then(held, answer)
            return answer

        return await self._transactions.write(work, owner=principal.owner_id)

    def _put(
        self, tx: LaneTransaction, principal: Principal, number: NumberOfOurs, to: Address, lane: Lane, text: str
    ) -> Answer:
        contact = contact_at(tx, principal.owner_id, to)
        conversation = conversation_in(tx, lane, number.id, contact, principal, tx.now)
        newest = Messages(tx.uow).newest_in_lane(lane)
        route = Route(number.id, number.address, to.value if newest is None else newest.from_address)
        outbox = Outbox(tx, self._split)
        answer = outbox.put(conversation, "notice", text, author_name=principal.name, route=route)
        require_sendable(tx, answer, conversation, self._rules)
        audit.record(tx, principal, "message.sent", "conversation", conversation.id, {"answer_id": str(answer.id)})
        return answer


def _check_pair(from_: Address, to: Address) -> None:
    if from_.channel != to.channel:
        raise InvalidInput(f"a number of {from_.channel} sends to addresses of {from_.channel} only: {to} is none")
    if from_.match_key == to.match_key:
        raise InvalidInput(f"{to} would write to itself")


def _both(lane: Lane, owner_id: UUID) -> Mapping[Lane, LaneOwner]:
    """Return the lanes of a pair of addresses; nobody may have written between them yet."""
    return {lane: LaneOwner(owner_id, "reply"), send_lane(lane): LaneOwner(owner_id, "send")}
