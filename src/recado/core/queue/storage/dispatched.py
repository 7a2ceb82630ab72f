"""What the rows remember of wake-ups that went to a broker."""

from sqlalchemy import Integer, bindparam, text

from recado.core.database.prepared import Prepared
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.storage.tables import STEP, UNFINISHED


def clear_dispatched(uow: UnitOfWork) -> int:
    """As if no broker had been rung for some of the waiting jobs; how many they were."""
    return uow.run(_CLEAR_DISPATCHED, most=STEP)


_DISPATCHED = f"""SELECT id FROM message_queue
    WHERE status IN ({", ".join(f"'{status}'" for status in UNFINISHED)}) AND status <> 'running'
    AND dispatched_at IS NOT NULL LIMIT :most"""
_MOST = bindparam("most", type_=Integer)
_CLEAR = "UPDATE message_queue SET dispatched_at = NULL WHERE id"
_CLEAR_DISPATCHED = Prepared(
    text(f"{_CLEAR} IN ({_DISPATCHED})").bindparams(_MOST),
    on_postgresql=text(f"{_CLEAR} = ANY (ARRAY({_DISPATCHED} FOR UPDATE SKIP LOCKED))").bindparams(_MOST),
)
