"""Queries that check whether a database can be used: its schema, its write mode, a trial write, owners' keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, insert, text

from recado.core.database.repository import entities
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.storage.tables import cron_slots
from recado.identity.models import SealedOwnerKeys
from recado.identity.tables import owners

_REVISION: Final = text("SELECT version_num FROM alembic_version")
_WRITABLE: Final = text(
    "SELECT pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only') AS read_only"
)
_NEWEST_KEYS: Final = entities(owners, SealedOwnerKeys).order_by(owners.c.id.desc())
_SLOT: Final = {"name": "readiness.trial"}


def schema_revision(uow: UnitOfWork) -> str | None:
    """Return the revision of the schema, or None when none is stored."""
    found = uow.first(_REVISION)
    return None if found is None else str(found["version_num"])


def read_only_problem(uow: UnitOfWork) -> str | None:
    """Return why PostgreSQL refuses every write. The error of a trial write would not say it."""
    found = uow.first(_WRITABLE)
    if found is not None and found["standby"]:
        return "PostgreSQL is a standby and takes no writes: RECADO_DATABASE_URL must name the primary"
    if found is not None and found["read_only"] == "on":
        return "PostgreSQL takes no writes: default_transaction_read_only is on"
    return None


def trial_write(uow: UnitOfWork, now: datetime) -> None:
    """Insert and delete a row in one transaction. It reaches the disk like any other and leaves nothing."""
    uow.execute(insert(cron_slots), {**_SLOT, "slot": now})
    uow.execute(delete(cron_slots).where(cron_slots.c.name == bindparam("name")), dict(_SLOT))


def newest_keys(uow: UnitOfWork, limit: int) -> Sequence[SealedOwnerKeys]:
    """Return the sealed keys of the owners that registered last."""
    return [SealedOwnerKeys(**row) for row in uow.all(_NEWEST_KEYS.limit(limit))]
