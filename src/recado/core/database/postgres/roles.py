"""The roles of a PostgreSQL database, and the statements that begin a transaction as one of them."""

import hashlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from recado.core.errors import ConfigurationError

SETTING: Final = "recado.owner"
"""The setting that policies read."""
ROLE_UNAVAILABLE: Final = frozenset({"22023", "42501"})
"""The role does not exist or this login may not take it: errors of the statements that begin a transaction."""
_NAME_BYTES: Final = 63
"""PostgreSQL cuts longer names, and two databases' roles could become one."""


class RolesMissing(ConfigurationError):
    """The roles of the database do not exist, or this login may not take them."""

    code = "core.roles_missing"


@dataclass(frozen=True, slots=True)
class Roles:
    """The two roles of one database. Roles belong to the whole cluster, so they carry the database's name."""

    system: str
    tenant: str


def roles_of(database: str) -> Roles:
    """Return the names of a database's roles."""
    return Roles(_role_name("recado_system_", database), _role_name("recado_tenant_", database))


def _role_name(prefix: str, database: str) -> str:
    name = (prefix + database).encode()
    if len(name) <= _NAME_BYTES:
        return prefix + database
    digest = hashlib.sha256(database.encode()).hexdigest()[:8]
    return f"{name[: _NAME_BYTES - 9].decode(errors='ignore')}_{digest}"


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class TransactionPreamble:
    """The statements that begin each transaction of a connection."""

    system: str
    tenant: str

    def of(self, owner: UUID | None) -> str:
        """Return the statements for the system, or for one owner.

        They cannot bind values; a UUID is hexadecimal text.
        """
        return self.system if owner is None else f"{self.tenant}'{owner}'"


def transaction_preamble(database: str, schema: str | None, *, read_only: bool) -> TransactionPreamble:
    """Return how transactions begin in a database; a reader's transaction is one snapshot."""
    # Writers always use an index. On a table that was small a moment ago the planner would scan all of it and keep that
    # plan while the table grows. The isolation level is set because a server's or role's own default may not fit the
    # locks on lanes.
    writing = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL enable_seqscan = off"
    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if read_only else writing
    # A search path may name a schema after the current role, which changes in a moment.
    path = "" if schema in {None, "public"} else f"; SET LOCAL search_path = {quoted(str(schema))}"
    roles = roles_of(database)
    system, tenant = (f"{begin}{path}; SET LOCAL ROLE {quoted(role)}" for role in (roles.system, roles.tenant))
    return TransactionPreamble(system, f"{tenant}; SET LOCAL {SETTING} = ")
