"""What `recado migrate` adds on PostgreSQL to the tables: two roles, their rights, and the rows they see.

A table's columns decide: one with an owner's column shows the tenant role only that owner's rows; any other is the
system's. So a new table is secured by having the column, and nobody has to remember it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Connection, Integer, MetaData, Table, text
from sqlalchemy.exc import DBAPIError

from recado.core.database.postgres.roles import SETTING, Roles, RolesMissing, quoted, roles_of
from recado.core.database.tenancy import tenant_column
from recado.core.errors import ConfigurationError

log = structlog.get_logger(__name__)

SYSTEM_POLICY: Final = "recado_system"
TENANT_POLICY: Final = "recado_tenant"
_ROWS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
_INSUFFICIENT_PRIVILEGE: Final = "42501"
_MIN_VERSION_WITH_INHERIT: Final = 16
"""Since this version a member of a role can be kept from inheriting its rights and may SET ROLE all the same."""

_WHERE: Final = text("SELECT current_database(), current_schema(), session_user")
_ROLES: Final = text(
    "SELECT rolname, rolsuper OR rolbypassrls, pg_has_role(session_user, oid, CAST(:how AS text)) FROM pg_roles"
    " WHERE rolname IN (:system, :tenant)"
)
_FORCED: Final = text(
    "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(current_schema()))"
    " AND relkind IN ('r', 'p') AND relrowsecurity AND relforcerowsecurity"
)
_POLICIES: Final = text(
    "SELECT tablename, policyname FROM pg_policies, unnest(roles) AS role WHERE schemaname = current_schema()"
    " AND (policyname, role) IN ((:system_policy, :system), (:tenant_policy, :tenant))"
)
_GRANTS: Final = text(
    "SELECT table_name, grantee, privilege_type FROM information_schema.role_table_grants"
    " WHERE table_schema = current_schema() AND grantee IN (:system, :tenant)"
)
_HAS_QUEUE: Final = text(
    "SELECT has_table_privilege(:system, c.oid, 'INSERT') AND c.relforcerowsecurity FROM pg_class c"
    " WHERE c.oid = to_regclass('message_queue')"
)


class RolesRefused(ConfigurationError):
    """The login may not make the database's roles, or they may do more than they should."""

    code = "migrations.roles_refused"


@dataclass(frozen=True, slots=True)
class _Place:
    """A database, its schema and the login."""

    roles: Roles
    schema: str
    login: str


def enforce(connection: Connection, metadata: MetaData, *, only_if_missing: bool = False) -> bool:
    """Make the roles and the policies of every table; return whether anything was done.

    Raises `RolesRefused`, with what an administrator has to run, when this login may not make the roles.
    """
    place = _place(connection)
    _ensure_roles(connection, place)
    if only_if_missing and _in_force(connection, place.roles, metadata):
        return False
    statements = _grants_on_schema(place)
    for table in metadata.sorted_tables:
        statements += _row_security(table, place.roles)
    statements += [_grant_on_view(view, place.roles) for view in _views(metadata)]
    _run(connection, statements)
    log.info("migrations.row_level_security", system=place.roles.system, tenant=place.roles.tenant)
    return True


def relax(connection: Connection) -> None:
    """Let the tables' owner see rows for as long as this transaction changes them: a revision may have to move some."""
    forced = [str(row[0]) for row in connection.execute(_FORCED)]
    _run(connection, [f"ALTER TABLE {quoted(name)} NO FORCE ROW LEVEL SECURITY" for name in forced])


def check(connection: Connection) -> None:
    """Raise `RolesMissing` where processes cannot run as the roles of this database."""
    place = _place(connection)
    takable = {name for name, _, takable in _roles_found(connection, place.roles) if takable}
    missing = [name for name in (place.roles.system, place.roles.tenant) if name not in takable]
    if missing:
        raise RolesMissing(f"{place.login} may not take the roles {' and '.join(missing)}: run `recado migrate`")
    if not connection.execute(_HAS_QUEUE, {"system": place.roles.system}).scalar():
        raise RolesMissing("the tables are not behind row-level security: run `recado migrate`")


# --- Roles ------------------------------------------------------------------------------------------------------------


def _place(connection: Connection) -> _Place:
    database, schema, login = connection.execute(_WHERE).one()
    return _Place(roles_of(database), schema, login)


def _roles_found(connection: Connection, roles: Roles) -> list[tuple[str, bool, bool]]:
    """Return the roles that exist: whether policies would not apply to them, and whether this login may take them."""
    how = "SET" if _knows_inherit(connection) else "MEMBER"
    rows = connection.execute(_ROLES, {"how": how, "system": roles.system, "tenant": roles.tenant})
    return [(name, unheld, takable) for name, unheld, takable in rows]


def _knows_inherit(connection: Connection) -> bool:
    version = connection.dialect.server_version_info
    return version is not None and int(version[0]) >= _MIN_VERSION_WITH_INHERIT


