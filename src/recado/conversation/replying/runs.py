"""Each run of an agent has its row from before it begins, so what it cost is known whatever becomes of it.

The row is made in the transaction that opens the turn, before the agent is called, and ended in one of its own: step 8
may lose its fence, be rolled back or never come. A row without an end is a run whose worker died.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from sqlalchemy import update

from recado.conversation.models import Turn
from recado.conversation.ports import AgentResult, HandOff, NoReply, Reply, Usage
from recado.conversation.tables import agent_runs
from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.unit_of_work import UnitOfWork

RunResult: TypeAlias = Literal["reply", "hand_off", "no_reply", "failed", "interrupted"]

_RESULTS: dict[type, RunResult] = {Reply: "reply", HandOff: "hand_off", NoReply: "no_reply"}

_BEGIN = Prepared(inserting(agent_runs, "id", "owner_id", "turn_id", "input_tokens", "output_tokens", "started_at"))
_ENDED = ("result", "why", "model", "input_tokens", "output_tokens", "finished_at")
_END = Prepared(
    update(agent_runs)
    .where(agent_runs.c.id == param(agent_runs.c.id, "of_id"))
    .values({name: param(agent_runs.c[name]) for name in _ENDED})
)


@dataclass(frozen=True, slots=True)
class RunEnding:
    """How a run ended; `why` for those that came to no result, and never in the customer's words."""

    how: RunResult
    why: str | None = None


def result_of(result: AgentResult) -> RunResult:
    """The ending of a run that came to a result."""
    return _RESULTS[type(result)]


def begin_run(uow: UnitOfWork, run_id: UUID, turn: Turn, now: datetime) -> None:
    """Store that a run is about to begin."""
    uow.run(_BEGIN, id=run_id, owner_id=turn.owner_id, turn_id=turn.id, input_tokens=0, output_tokens=0, started_at=now)


def end_run(uow: UnitOfWork, run_id: UUID, ending: RunEnding, usage: Usage, now: datetime) -> None:
    """Store what became of a run; saying it twice is saying it once."""
    uow.run(
        _END,
        of_id=run_id,
        result=ending.how,
        why=ending.why,
        model=usage.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        finished_at=now,
    )
