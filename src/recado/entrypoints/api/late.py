"""The routes of `/api/v1`, added to the application when the first request needs them.

Building them takes a third of a second, which a server that only receives webhooks never spends, and which no webhook
waits for: they are built in a thread, and so is their description.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.types import Receive, Scope, Send

PREFIX: Final = "/api/v1"
_DESCRIBED: Final = ("/openapi.json", "/docs")
_PATHS: Final = ("/api/", *_DESCRIBED)


class LateRoutes:
    """An application that gets further routes at the first request that may need them."""

    def __init__(self, app: FastAPI, build: Callable[[], Sequence[APIRouter]]) -> None:
        self._app = app
        self._build = build
        self._lock = asyncio.Lock()
        self._added = False
        self._described = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._added and scope["type"] == "http" and scope["path"].startswith(_PATHS):
            await self._add()
        if not self._described and scope["type"] == "http" and scope["path"] in _DESCRIBED:
            await self._describe()
        await self._app(scope, receive, send)

    async def _add(self) -> None:
        async with self._lock:
            if not self._added:
                for router in await asyncio.to_thread(self._build):
                    self._app.include_router(router, prefix=PREFIX)
                self._added = True

    async def _describe(self) -> None:
        async with self._lock:
            if not self._described:
                await asyncio.to_thread(self._app.openapi)
                self._described = True
