"""What the rows remember of wake-ups that went to a broker."""

from sqlalchemy import Integer, bindparam, text

from recado.core.database.prepared import Prepared
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.storage.tables import STEP, UNFINISHED


def forget_rings(uow: UnitOfWork) -> int:
    """As if no broker had been rung for some of the waiting jobs; how many they were."""
    return uow.run(_FORGET_RINGS, most=STEP)


_RUNG = f"""SELECT id FROM message_queue
    WHERE status IN ({", ".join(f"'{status}'" for status in UNFINISHED)}) AND status <> 'running'
    AND dispatched_at IS NOT NULL LIMIT :most"""
_MOST = bindparam("most", type_=Integer)
_UNRING = "UPDATE message_queue SET dispatched_at = NULL WHERE id"
_FORGET_RINGS = Prepared(
    text(f"{_UNRING} IN ({_RUNG})").bindparams(_MOST),
    on_postgresql=text(f"{_UNRING} = ANY (ARRAY({_RUNG} FOR UPDATE SKIP LOCKED))").bindparams(_MOST),
)
