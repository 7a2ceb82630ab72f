"""The HTTP server: Twilio's webhooks in front, everything for people and machines behind.

Run it with `recado serve`; tests build the app from a container of their own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response
from fastapi.requests import Request
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel
from starlette.types import ASGIApp

from recado.channels.twilio.webhook.routes import TwilioWebhooks
from recado.core.database.engine import Database
from recado.core.errors import DomainError
from recado.core.tracing import Traces
from recado.entrypoints.internal import Ticks, add_internal
from recado.migrations.starting import schema_problem
from recado.operations.exposition import CONTENT_TYPE, Exposition
from recado.operations.readiness import BrokerSeen, Readiness

if TYPE_CHECKING:
    from recado.bootstrap import Container


class Health(BaseModel):
    """Whether the process lives, or can serve, and if not, why."""

    status: str
    why: str | None = None


class BrokerHealth(BaseModel):
    """How the broker is. It makes no server unready: messages are received and stored without it."""

    name: str
    reachable: bool | None
    warnings: list[str]
    detail: dict[str, str]


class ReadyHealth(Health):
    """Whether it can serve; `broker` is absent where the database wakes workers by itself."""

    broker: BrokerHealth | None = None


def build_app(container: "Container") -> ASGIApp:
    """The whole server. It closes the container's database when it is shut down."""
    database: Database = container.database()
    ticks = Ticks(container)
    readiness = Readiness(database, container.sealer(), container.clock(), container.broker_watch(), schema_problem)
    traces: Traces = container.traces()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        readiness.start()
        yield
        await ticks.aclose()
        await readiness.close()
        await database.close()
        await asyncio.to_thread(traces.close)

    app = FastAPI(
        title="Recado",
        summary="Receives WhatsApp and SMS messages, has agents answer them, and never loses or doubles one.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.add_exception_handler(DomainError, _as_json)
    _add_health(app, readiness)
    add_internal(app, container.settings().internal_api_key, ticks)
    _add_metrics(app, container.exposition())
    return TwilioWebhooks(container.webhooks(), app, container.meters(), traces)


def _add_health(app: FastAPI, readiness: Readiness) -> None:
    @app.get("/healthz", tags=["operations"], summary="The process lives")
    async def healthz() -> Health:
        return Health(status="ok")

    @app.get(
        "/readyz",
        tags=["operations"],
        summary="It can serve",
        responses={503: {"model": ReadyHealth}},
        response_model_exclude_unset=True,
    )
    async def readyz(response: Response) -> ReadyHealth:
        verdict = await readiness.judge()
        status = "ready" if verdict.why is None else "unready"
        if verdict.why is not None:
            response.status_code = 503
        if verdict.broker is None:
            return ReadyHealth(status=status, why=verdict.why)
        return ReadyHealth(status=status, why=verdict.why, broker=_told(verdict.broker))


def _told(broker: BrokerSeen) -> BrokerHealth:
    return BrokerHealth(
        name=broker.name, reachable=broker.reachable, warnings=list(broker.warnings), detail=dict(broker.detail)
    )


def _add_metrics(app: FastAPI, exposition: Exposition) -> None:
    @app.get(
        "/metrics",
        tags=["operations"],
        summary="What can be measured, as Prometheus reads it",
        response_class=PlainTextResponse,
        responses={401: {"description": "RECADO_INTERNAL_API_KEY is set, and the caller does not bear it"}},
    )
    async def metrics(request: Request) -> Response:
        if not exposition.allows(request.headers.get("authorization", "")):
            return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        return Response(await exposition.of_all(), media_type=CONTENT_TYPE)


async def _as_json(_request: Request, error: Exception) -> JSONResponse:
    """Errors that callers can understand, in one shape; anything else is a 500 that says nothing."""
    if not isinstance(error, DomainError):
        raise error
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse(
        {"error": {"code": error.code, "message": str(error)}}, status_code=error.status, headers=headers
    )
