"""The drivers of SQLite and PostgreSQL, as far as a unit of work needs them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection

if TYPE_CHECKING:
    import psycopg


def set_answer_seconds(connection: Connection, seconds: float) -> None:
    """Set how long PostgreSQL may leave this connection without an answer."""
    from recado.core.database.postgres.bounded import BoundedConnection

    driver = connection.connection.driver_connection
    if isinstance(driver, BoundedConnection):
        driver.answer_seconds = seconds


class Cursor(Protocol):
    """The result of a statement, as a driver returns it."""

    @property
    def description(self) -> object | None: ...
    @property
    def rowcount(self) -> int: ...
    def fetchall(self) -> list[Any]: ...


class Driver(Protocol):
    """What the drivers of SQLite and PostgreSQL have in common."""

    def execute(self, sql: str, values: Sequence[object] = ..., /) -> Cursor: ...


def driver_of(connection: Connection) -> Driver:
    """Return the driver's own connection."""
    raw: Driver | None = connection.connection.driver_connection
    assert raw is not None  # noqa: S101 - narrows the type: a live connection has a driver's connection
    return raw if connection.dialect.name == "sqlite" else _raw_psycopg(raw)


def _raw_psycopg(connection: object) -> Driver:
    """Return psycopg without its search for placeholders."""
    import psycopg

    assert isinstance(connection, psycopg.Connection)  # noqa: S101 - narrows the type
    return _RawPsycopg(connection)


class _RawPsycopg:
    __slots__ = ("_connection",)

    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[object] = (), /) -> Cursor:
        import psycopg

        return psycopg.RawCursor(self._connection).execute(sql, values)
