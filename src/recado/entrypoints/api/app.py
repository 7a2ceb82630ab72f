"""The HTTP server: Twilio's webhooks first, then the FastAPI application for people and machines.

Run it with `recado serve`; tests build the application from their own container.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.types import ASGIApp

from recado.channels.twilio.webhook.routes import MAX_BODY, TwilioWebhooks
from recado.core.database.engine import Database
from recado.core.tracing import Traces
from recado.entrypoints.api import v1
from recado.entrypoints.api.door.authentication import Callers
from recado.entrypoints.api.door.openapi import Api
from recado.entrypoints.api.door.problems import add_problems
from recado.entrypoints.api.door.routes import Door
from recado.entrypoints.api.health import add_health
from recado.entrypoints.api.internal import Ticks, add_internal
from recado.entrypoints.api.metrics import add_metrics
from recado.migrations.startup import schema_problem
from recado.operations.readiness import Readiness

if TYPE_CHECKING:
    from recado.bootstrap import Container


def build_app(container: "Container") -> ASGIApp:
    """Return the whole server. At its shutdown it closes the container's database."""
    database: Database = container.database()
    ticks = Ticks(container)
    readiness = Readiness(database, container.key_ring(), container.clock(), container.broker_monitor(), schema_problem)
    traces: Traces = container.traces()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        readiness.start()
        yield
        await ticks.aclose()
        await readiness.close()
        await database.close()
        await asyncio.to_thread(traces.close)

    app = Api(
        title="Recado",
        version=version("recado"),
        summary="Receives WhatsApp and SMS messages, lets agents answer them, and never loses or doubles one.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        max_body_size=MAX_BODY,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    add_problems(app)
    add_health(app, readiness)
    add_internal(app, container.settings().internal_api_key, ticks)
    add_metrics(app, container.exposition())
    add_api(app, container)
    return TwilioWebhooks(container.webhooks(), app, container.meters(), traces)


def add_api(app: FastAPI, container: "Container") -> None:
    """Add the routes of `/api/v1`."""
    door = Door(Callers(container.authenticator(), container.settings().public_url))
    for router in v1.routers(container, door):
        app.include_router(router, prefix=v1.PATH)
