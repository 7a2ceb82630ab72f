"""The server on hosts that run it for one request at a time (Vercel): an ASGI application.

    from recado.entrypoints.serverless import application
    app = application()

Such a host deletes its disk, so SQLite is refused at the start: it would lose accepted messages. Nothing is migrated
either; a schema that does not fit is one clear error at the start.
"""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from recado.core.database.engine import on_postgresql
from recado.core.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from recado.bootstrap import Container

SCHEMA_SECONDS: Final = 5.0
"""A cold start waits this long for PostgreSQL and its schema. AWS Lambda allows ten seconds."""


def application(environ: Mapping[str, str] | None = None) -> "ASGIApp":
    """Return the server over PostgreSQL.

    Raises `ConfigurationError` for SQLite and for any other problem of the settings or the schema, and
    `StorageUnavailable` when the database does not answer.
    """
    from recado.entrypoints.api.app import build_app

    return build_app(container_for("this host", os.environ if environ is None else environ))


def container_for(host: str, environ: Mapping[str, str]) -> "Container":
    """Return a container after checking the settings and the schema."""
    from recado.core.clock import SystemClock
    from recado.core.telemetry import configure_logging
    from recado.settings import load_settings

    settings = load_settings(environ, purpose="serve")
    configure_logging(settings.log_level, sys.stderr, SystemClock())
    if not on_postgresql(settings.database_url):
        raise ConfigurationError(
            f"RECADO_DATABASE_URL names a SQLite file, which {host} would delete: use postgresql://…"
        )
    from recado.bootstrap import Container
    from recado.migrations.postgres import await_schema

    await_schema(settings.database_url, wait_seconds=SCHEMA_SECONDS)
    return Container(settings=settings)
