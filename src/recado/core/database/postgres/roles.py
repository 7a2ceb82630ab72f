"""The roles of a PostgreSQL database, and the words that begin each transaction as one of them."""

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from recado.core.errors import ConfigurationError

SETTING: Final = "recado.owner"
"""The setting that policies read."""
ROLE_UNAVAILABLE: Final = frozenset({"22023", "42501"})
"""No such role, or not one that this login may take: what PostgreSQL says to the words that begin a transaction."""
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
    return Roles(_role_name("recado_system_", database), _role_name("recado_tenant_", database))


def _role_name(prefix: str, database: str) -> str:
    name = (prefix + database).encode()
    if len(name) <= _NAME_BYTES:
        return prefix + database
    digest = hashlib.sha256(database.encode()).hexdigest()[:8]
    return f"{name[: _NAME_BYTES - 9].decode(errors='ignore')}_{digest}"


def quoted(name: str) -> str:
    """A name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class TransactionPreamble:
    """The words that begin each transaction of a connection."""

    system: str
    tenant: str

    def of(self, owner: UUID | None) -> str:
        """For the system, or for one owner. The words cannot bind values; a UUID is written in hex whatever it is."""
        return self.system if owner is None else f"{self.tenant}'{owner}'"


def transaction_preamble(database: str, schema: str | None, *, read_only: bool) -> TransactionPreamble:
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
    return TransactionPreamble(system, f"{tenant}; SET LOCAL {SETTING} = ")
