"""The backstop between owners: on PostgreSQL row-level security hides the rows of other owners.

First of all `OwnedRepository` keeps owners apart: its statements all carry the owner. Should a statement ever forget
it, the database shows nothing of other owners: a transaction with an owner runs as the *tenant* role, which sees only
the rows of the owner it names; a transaction without one runs as the *system* role, which sees every row of ours. The
login role itself sees none. Role and owner are set for one transaction only, by the statement that begins it, so they
cost no round trip and nothing is carried over to the next user of the connection, however connections are pooled.
"""

from typing import Final

from sqlalchemy import Table

_OWNER_COLUMN: Final = "owner_id"
_INFO: Final = "tenant_column"


def tenant_of(column: str) -> dict[object, object]:
    """Return the `info` of a table whose owner is in another column than `owner_id`."""
    return {_INFO: column}


def tenant_column(table: Table) -> str | None:
    """Return the column that holds the owner; None for tables without one, which only the system role sees."""
    named = table.info.get(_INFO)
    if isinstance(named, str):
        return named
    return _OWNER_COLUMN if _OWNER_COLUMN in table.c else None
