"""Side effects of tools, run at most once per turn however often the agent is run again.

The key `turn:tool:n` is stored before the effect starts. When a worker dies between the two, nobody can know whether
the effect happened, so it is not repeated: the agent is told, and may say so.
"""

from collections.abc import Awaitable, Callable

from recado.conversation.errors import EffectUncertain
from recado.conversation.models import Turn
from recado.conversation.replying.repository import begin_effect, end_effect
from recado.core.queue.transactions import Transaction, Transactions


class StoredEffects:
    """The effects of one run of a turn. `ran` tells whether this run has asked for any."""

    def __init__(self, transactions: Transactions, turn: Turn) -> None:
        self._transactions = transactions
        self._turn = turn
        self._counts: dict[str, int] = {}
        self.ran = False

    async def once(self, tool: str, work: Callable[[], Awaitable[str]]) -> str:
        """Return the result of `work`, or the stored one (see `conversation.ports.Effects`)."""
        self.ran = True
        self._counts[tool] = number = self._counts.get(tool, 0) + 1
        key = f"{self._turn.id}:{tool}:{number}"

        def end(tx: Transaction) -> None:
            end_effect(tx.uow, key, result, tx.now)

        stored = await self._transactions.write(lambda tx: self._begin(tx, key), owner=self._turn.owner_id)
        if stored is not None:
            return stored
        result = await work()
        await self._transactions.write(end, owner=self._turn.owner_id)
        return result

    def _begin(self, tx: Transaction, key: str) -> str | None:
        before = begin_effect(tx.uow, key, self._turn, tx.now)
        if before is None:
            return None
        if before.finished_at is None:
            tool = key.split(":")[1]
            raise EffectUncertain(f"{tool} was started in an earlier run of this turn and may have happened")
        return before.result
