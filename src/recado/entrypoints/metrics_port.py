"""The port at which a worker shows its metrics: just enough HTTP for `GET /metrics`.

A worker loads no web framework, and one endpoint does not need one. A port that is taken does not stop the worker: it
is logged, and jobs run all the same.
"""

import asyncio
from typing import Final

import structlog

from recado.operations.exposition import CONTENT_TYPE, Exposition

log = structlog.get_logger(__name__)

MAX_HEAD: Final = 16 * 1024
SECONDS: Final = 5.0
"""The time limit of a request and its answer."""
CALLERS: Final = 16
"""Concurrent callers; further ones are closed. The files and memory of a worker are for its jobs."""


async def show_metrics(exposition: Exposition, host: str, port: int) -> asyncio.Server | None:
    """Listen until closed. Return None for port 0 and when the port cannot be used."""
    if port == 0:
        return None
    try:
        return await listen(exposition, host, port)
    except OSError as error:
        log.error("metrics.port_unusable", host=host, port=port, why=error.strerror)  # noqa: TRY400 - a sentence is enough
        return None


async def listen(exposition: Exposition, host: str, port: int) -> asyncio.Server:
    """Listen at a port, or at any free one for port 0. Raises `OSError` when the port cannot be used."""

    callers = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal callers
        callers += 1
        try:
            if callers > CALLERS:
                return
            async with asyncio.timeout(SECONDS):
                writer.transport.set_write_buffer_limits(high=0)  # So that `drain` waits until everything is sent.
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _answered(exposition, head))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("metrics.caller_lost", error=repr(error))
        finally:
            callers -= 1
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()  # The caller did not read in time; closing would wait for it.
            else:
                writer.close()

    return await asyncio.start_server(answer, host, port, limit=MAX_HEAD)


async def _answered(exposition: Exposition, head: bytes) -> bytes:
    request, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, _, rest = request.partition(" ")
    if rest.partition(" ")[0].partition("?")[0] != "/metrics":
        return _response("404 Not Found")
    if method != "GET":
        return _response("405 Method Not Allowed")
    if not exposition.allows(headers.get("authorization", "")):
        return _response("401 Unauthorized", "WWW-Authenticate: Bearer")
    return _response("200 OK", f"Content-Type: {CONTENT_TYPE}", body=await exposition.render_process())


def _response(status: str, *headers: str, body: bytes = b"") -> bytes:
    head = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
