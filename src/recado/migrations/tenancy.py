"""What `recado migrate` adds on PostgreSQL to the tables: two roles, their rights, and the rows they see.

A table's columns decide: one with an owner's column shows the tenant role only that owner's rows; any other is the
system's. So a new table is secured by having the column, and nobody has to remember it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Connection, Integer, MetaData, Table, text
from sqlalchemy.exc import DBAPIError

from recado.core.database.postgres.connections import TenantAccess
from recado.core.database.postgres.doors import ACCESS_TABLE
from recado.core.database.postgres.roles import PROOF_SETTING, SETTING, Roles, RolesMissing, quoted, roles_of
from recado.core.database.tenancy import PROVED_OWNER, tenant_column
from recado.core.errors import ConfigurationError
from recado.migrations import functions

log = structlog.get_logger(__name__)

SYSTEM_POLICY: Final = "recado_system"
TENANT_POLICY: Final = "recado_tenant"
_ROWS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
_SECRET_BYTES: Final = 32
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
_ACCESS: Final = text(f"SELECT secret, login, password FROM {ACCESS_TABLE}")
_CAN_LOG_IN: Final = text("SELECT rolcanlogin FROM pg_roles WHERE rolname = :name")
# The secret stays as it was first: processes that run have read it.
_STORE_ACCESS: Final = text(
    f"INSERT INTO {ACCESS_TABLE} (id, secret, login, password) VALUES (1, :secret, :login, :password)"
    " ON CONFLICT (id) DO UPDATE SET login = excluded.login, password = excluded.password"
)
_OPEN_TABLES: Final = text(
    "SELECT relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
    " WHERE relnamespace = to_regnamespace(quote_ident(current_schema())) AND relkind IN ('r', 'p')"
    " AND attname = 'owner_id' AND NOT attisdropped AND NOT (relrowsecurity AND relforcerowsecurity)"
    " ORDER BY relname LIMIT 1"
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
    if only_if_missing and _has_access(connection, place) and _in_force(connection, place.roles, metadata):
        return _ensure_login(connection, place)
    statements = [*_grants_on_schema(place), *_proving(place)]
    for table in metadata.sorted_tables:
        statements += _row_security(table, place.roles)
    statements += [_grant_on_view(view, place.roles) for view in _views(metadata)]
    _run(connection, statements)
    _make_functions(connection, place, metadata)
    _ensure_login(connection, place)
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
    # As the system, and in the schema of the login: the tables may belong to another login.
    path = f"SET LOCAL search_path = {quoted(place.schema)}; " if place.schema else ""
    _run(connection, [f"{path}SET LOCAL ROLE {quoted(place.roles.system)}"])
    if not _has_access(connection, place):
        raise RolesMissing("nothing says how tenants log in: run `recado migrate`")
    refuse_open_tables(connection)


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


# --- How tenants log in -----------------------------------------------------------------------------------------------


def tenants_log_in(connection: Connection) -> TenantAccess | None:
    """Return how tenants log in, or None when they take their role on a connection of the URL's login."""
    place = _place(connection)
    if not _has_access(connection, place):
        return None
    secret, login, password = connection.execute(_ACCESS).one()
    return None if login is None else TenantAccess(place.schema, bytes(secret), login, password)


def close_login(connection: Connection, why: str) -> None:
    """Let tenants take their role on a connection of the URL's login: the server does not let them log in."""
    place = _place(connection)
    _store_access(connection, None, None)
    _run(connection, [f"ALTER ROLE {quoted(place.roles.tenant)} NOLOGIN PASSWORD NULL"])
    log.warning("migrations.tenants_share_the_login", role=place.roles.tenant, why=why)


