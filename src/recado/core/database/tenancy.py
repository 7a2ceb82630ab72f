"""The backstop between owners: on PostgreSQL row-level security hides the rows of other owners.

First of all `OwnedRepository` keeps owners apart: its statements all carry the owner. Should a statement ever forget
it, the database shows nothing of other owners: a transaction with an owner runs as the *tenant* role, which sees only
the rows of the owner it names; a transaction without one runs as the *system* role, which sees every row of ours. The
login role itself sees none. Role and owner are set for one transaction only, by the statement that begins it, so they
cost no round trip and nothing is carried over to the next user of the connection, however connections are pooled.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import MetaData, Table

PROVED_OWNER: Final = "recado_proved_owner"
"""PostgreSQL's function that returns the owner of a tenant's transaction, if its proof is right (see `roles.Proof`)."""
_OWNER_COLUMN: Final = "owner_id"
_INFO: Final = "tenant_column"
FUNCTIONS: Final = "functions_for_tenants"
"""Where metadata keep the functions for tenants."""


@dataclass(frozen=True, slots=True)
class TenantFunction:
    """SQL that tenants call on PostgreSQL and that runs as the system.

    It is for what policies would make slow: PostgreSQL compares the owner of each row before it compares anything that
    might tell of the row, such as words with an index of them. So `body` must itself ask only for rows of the owner
    that `recado_proved_owner()` returns, and no argument may name one.
    """

    name: str
    arguments: str
    returns: str
    body: str
    table: str
    """The table that it reads."""


def add_function(metadata: MetaData, function: TenantFunction) -> None:
    """Have `recado migrate` make a function for tenants."""
    metadata.info.setdefault(FUNCTIONS, []).append(function)


def functions_of(metadata: MetaData) -> list[TenantFunction]:
    """Return the functions for tenants of the tables that are given."""
    return [each for each in metadata.info.get(FUNCTIONS, ()) if each.table in metadata.tables]


def tenant_of(column: str) -> dict[object, object]:
    """Return the `info` of a table whose owner is in another column than `owner_id`."""
    return {_INFO: column}


def tenant_column(table: Table) -> str | None:
    """Return the column that holds the owner; None for tables without one, which only the system role sees."""
    named = table.info.get(_INFO)
    if isinstance(named, str):
        return named
    return _OWNER_COLUMN if _OWNER_COLUMN in table.c else None