def _ensure_roles(connection: Connection, place: _Place) -> None:
    found = {name: (unheld, takable) for name, unheld, takable in _roles_found(connection, place.roles)}
    statements = []
    for name in (place.roles.system, place.roles.tenant):
        unheld, takable = found.get(name, (False, False))
        if unheld:
            raise RolesRefused(
                f"the role {name} is a superuser or has BYPASSRLS, so no policy holds it: take that away"
            )
        if name not in found:
            statements.append(f"CREATE ROLE {quoted(name)} NOLOGIN")
        if not takable:
            statements.append(_membership(connection, name, place.login))
    try:
        _run(connection, statements)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        script = "; ".join(statements)
        raise RolesRefused(
            f"{place.login} may not make the roles of row-level security ({error.orig}): as an administrator run"
            f" `{script}` and then `recado migrate` again"
        ) from error


def _membership(connection: Connection, role: str, login: str) -> str:
    # A login that inherits a role's rights has its policies too, without taking it, and would see every row.
    how = " WITH INHERIT FALSE, SET TRUE" if _knows_inherit(connection) else ""
    return f"GRANT {quoted(role)} TO {quoted(login)}{how}"


# --- Tables -----------------------------------------------------------------------------------------------------------


def _grants_on_schema(place: _Place) -> list[str]:
    system, tenant = quoted(place.roles.system), quoted(place.roles.tenant)
    return [
        f"GRANT USAGE ON SCHEMA {quoted(place.schema)} TO {system}, {tenant}",
        # A backup is made as the system role, which sees every row.
        f"DO $$ BEGIN IF to_regclass('alembic_version') IS NOT NULL THEN"
        f" GRANT SELECT ON alembic_version TO {system}; END IF; END $$",
    ]


def _row_security(table: Table, roles: Roles) -> list[str]:
    """Return the statements that secure one table, whatever was there before."""
    name, system, tenant = quoted(table.name), quoted(roles.system), quoted(roles.tenant)
    column = tenant_column(table)
    who = system if column is None else f"{system}, {tenant}"
    statements = [
        f"REVOKE ALL ON {name} FROM {system}, {tenant}",
        f"GRANT {', '.join(_ROWS)} ON {name} TO {who}",
        *(f"GRANT USAGE, SELECT ON SEQUENCE {quoted(each)} TO {who}" for each in _sequences(table)),
    ]
    if column is None:
        return statements
    mine = f"{quoted(column)} = nullif(current_setting('{SETTING}', true), '')::uuid"
    return [
        *statements,
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        f"DROP POLICY IF EXISTS {SYSTEM_POLICY} ON {name}",
        f"DROP POLICY IF EXISTS {TENANT_POLICY} ON {name}",
        f"CREATE POLICY {SYSTEM_POLICY} ON {name} TO {system} USING (true) WITH CHECK (true)",
        f"CREATE POLICY {TENANT_POLICY} ON {name} TO {tenant} USING ({mine}) WITH CHECK ({mine})",
    ]


def _views(metadata: MetaData) -> Sequence[str]:
    """Return the views of the code. Each has `security_invoker`, so row-level security holds for its readers."""
    return list(metadata.info.get("views", ()))


def _grant_on_view(view: str, roles: Roles) -> str:
    return f"GRANT SELECT ON {quoted(view)} TO {quoted(roles.system)}, {quoted(roles.tenant)}"


def _sequences(table: Table) -> Sequence[str]:
    """Return the sequences of a table whose rows PostgreSQL numbers."""
    column = table.autoincrement_column
    numbered = column is not None and isinstance(column.type, Integer)
    return [f"{table.name}_{column.name}_seq"] if numbered and column is not None else []


def _in_force(connection: Connection, roles: Roles, metadata: MetaData) -> bool:
    """Return whether each table has what `_row_security` would give it; the policies are compared by their text."""
    names = {"system": roles.system, "tenant": roles.tenant}
    policies = {"system_policy": SYSTEM_POLICY, "tenant_policy": TENANT_POLICY}
    forced = {str(row[0]) for row in connection.execute(_FORCED)}
    held = {(table, policy) for table, policy in connection.execute(_POLICIES, names | policies)}
    granted = {(table, role, right) for table, role, right in connection.execute(_GRANTS, names)}
    wanted_policies, wanted_grants, wanted_forced = set(), set(), set()
    for table in metadata.sorted_tables:
        tenants = tenant_column(table) is not None
        who = (roles.system, roles.tenant) if tenants else (roles.system,)
        wanted_grants |= {(table.name, role, right) for role in who for right in _ROWS}
        if tenants:
            wanted_forced.add(table.name)
            wanted_policies |= {(table.name, SYSTEM_POLICY), (table.name, TENANT_POLICY)}
    wanted_grants |= {(view, role, "SELECT") for view in _views(metadata) for role in (roles.system, roles.tenant)}
    return wanted_forced <= forced and wanted_policies <= held and wanted_grants <= granted


def _run(connection: Connection, statements: Sequence[str]) -> None:
    if statements:
        connection.exec_driver_sql("; ".join(statements), execution_options={"no_parameters": True})
