"""A server on loopback whose answers a test writes."""

import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.patience import PATIENCE

Handler = Callable[[Request], Awaitable[Response]]


@dataclass
class Asked:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Loopback:
    """Answers with what `answers` holds, the last of them for ever; remembers what it was asked."""

    url: str = ""
    answers: list[Response | Handler] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def forget(self) -> None:
        self.answers, self.asked = [], []

    def says(self, *answers: object) -> None:
        """JSON for plain data; responses and handlers as they are."""
        self.answers = [
            answer if isinstance(answer, Response) or callable(answer) else JSONResponse(answer) for answer in answers
        ]

    async def answer(self, request: Request) -> Response:
        self.asked.append(Asked(request.url.path, dict(request.headers), await request.body()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, Response) else await answer(request)


class _Server(uvicorn.Server):
    """Tells a waiting thread that it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


@contextlib.contextmanager
def listening() -> Iterator[Loopback]:
    """A running server in a thread of its own; it ends with the block."""
    loopback = Loopback()
    app = Starlette(routes=[Route("/{path:path}", loopback.answer, methods=["GET", "POST"])])
    server = _Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, name="test-server")
    thread.start()
    assert server.listens.wait(PATIENCE)
    loopback.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield loopback
    server.should_exit = server.force_exit = True
    thread.join(PATIENCE)


def dripping(parts: int, size: int) -> StreamingResponse:
    """A body without announced length."""

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(parts):
            yield b" " * size

    return StreamingResponse(drip(), media_type="application/json")
