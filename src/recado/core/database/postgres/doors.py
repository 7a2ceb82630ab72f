"""The two kinds of connections of a process: the system's, and the tenants'.

A tenant's transaction runs on a connection that was opened as the tenant role, so SQL that got into it cannot become
the system. Name and password of that login, and the secret of the proofs, are in a table that only the system reads;
each process reads it once, and again when it cannot log in any more.
"""

import threading
from typing import Final
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from recado.core.database.postgres.connections import RoleConnection, TenantAccess, role_engine
from recado.core.database.postgres.errors import sqlstate_of
from recado.core.database.postgres.roles import RolesMissing
from recado.core.database.unit_of_work import UnitOfWork

ACCESS_TABLE: Final = "tenant_access"
_ACCESS: Final = f"SELECT secret, login, password FROM {ACCESS_TABLE}"
_UNDEFINED_TABLE: Final = "42P01"
_FULL: Final = "connection slots"
"""In what the server says when it has no connection left for anybody."""


class Doors:
    """Opens connections of both kinds, for all threads of a process."""

    def __init__(self, url: URL, answer_seconds: float) -> None:
        self._url = url
        self._answer_seconds = answer_seconds
        self._system = role_engine(url)
        self._lock = threading.Lock()
        self._tenants: tuple[Engine, TenantAccess] | None = None

    def open(self, *, of_system: bool, read_only: bool) -> RoleConnection:
        """Return a connection for transactions of the system, or for those of tenants. Raises `RolesMissing`."""
        if of_system:
            return RoleConnection(self._system, self._answer_seconds, read_only=read_only)
        try:
            return self._open_for_tenants(read_only=read_only)
        except DBAPIError as error:
            if not _may_be_refused(error):
                raise
        with self._lock:
            self._tenants = None  # The password may have been changed since.
        self._way_of_tenants()  # Raises what it raises when the server cannot be reached at all.
        try:
            return self._open_for_tenants(read_only=read_only)
        except DBAPIError as error:
            if not _may_be_refused(error):
                raise
            raise RolesMissing(f"tenants cannot log in ({error.orig}): run `recado migrate`") from error

    def _open_for_tenants(self, *, read_only: bool) -> RoleConnection:
        engine, access = self._way_of_tenants()
        return RoleConnection(engine, self._answer_seconds, read_only=read_only, tenants=access)

    def _way_of_tenants(self) -> tuple[Engine, TenantAccess]:
        with self._lock:
            if self._tenants is None:
                access = self._read_access()
                engine = self._system if access.login is None else role_engine(url_of_tenants(self._url, access))
                self._tenants = engine, access
            return self._tenants

    def _read_access(self) -> TenantAccess:
        connection = RoleConnection(self._system, self._answer_seconds, read_only=True)
        try:
            with connection.begin(None):
                rows = UnitOfWork(connection.connection).execute_raw(_ACCESS)
        except DBAPIError as error:
            if sqlstate_of(error) != _UNDEFINED_TABLE:
                raise
            rows = []
        finally:
            connection.close()
        if not rows:
            raise RolesMissing("nothing says how tenants log in: run `recado migrate`")
        secret, login, password = rows[0]
        return TenantAccess(connection.schema, bytes(secret), login, password)


class ThreadConnections:
    """The connections of one thread, each opened when it is first needed."""

    def __init__(self, doors: Doors, *, read_only: bool) -> None:
        self._doors = doors
        self._read_only = read_only
        self._open: dict[bool, RoleConnection] = {}

    def of(self, owner: UUID | None) -> RoleConnection:
        """Return the connection for an owner's transactions, or for the system's."""
        of_system = owner is None
        found = self._open.get(of_system)
        if found is None:
            found = self._open[of_system] = self._doors.open(of_system=of_system, read_only=self._read_only)
        return found

    def close(self) -> None:
        for each in self._open.values():
            each.close()

    def discard(self) -> None:
        """Close all of them, whatever state they are in. The next transaction opens others."""
        lost, self._open = self._open, {}
        for each in lost.values():
            each.discard()


def url_of_tenants(url: URL, access: TenantAccess) -> URL:
    """Return the URL with which tenants log in: the same server and database."""
    return url.difference_update_query(["user", "password"]).set(username=access.login, password=access.password)


def _may_be_refused(error: DBAPIError) -> bool:
    """Return whether the server may have refused the login. For a connection that fails the driver tells no code.

    A server that is down or full is told from that by the next step, which connects with the login of the URL.
    """
    import psycopg

    return isinstance(error.orig, psycopg.OperationalError) and sqlstate_of(error) is None and _FULL not in str(error)
