"""`/metrics`, as Prometheus reads it."""

from fastapi import FastAPI, Response
from fastapi.requests import Request
from fastapi.responses import PlainTextResponse

from recado.operations.exposition import CONTENT_TYPE, Exposition


def add_metrics(app: FastAPI, exposition: Exposition) -> None:
    @app.get(
        "/metrics",
        tags=["operations"],
        summary="Metrics in Prometheus' format",
        response_class=PlainTextResponse,
        responses={401: {"description": "RECADO_INTERNAL_API_KEY is set, and the caller does not send it"}},
    )
    async def metrics(request: Request) -> Response:
        if not exposition.allows(request.headers.get("authorization", "")):
            return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        return Response(await exposition.render_all(), media_type=CONTENT_TYPE)
