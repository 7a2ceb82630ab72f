"""What `recado migrate` makes on PostgreSQL for tenants to call: functions that run as the system."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, MetaData, text

from recado.core.database.postgres.roles import Roles, quoted
from recado.core.database.tenancy import TenantFunction, functions_of

_FOUND: Final = text(
    "SELECT proname, pg_get_userbyid(proowner), pg_get_function_identity_arguments(oid) FROM pg_proc"
    " WHERE pronamespace = to_regnamespace(quote_ident(current_schema())) AND proname = ANY(:names)"
)


def make(connection: Connection, roles: Roles, schema: str, metadata: MetaData) -> None:
    """Make the functions once more, as the system: a function has the rights of the role that made it.

    The login, which made the tables, would not do. It sees no row of them.
    """
    wanted = functions_of(metadata)
    _remove_others(connection, roles, schema, wanted)
    statements = [
        permission(roles, schema),
        # A search path may name a schema after the current role.
        f"SET LOCAL search_path = {quoted(schema)}",
        f"SET LOCAL ROLE {quoted(roles.system)}",
        *(statement for function in wanted for statement in _making(function, roles, schema)),
        "RESET ROLE",
        f"REVOKE CREATE ON SCHEMA {quoted(schema)} FROM {quoted(roles.system)}",
    ]
    connection.exec_driver_sql("; ".join(statements), execution_options={"no_parameters": True})


def permission(roles: Roles, schema: str) -> str:
    """Return the statement without which the system role may make no function."""
    return f"GRANT CREATE ON SCHEMA {quoted(schema)} TO {quoted(roles.system)}"


def are_made(connection: Connection, roles: Roles, metadata: MetaData) -> bool:
    """Return whether each function is there, and the system's."""
    wanted = functions_of(metadata)
    return {(each.name, roles.system, each.arguments) for each in wanted} <= set(_found(connection, wanted))


def _found(connection: Connection, functions: Sequence[TenantFunction]) -> list[tuple[str, str, str]]:
    """Return the name, the role and the arguments of each function that is there."""
    rows = connection.execute(_FOUND, {"names": [each.name for each in functions]})
    return [(name, role, arguments) for name, role, arguments in rows]


def _remove_others(connection: Connection, roles: Roles, schema: str, wanted: Sequence[TenantFunction]) -> None:
    """Remove functions of these names that another role made, as in a copied database, or with other arguments."""
    arguments_of = {each.name: each.arguments for each in wanted}
    for name, role, arguments in _found(connection, wanted):
        drop = f"DROP FUNCTION {quoted(schema)}.{quoted(name)} ({arguments})"
        if role != roles.system:
            connection.exec_driver_sql(drop)
        elif arguments != arguments_of[name]:
            connection.exec_driver_sql(f"SET LOCAL ROLE {quoted(role)}; {drop}; RESET ROLE")


def _making(function: TenantFunction, roles: Roles, schema: str) -> list[str]:
    name = f"{quoted(schema)}.{quoted(function.name)}"
    return [
        # Its body is parsed now, so that no later search path changes what its names mean.
        f"CREATE OR REPLACE FUNCTION {name} ({function.arguments}) RETURNS {function.returns} LANGUAGE sql STABLE"
        f" SECURITY DEFINER BEGIN ATOMIC {function.body}; END",
        f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION {name} TO {quoted(roles.tenant)}",
    ]
