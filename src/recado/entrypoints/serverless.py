"""The server on hosts that run it for one request at a time (Vercel): an application for an ASGI module.

    from recado.entrypoints.serverless import application
    app = application()

Such a host throws its disk away, so SQLite is refused at the start instead of losing what was answered 200. Nothing
migrates there either: the schema is looked at, and its absence is a sentence and no 500.
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
"""How long a cold start waits for PostgreSQL and its schema; AWS Lambda grants it ten."""


def application(environ: Mapping[str, str] | None = None) -> "ASGIApp":
    """The whole server over PostgreSQL.

    Raises `ConfigurationError` for SQLite and for whatever else is wrong with the settings or the schema,
    `StorageUnavailable` when the database does not answer.
    """
    from recado.entrypoints.api.app import build_app

    return build_app(container_for("this host", os.environ if environ is None else environ))


def container_for(host: str, environ: Mapping[str, str]) -> "Container":
    """Settings are checked and the schema is looked at, before anything is answered."""
    from recado.core.clock import SystemClock
    from recado.core.telemetry import configure_logging
    from recado.settings import load_settings

    settings = load_settings(environ, purpose="serve")
    configure_logging(settings.log_level, sys.stderr, SystemClock())
    if not on_postgresql(settings.database_url):
        raise ConfigurationError(
            f"RECADO_DATABASE_URL names a SQLite file, which {host} would throw away: give postgresql://…"
        )
    from recado.bootstrap import Container
    from recado.migrations.postgres import await_schema

    await_schema(settings.database_url, wait_seconds=SCHEMA_SECONDS)
    return Container(settings=settings)
