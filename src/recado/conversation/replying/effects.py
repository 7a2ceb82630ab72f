"""Tools with side effects run at most once per turn, however often the agent is run again.

The key is stored before the effect starts. When a worker dies in between, nobody can know whether it happened, so it is
not repeated: the agent is told, and may say so.
"""

from collections.abc import Awaitable, Callable

from sqlalchemy import bindparam, select, update

from recado.conversation.errors import EffectUncertain
from recado.conversation.models import Turn
from recado.conversation.tables import tool_effects
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.unit_of_work import UnitOfWork

_BEGIN = Prepared(inserting(tool_effects, "key", "owner_id", "turn_id", "started_at").on_conflict_do_nothing())
_FOUND = Prepared(
    select(tool_effects.c.result, tool_effects.c.finished_at).where(tool_effects.c.key == bindparam("key"))
)
_END = Prepared(
    update(tool_effects)
    .where(tool_effects.c.key == bindparam("of_key"))
    .values(result=param(tool_effects.c.result), finished_at=param(tool_effects.c.finished_at))
)
_ANY = Prepared(select(tool_effects.c.key).where(tool_effects.c.turn_id == bindparam("turn_id")).limit(1))


class StoredEffects:
    """The effects of one run of a turn; `ran` tells whether any was started, in this run or before."""

    def __init__(self, database: Database, clock: Clock, turn: Turn) -> None:
        self._database = database
        self._clock = clock
        self._turn = turn
        self._counts: dict[str, int] = {}
        self.ran = False

    async def once(self, tool: str, work: Callable[[], Awaitable[str]]) -> str:
        """See `conversation.ports.Effects`."""
        self.ran = True
        self._counts[tool] = number = self._counts.get(tool, 0) + 1
        key = f"{self._turn.id}:{tool}:{number}"
        stored = await self._database.write(lambda uow: self._begin(uow, key), owner=self._turn.owner_id)
        if stored is not None:
            return stored
        result = await work()
        await self._database.write(lambda uow: self._end(uow, key, result), owner=self._turn.owner_id)
        return result

    def _begin(self, uow: UnitOfWork, key: str) -> str | None:
        turn = self._turn
        if uow.run(_BEGIN, key=key, owner_id=turn.owner_id, turn_id=turn.id, started_at=self._clock.now()):
            return None
        [(result, finished_at)] = uow.rows(_FOUND, key=key)
        if finished_at is None:
            raise EffectUncertain(
                f"{key.split(':')[1]} was started in an earlier run of this turn and may have happened"
            )
        return str(result)

    def _end(self, uow: UnitOfWork, key: str, result: str) -> None:
        uow.run(_END, of_key=key, result=result, finished_at=self._clock.now())


def effects_ran(uow: UnitOfWork, turn: Turn) -> bool:
    """Whether any tool with side effects was started in this turn."""
    return bool(uow.rows(_ANY, turn_id=turn.id))
