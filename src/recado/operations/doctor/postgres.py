"""Checks of PostgreSQL and its settings."""

from collections.abc import Mapping
from typing import Final

from recado.operations.doctor.findings import Finding

_STRONG: Final = frozenset({"on", "remote_write", "remote_apply"})


def server_settings(database_url: str) -> Mapping[str, str]:
    """Return the configured values of the settings that are checked."""
    from recado.core.database.postgres.database import PostgresDatabase

    names = ("fsync", "full_page_writes", "server_encoding", "synchronous_commit")
    # The configured values, not the effective ones: our own connections have raised one of them.
    connection = PostgresDatabase(database_url).open_connection()
    try:
        rows = connection.execute(
            "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)", (list(names),)
        ).fetchall()
    finally:
        connection.close()
    return {str(name): str(setting) for name, setting in rows}


def check_encoding(settings: Mapping[str, str]) -> list[Finding]:
    """Check whether the database can store every character that customers write."""
    name = settings.get("server_encoding", "UTF8")
    if name == "UTF8":
        return []
    return [
        Finding(
            "encoding",
            False,
            f"the PostgreSQL database has the encoding {name}, which cannot store what customers write: create another "
            "with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
        )
    ]


def check_durability(settings: Mapping[str, str]) -> list[Finding]:
    """Check that a crash cannot lose committed messages, which Twilio will not send again."""
    findings = [
        Finding("durability", False, f"PostgreSQL runs with {name}=off: {what}; set {name}=on")
        for name, what in (
            ("fsync", "a crash of its machine loses or corrupts committed data"),
            ("full_page_writes", "a crash of its machine can corrupt pages"),
        )
        if settings.get(name) == "off"
    ]
    weak = settings.get("synchronous_commit", "on")
    if weak not in _STRONG:
        findings.append(
            Finding("durability", True, f"PostgreSQL's synchronous_commit is {weak}; Recado sets it to on for itself")
        )
    return findings or [Finding("durability", True, "PostgreSQL keeps committed data")]


def tenants_login(database_url: str) -> str | None:
    """Return the login of owners' transactions, None when they take their role on the login of the URL."""
    import psycopg

    from recado.core.database.postgres.database import PostgresDatabase
    from recado.core.database.postgres.doors import ACCESS_TABLE
    from recado.core.database.postgres.roles import quoted, roles_of

    connection = PostgresDatabase(database_url).open_connection()
    try:
        connection.execute(f"SET ROLE {quoted(roles_of(connection.info.dbname).system)}".encode())
        rows = connection.execute(f"SELECT login FROM {ACCESS_TABLE}".encode()).fetchall()
    except psycopg.DatabaseError:  # The roles are missing, which the trial of a write reports.
        return None
    finally:
        connection.close()
    return None if not rows or rows[0][0] is None else str(rows[0][0])


def check_tenants(login: str | None) -> list[Finding]:
    """Tell how owners are kept apart."""
    if login is None:
        return [
            Finding(
                "tenants",
                True,
                "transactions of owners share the login of the URL, so policies keep them apart but an attacker's SQL "
                "could leave them; the log of recado migrate says why",
            )
        ]
    return [Finding("tenants", True, f"transactions of owners run as {login}, which can become nothing else")]
