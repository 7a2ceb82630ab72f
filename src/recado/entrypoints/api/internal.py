"""`/internal/tick`: the work of a worker as a bounded run, for hosts that run nothing between two requests.

Callers send `RECADO_INTERNAL_API_KEY`; without that setting the route refuses every caller. The worker is built at the
first run, because most servers never need one.
"""

import asyncio
import hmac
import math
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import structlog
from fastapi import FastAPI
from fastapi.requests import Request
from fastapi.responses import JSONResponse

from recado.core.errors import DomainError, InvalidInput
from recado.core.queue.running.bounded import GIVE_BACK_SECONDS, MAX_SECONDS, MIN_SECONDS, BoundedRunReport
from recado.core.queue.running.worker import Worker
from recado.core.sampling import LogSampler

if TYPE_CHECKING:
    from recado.bootstrap import Container

log = structlog.get_logger(__name__)

PATH: Final = "/internal/tick"
DEFAULT_SECONDS: Final = 20.0

_HEADERS: Final = {"Cache-Control": "no-store"}
_PARAMETERS: Final = [
    {
        "name": "seconds",
        "in": "query",
        "description": "The time limit of the run.",
        "schema": {"type": "number", "minimum": MIN_SECONDS, "maximum": MAX_SECONDS, "default": DEFAULT_SECONDS},
    },
    {
        "name": "linger",
        "in": "query",
        "description": "Continue until the time is over, and run jobs as they become due.",
        "schema": {"type": "integer", "enum": [0, 1], "default": 0},
    },
]


class InternalClosed(DomainError):
    """RECADO_INTERNAL_API_KEY is not set, so every caller is refused."""

    code = "internal.closed"
    status = 403


class InternalKeyWrong(DomainError):
    """The caller sent no key, or a wrong one."""

    code = "internal.unauthorized"
    status = 401


class Ticks:
    """The bounded runs of a server. They share one worker, so that together they run no more jobs than one worker."""

    def __init__(self, container: "Container") -> None:
        self._container = container
        self._worker_lock = asyncio.Lock()
        self._worker: Worker | None = None
        self._under_way: set[asyncio.Future[None]] = set()
        self._samples = LogSampler(container.clock())

    def log_refusal(self) -> None:
        """Log a request without the key. Anybody can send many, so only some of them are logged."""
        if times := self._samples.admit("internal.refused"):
            log.warning("internal.refused", path=PATH, times=times)

    async def run(self, seconds: float, *, linger: bool) -> BoundedRunReport:
        """Do one bounded run; see `BoundedRuns.run`."""
        worker = await self._get_worker()
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.add(ended)
        try:
            ticked = await worker.run_bounded(seconds, linger=linger)
        finally:
            self._under_way.discard(ended)
            ended.set_result(None)
        log.info("tick.done", **asdict(ticked))
        if worker.needs_recycling:
            log.warning("tick.needs_recycling", doing="restart this server: a run of an agent cannot be stopped")
        return ticked

    async def aclose(self) -> None:
        """Let running ticks requeue their jobs, and close the worker."""
        if self._worker is None:
            return
        self._worker.stop()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=2 * GIVE_BACK_SECONDS)
        from recado.entrypoints.worker import close_container

        await self._container.isolated_runner().aclose()
        await close_container(self._container)

    async def _get_worker(self) -> Worker:
        async with self._worker_lock:
            if self._worker is None:
                # In a thread: it imports agents and the HTTP client, which would delay webhooks for half a second.
                self._worker = await asyncio.to_thread(self._container.worker)
            return self._worker


def add_internal(app: FastAPI, key: str | None, ticks: Ticks) -> None:
    """Add the route for both methods: timers use POST, Vercel's cron uses GET."""

    async def tick(request: Request) -> JSONResponse:
        _authorize(request, key, ticks)
        ticked = await ticks.run(_seconds(request), linger=_linger(request))
        return JSONResponse(asdict(ticked), headers=_HEADERS)

    for method in ("GET", "POST"):
        app.add_api_route(
            PATH,
            tick,
            methods=[method],
            tags=["operations"],
            summary="Run due jobs for some seconds",
            operation_id=f"tick_{method.lower()}",
            response_model=BoundedRunReport,
            responses={401: {"description": "A wrong key"}, 403: {"description": "No key is set"}},
            openapi_extra={"parameters": _PARAMETERS},
        )


def _authorize(request: Request, key: str | None, ticks: Ticks) -> None:
    if key is None:
        raise InternalClosed("/internal/ refuses every caller until RECADO_INTERNAL_API_KEY is set")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    # Digests have one length, so the time of the comparison reveals nothing about the length of the key.
    if scheme.lower() != "bearer" or not hmac.compare_digest(
        _digest(given.strip().encode("latin-1")), _digest(key.encode())
    ):
        ticks.log_refusal()
        raise InternalKeyWrong("send the header Authorization: Bearer with the value of RECADO_INTERNAL_API_KEY")


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()


def _seconds(request: Request) -> float:
    text = request.query_params.get("seconds")
    try:
        seconds = DEFAULT_SECONDS if text is None else float(text)
    except ValueError:
        seconds = math.nan
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise InvalidInput(f"seconds must be a number from {MIN_SECONDS:g} to {MAX_SECONDS:g}")
    return seconds


def _linger(request: Request) -> bool:
    text = request.query_params.get("linger", "0")
    if text not in {"0", "1"}:
        raise InvalidInput("linger must be 0 or 1")
    return text == "1"
