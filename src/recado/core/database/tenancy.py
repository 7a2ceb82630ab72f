"""The second wall between owners: on PostgreSQL each transaction runs as a role that row-level security keeps apart.

The first wall is `OwnedRepository`, whose statements all carry the owner. Should one ever forget it, the database shows
nothing of anybody else: a transaction with an owner runs as the *tenant* role, which sees the rows of the owner it
names and no others; one without runs as the *system* role, which sees every row of ours. The login role itself sees
none. Both are set for one transaction only, in the words that begin it, so that they cost no round trip and a
connection carries nothing over to whoever uses it next, however connections are pooled.
"""

from typing import Final

from sqlalchemy import Table

_OWNER_COLUMN: Final = "owner_id"
_INFO: Final = "tenant_column"


def tenant_of(column: str) -> dict[object, object]:
    """The `info` of a table whose rows' owner is in another column than `owner_id`."""
    return {_INFO: column}


def tenant_column(table: Table) -> str | None:
    """The column that says whose row it is; None where rows are nobody's, and so only the system's."""
    named = table.info.get(_INFO)
    if isinstance(named, str):
        return named
    return _OWNER_COLUMN if _OWNER_COLUMN in table.c else None
