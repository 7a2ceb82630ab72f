"""Rows of replying: messages as they are accepted, runs of agents, side effects of tools."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from sqlalchemy import bindparam, func, select, text, update

from recado.conversation.models import Turn
from recado.conversation.ports import Usage
from recado.conversation.tables import agent_runs, messages, tool_effects
from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.unit_of_work import UnitOfWork

RunResult: TypeAlias = Literal["reply", "hand_off", "no_reply", "failed", "interrupted"]

# --- Accepted messages ------------------------------------------------------------------------------------------------

_INSERT = Prepared(
    inserting(
        messages, "id", "owner_id", "lane", "address_id", "provider", "account_ref", "provider_message_id",
        "from_address", "to_address", "text", "kind", "opt_out_type", "profile_name", "raw", "source", "received_at",
        "outcome", "outcome_reason", "outcome_at",
    )
    .on_conflict_do_nothing()
    .returning(messages.c.id)
)  # fmt: skip
_FILL_IN = Prepared(
    update(messages)
    .where(
        messages.c.address_id == bindparam("address"),
        messages.c.provider_message_id == bindparam("provider_message_id"),
        messages.c.source == text("'sweep'"),
        func.length(messages.c.raw) == text("0"),
    )
    .values(raw=param(messages.c.raw))
)


def add_new_messages(uow: UnitOfWork, rows: Iterable[Mapping[str, object]]) -> set[UUID]:
    """Store the messages that were not stored before. Return their ids.

    The rows must be in the order of their unique key, so that two writers of the same messages cannot deadlock.
    """
    return {id_ for (id_,) in uow.rows_of_many(_INSERT, rows)}


def fill_in_raw(uow: UnitOfWork, rows: Iterable[Mapping[str, object]]) -> None:
    """Store the raw forms of messages that the gap sweep had stored without one.

    Each row has `address`, `provider_message_id` and `raw`.
    """
    uow.run_many(_FILL_IN, rows)


# --- Runs of agents ---------------------------------------------------------------------------------------------------

_BEGIN_RUN = Prepared(inserting(agent_runs, "id", "owner_id", "turn_id", "input_tokens", "output_tokens", "started_at"))
_ENDED = ("result", "why", "model", "input_tokens", "output_tokens", "finished_at")
_END_RUN = Prepared(
    update(agent_runs)
    .where(agent_runs.c.id == param(agent_runs.c.id, "of_id"))
    .values({name: param(agent_runs.c[name]) for name in _ENDED})
)


@dataclass(frozen=True, slots=True)
class RunEnding:
    """How a run ended. `why` is set when it came to no result, and never holds the customer's words."""

    how: RunResult
    why: str | None = None


def begin_run(uow: UnitOfWork, run_id: UUID, turn: Turn, now: datetime) -> None:
    """Store that a run is about to begin. A row that is never ended is a run whose worker died."""
    uow.run(
        _BEGIN_RUN, id=run_id, owner_id=turn.owner_id, turn_id=turn.id, input_tokens=0, output_tokens=0, started_at=now
    )


def end_run(uow: UnitOfWork, run_id: UUID, ending: RunEnding, usage: Usage, now: datetime) -> None:
    """Store how a run ended and what it consumed. A second call changes nothing more."""
    uow.run(
        _END_RUN,
        of_id=run_id,
        result=ending.how,
        why=ending.why,
        model=usage.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        finished_at=now,
    )


# --- Side effects of tools --------------------------------------------------------------------------------------------

_BEGIN_EFFECT = Prepared(inserting(tool_effects, "key", "owner_id", "turn_id", "started_at").on_conflict_do_nothing())
_EFFECT = Prepared(
    select(tool_effects.c.result, tool_effects.c.finished_at).where(tool_effects.c.key == bindparam("key"))
)
_END_EFFECT = Prepared(
    update(tool_effects)
    .where(tool_effects.c.key == bindparam("of_key"))
    .values(result=param(tool_effects.c.result), finished_at=param(tool_effects.c.finished_at))
)
_ANY_EFFECT = Prepared(select(tool_effects.c.key).where(tool_effects.c.turn_id == bindparam("turn_id")).limit(1))


@dataclass(frozen=True, slots=True)
class Effect:
    """A side effect that was started before. `finished_at` is None when its worker died in it."""

    result: str
    finished_at: datetime | None


def begin_effect(uow: UnitOfWork, key: str, turn: Turn, now: datetime) -> Effect | None:
    """Store that a side effect starts. Return the stored one when it was started before."""
    if uow.run(_BEGIN_EFFECT, key=key, owner_id=turn.owner_id, turn_id=turn.id, started_at=now):
        return None
    [(result, finished_at)] = uow.rows(_EFFECT, key=key)
    return Effect(str(result), finished_at)


def end_effect(uow: UnitOfWork, key: str, result: str, now: datetime) -> None:
    """Store the result of a side effect."""
    uow.run(_END_EFFECT, of_key=key, result=result, finished_at=now)


def effects_ran(uow: UnitOfWork, turn: Turn) -> bool:
    """Return whether any tool with side effects was started in this turn."""
    return bool(uow.rows(_ANY_EFFECT, turn_id=turn.id))
