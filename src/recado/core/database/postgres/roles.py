"""The roles of a PostgreSQL database, and the statements that begin a transaction as one of them.

The system's connections are opened with the login of the URL and take the system role in each transaction. Tenants'
connections are opened as the tenant role itself, if `recado migrate` could make it a login: then nothing that runs on
them can take another role. If it could not, they take the tenant role as the system's take theirs.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from recado.core.errors import ConfigurationError

SETTING: Final = "recado.owner"
"""The setting that names a transaction's owner to the policies."""
PROOF_SETTING: Final = "recado.proof"
"""The setting that proves to them that Recado named it."""
NAME_OWNER: Final = f"SELECT set_config('{SETTING}', $1, true), set_config('{PROOF_SETTING}', $2, true)"
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
class Proof:
    """Proves to the policies that Recado itself named a transaction's owner.

    SQL that got into a tenant's transaction can name another owner, but cannot make the proof for it: the secret is in
    a table that tenants cannot read. Nor can it see the proof of another transaction: sessions of one role see each
    other's statements in `pg_stat_activity`, so it is a bound value, which is not shown there. It is bound to the
    server's process too. Behind a pooler the process is not known, and 0 stands for it.
    """

    secret: bytes = field(repr=False)
    process: int

    def of(self, owner: UUID) -> str:
        """Return the proof of an owner, as hexadecimal digits. `tenancy.py` says the same in SQL."""
        return hashlib.sha256(self.secret + owner.bytes + self.process.to_bytes(4)).hexdigest()


@dataclass(frozen=True, slots=True)
class TransactionPreamble:
    """The statements that begin each transaction of a connection: of the system, or of tenants (with a `proof`)."""

    begin: str
    proof: Proof | None = None

    def named(self, owner: UUID | None) -> tuple[str, str] | None:
        """Return the values of `NAME_OWNER`, the next statement on a connection of tenants. None: there is no next."""
        if self.proof is None:
            return None
        if owner is None:
            raise RuntimeError("a transaction of the system was about to begin on a connection of tenants")
        return str(owner), self.proof.of(owner)


def transaction_preamble(
    schema: str | None, *, role: str | None, read_only: bool, proof: Proof | None = None
) -> TransactionPreamble:
    """Return how transactions begin on a connection; a reader's transaction is one snapshot.

    `role` is the role to take; None on a connection that was opened as its role.
    """
    # Writers always use an index. On a table that was small a moment ago the planner would scan all of it and keep that
    # plan while the table grows. The isolation level is set because a server's or role's own default may not fit the
    # locks on lanes.
    writing = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL enable_seqscan = off"
    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if read_only else writing
    # A search path may name a schema after the current role, which changes in a moment.
    path = "" if schema in {None, "public"} else f"; SET LOCAL search_path = {quoted(str(schema))}"
    taking = "" if role is None else f"; SET LOCAL ROLE {quoted(role)}"
    return TransactionPreamble(f"{begin}{path}{taking}", proof)
