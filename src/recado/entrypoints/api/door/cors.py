"""Pages of other sites that may call the API: none, unless the operator names them."""

from collections.abc import Sequence
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from recado.entrypoints.api.door.problems import PREFIX

_SENT: Final = ("Authorization", "Content-Type", "If-Match", "Idempotency-Key", "Last-Event-ID")
_READ: Final = ("ETag", "Idempotency-Replayed", "Location", "RateLimit", "RateLimit-Policy", "Retry-After")
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def add_cors(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins call the API, with keys. A session is of our own pages only: no cookie is allowed."""
    if origins:
        app.add_middleware(_CorsOfApi, origins=origins)


class _CorsOfApi:
    """Adds the headers below `/api/` only."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._cors = CORSMiddleware(
            app, allow_origins=origins, allow_methods=_METHODS, allow_headers=_SENT, expose_headers=_READ, max_age=600
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        of_api = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await (self._cors if of_api else self._app)(scope, receive, send)
