"""The HTTP server: Twilio's webhooks first, then the FastAPI application for people and machines.

Run it with `recado serve`; tests build the application from their own container.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from recado.channels.twilio.webhook.routes import TwilioWebhooks
from recado.core.database.engine import Database
from recado.core.tracing import Traces
from recado.entrypoints.api.door.cors import add_cors
from recado.entrypoints.api.door.openapi import Api
from recado.entrypoints.api.door.problems import add_problems
from recado.entrypoints.api.health import add_health
from recado.entrypoints.api.internal import Ticks, add_internal
from recado.entrypoints.api.late import PREFIX, LateRoutes
from recado.entrypoints.api.links import add_links
from recado.entrypoints.api.metrics import add_metrics
from recado.entrypoints.api.proxies import CallersBehindProxies
from recado.entrypoints.api.reference.page import add_reference
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
    publisher = container.event_publisher()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        readiness.start()
        publisher.start()
        yield
        await publisher.aclose()
        await ticks.aclose()
        await readiness.close()
        await database.close()
        await asyncio.to_thread(traces.close)

    app = Api(lifespan, public_url=container.settings().public_url)
    add_cors(app, container.settings().allowed_origins)
    add_problems(app)
    add_health(app, readiness)
    add_internal(app, container.settings().internal_api_key, ticks)
    add_metrics(app, container.exposition())
    add_reference(app, app.openapi)
    add_links(app, container.links(), container.owners())
    rest: ASGIApp = LateRoutes(app, partial(_routers, container))
    if proxies := container.settings().proxies:
        rest = CallersBehindProxies(rest, proxies)
    return TwilioWebhooks(container.webhooks(), rest, container.meters(), traces)


def described_api(container: "Container") -> Mapping[str, Any]:
    """Return the description of the API, without serving it."""
    app = Api(public_url=container.settings().public_url)
    for router in _routers(container):
        app.include_router(router, prefix=PREFIX)
    return app.openapi()


def _routers(container: "Container") -> Sequence[APIRouter]:
    from recado.entrypoints.api.v1 import build_routers

    return build_routers(container)