def _proving(place: _Place) -> list[str]:
    """Return the statements for the table of access, and for the function that policies call."""
    system, tenant = quoted(place.roles.system), quoted(place.roles.tenant)
    return [
        f"CREATE TABLE IF NOT EXISTS {ACCESS_TABLE} (id integer PRIMARY KEY CHECK (id = 1), secret bytea NOT NULL,"
        " login text, password text)",
        f"REVOKE ALL ON {ACCESS_TABLE} FROM PUBLIC, {tenant}",
        f"GRANT SELECT ON {ACCESS_TABLE} TO {system}",
        # It reads the table with the rights of its owner. Its body is parsed now, so that no later search path changes
        # what its names mean. See `roles.Proof`.
        f"CREATE OR REPLACE FUNCTION {PROVED_OWNER}() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER"
        " BEGIN ATOMIC SELECT named.owner FROM (SELECT"
        f" nullif(current_setting('{SETTING}', true), '')::uuid AS owner,"
        f" decode(nullif(current_setting('{PROOF_SETTING}', true), ''), 'hex') AS proof) AS named, {ACCESS_TABLE} AS a"
        " WHERE named.proof IN (sha256(a.secret || uuid_send(named.owner) || int4send(pg_backend_pid())),"
        " sha256(a.secret || uuid_send(named.owner) || int4send(0))); END",
        f"REVOKE ALL ON FUNCTION {PROVED_OWNER}() FROM PUBLIC",
        # Functions for tenants run as the system, and ask for the owner of the tenant that called them.
        f"GRANT EXECUTE ON FUNCTION {PROVED_OWNER}() TO {system}, {tenant}",
    ]


def _has_access(connection: Connection, place: _Place) -> bool:
    """Return whether the way of tenants is stored, for this database and not for one that this is a copy of."""
    if connection.execute(text(f"SELECT to_regclass('{ACCESS_TABLE}') IS NULL")).scalar():
        return False
    found = connection.execute(_ACCESS).first()
    if found is None:
        return False
    login = found[1]
    return login is None or (login == place.roles.tenant and bool(_can_log_in(connection, place)))


def _can_log_in(connection: Connection, place: _Place) -> bool:
    return bool(connection.execute(_CAN_LOG_IN, {"name": place.roles.tenant}).scalar())


def _ensure_login(connection: Connection, place: _Place) -> bool:
    """Make the tenant role a login with a password that nobody has seen. Return whether that was new.

    Where this login may not do so tenants take their role, as they did before.
    """
    role = place.roles.tenant
    if _has_access(connection, place) and connection.execute(_ACCESS).one()[1] is not None:
        return False
    password = secrets.token_hex(_SECRET_BYTES)
    try:
        with connection.begin_nested():
            verifier = _verifier(connection, password, role)
            _run(connection, [f"ALTER ROLE {quoted(role)} LOGIN PASSWORD '{verifier}'"])
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        log.warning("migrations.tenants_share_the_login", role=role, why=str(error.orig))
        _store_access(connection, None, None)
        return False
    _store_access(connection, role, password)
    return True


def _store_access(connection: Connection, login: str | None, password: str | None) -> None:
    values = {"secret": secrets.token_bytes(_SECRET_BYTES), "login": login, "password": password}
    connection.execute(_STORE_ACCESS, values)


def _verifier(connection: Connection, password: str, role: str) -> str:
    """Return what the server needs to check a password, so that its logs never show the password itself."""
    import psycopg

    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101 - narrows the type
    made = driver.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return made.decode()


def refuse_open_tables(connection: Connection) -> None:
    """Raise `RolesMissing` when a table with an owner's column shows its rows to everybody."""
    name = connection.execute(_OPEN_TABLES).scalar()
    if name is not None:
        raise RolesMissing(f"the table {name} is not behind row-level security: run `recado migrate`")


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
    # In a SELECT of its own the function runs once for each statement, and not once for each row.
    mine = f"{quoted(column)} = (SELECT {PROVED_OWNER}())"
    return [
        *statements,
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        f"DROP POLICY IF EXISTS {SYSTEM_POLICY} ON {name}",
        f"DROP POLICY IF EXISTS {TENANT_POLICY} ON {name}",
        f"CREATE POLICY {SYSTEM_POLICY} ON {name} TO {system} USING (true) WITH CHECK (true)",
        f"CREATE POLICY {TENANT_POLICY} ON {name} TO {tenant} USING ({mine}) WITH CHECK ({mine})",
    ]


def _make_functions(connection: Connection, place: _Place, metadata: MetaData) -> None:
    try:
        functions.make(connection, place.roles, place.schema, metadata)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        raise RolesRefused(
            f"{place.login} may not let {place.roles.system} make functions ({error.orig}): as an administrator run"
            f" `{functions.permission(place.roles, place.schema)}` and then `recado migrate` again"
        ) from error


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
    return (
        wanted_forced <= forced
        and wanted_policies <= held
        and wanted_grants <= granted
        and functions.are_made(connection, roles, metadata)
    )


def _run(connection: Connection, statements: Sequence[str]) -> None:
    if statements:
        connection.exec_driver_sql("; ".join(statements), execution_options={"no_parameters": True})
