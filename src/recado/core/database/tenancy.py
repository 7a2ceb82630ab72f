"""The second wall between owners: on PostgreSQL each transaction runs as a role that row-level security keeps apart.

The first wall is `OwnedRepository`, whose statements all carry the owner. Should one ever forget it, the database shows
nothing of anybody else: a transaction with an owner runs as the *tenant* role, which sees the rows of the owner it
names and no others; one without runs as the *system* role, which sees every row of ours. The login role itself sees
none. Both are set for one transaction only, in the words that begin it, so that they cost no round trip and a
connection carries nothing over to whoever uses it next, however connections are pooled.
"""

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import Table

from recado.core.errors import ConfigurationError

SETTING: Final = "recado.owner"
"""The setting that policies read."""
NOT_THERE: Final = frozenset({"22023", "42501"})
"""No such role, or not one that this login may take: what PostgreSQL says to the words that begin a transaction."""

_OWNER_COLUMN: Final = "owner_id"
_INFO: Final = "tenant_column"
_NAME_BYTES: Final = 63
"""Longer names are cut by PostgreSQL, and two databases' roles could become one."""


class RolesMissing(ConfigurationError):
    """The roles of the database were never made, or this login may not take them."""

    code = "core.roles_missing"


@dataclass(frozen=True, slots=True)
class Roles:
    """The two roles of one database. Roles belong to the whole cluster, so they bear the database's name."""

    system: str
    tenant: str


def roles_of(database: str) -> Roles:
    """What the roles of a database are called."""
    return Roles(_named("recado_system_", database), _named("recado_tenant_", database))


def _named(prefix: str, database: str) -> str:
    name = (prefix + database).encode()
    if len(name) <= _NAME_BYTES:
        return prefix + database
    digest = hashlib.sha256(database.encode()).hexdigest()[:8]
    return f"{name[: _NAME_BYTES - 9].decode(errors='ignore')}_{digest}"


def quoted(name: str) -> str:
    """A name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def tenant_of(column: str) -> dict[object, object]:
    """The `info` of a table whose rows' owner is in another column than `owner_id`."""
    return {_INFO: column}


def tenant_column(table: Table) -> str | None:
    """The column that says whose row it is; None where rows are nobody's, and so only the system's."""
    named = table.info.get(_INFO)
    if isinstance(named, str):
        return named
    return _OWNER_COLUMN if _OWNER_COLUMN in table.c else None


@dataclass(frozen=True, slots=True)
class Beginnings:
    """The words that begin each transaction of a connection."""

    system: str
    tenant: str

    def of(self, owner: UUID | None) -> str:
        """For the system, or for one owner. The words cannot bind values; a UUID is written in hex whatever it is."""
        return self.system if owner is None else f"{self.tenant}'{owner}'"


def beginnings(database: str, schema: str | None, *, read_only: bool) -> Beginnings:
    """How transactions begin in a database; those of a reader are one snapshot."""
    # What writes looks for rows by an index, always. On a table that was small a moment ago the planner reads all of it
    # instead, and keeps that plan while the table grows.
    # What a server or role makes the default isolation is not what the locks on lanes were thought out for.
    writing = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL enable_seqscan = off"
    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if read_only else writing
    # A search path may name the schema after whoever is the current role, which is another one in a moment.
    path = "" if schema in {None, "public"} else f"; SET LOCAL search_path = {quoted(str(schema))}"
    roles = roles_of(database)
    system, tenant = (f"{begin}{path}; SET LOCAL ROLE {quoted(role)}" for role in (roles.system, roles.tenant))
    return Beginnings(system, f"{tenant}; SET LOCAL {SETTING} = ")
