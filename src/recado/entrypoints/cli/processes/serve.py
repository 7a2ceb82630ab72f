"""`recado serve`: the HTTP server, with a worker beside it if asked."""

import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import structlog
import typer

from recado.core.clock import SystemClock
from recado.core.telemetry import configure_logging
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import print_document
from recado.settings import load_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from recado.core.metrics import Meters

log = structlog.get_logger(__name__)

RESTART_SECONDS = 1.0
GRACE_SECONDS: Final = 10
"""How long requests that are under way may take to end when the server is stopped."""

EXIT_SECONDS: Final = GRACE_SECONDS + 4.0
"""How long after it was told to stop the server has left: an agent of a tick or a database may keep it from closing."""


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0: any that is free.")] = 8000,
    with_worker: Annotated[bool, typer.Option("--with-worker", help="Start a worker process beside it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Receive webhooks. Twilio must reach this server at RECADO_PUBLIC_URL."""
    settings = load_settings(os.environ, purpose="serve")
    configure_logging(settings.log_level, sys.stderr, SystemClock())
    from recado.bootstrap import Container, metadata
    from recado.entrypoints.api.app import build_app
    from recado.entrypoints.http.listening import bind, listen
    from recado.entrypoints.worker import allow_many_files
    from recado.migrations.startup import Creation, prepare_database

    with bind(host, port) as listener:
        allow_many_files()
        prepare_database(settings.database_url, metadata, creation=Creation.ALLOWED)
        listen(listener)
        container = Container(settings=settings)
        worker_process = WorkerProcess() if with_worker else None
        app = build_app(container)
        try:
            _run(app, listener, container.meters(), worker_process, as_json=as_json)
        finally:
            if worker_process is not None:
                worker_process.stop()


def _run(
    app: "ASGIApp", listener: socket.socket, meters: "Meters", worker_process: "WorkerProcess | None", *, as_json: bool
) -> None:
    import uvicorn

    from recado.entrypoints.http.connections import Connections
    from recado.entrypoints.http.limits import Limits, connections_for
    from recado.entrypoints.http.listening import BACKLOG, url_of
    from recado.entrypoints.http.protocol import protocol_for
    from recado.entrypoints.shutdown import call_after, exit_late

    limits = Limits(connections=connections_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0], BACKLOG))

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            _announce(url_of(listener), as_json=as_json)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Told to end: whatever hangs in it then, this process is gone in time, and its worker ends meanwhile."""
            if not self.should_exit:
                call_after(EXIT_SECONDS, lambda: exit_late(EXIT_SECONDS))
                if worker_process is not None:
                    worker_process.tell()
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app,
        http=protocol_for(Connections(limits, meters, _proves_identity)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=BACKLOG,
    )
    gc.freeze()  # What is loaded by now stays: looking through it again and again stops everything for 40 ms.
    # The loop and the writer's thread take turns: with Python's usual 5 ms the writer waits that long for each row.
    sys.setswitchinterval(0.0005)
    # When it has shut down, uvicorn raises the signal again, and by default nothing after it would run.
    signal.signal(signal.SIGTERM, _exit)
    try:
        Server(config).run([listener])
    except KeyboardInterrupt:  # Ctrl-C, raised again in the same way.
        return


def _proves_identity(path: str, status: int) -> bool:
    """Whether only a caller who signs, or bears a key, gets this answer.

    A connection over which one came is kept longer, and is the last to go when there are too many.
    """
    return status < 400 and path.startswith(("/webhooks/", "/internal/"))


def _announce(url: str, *, as_json: bool) -> None:
    log.info("serve.listening", url=url)
    if as_json:
        print_document({"url": url})
    else:
        typer.echo(f"Recado listens at {url}; stop it with Ctrl-C.")
    sys.stdout.flush()


def _exit(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


class WorkerProcess:
    """A worker in a process of its own, started again when it ends: a poison message must not take the server along."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._enforce_deadline, name="recado-worker-beside", daemon=True)
        self._thread.start()

    def tell(self) -> None:
        """Tell it to end; it gives back what it cannot finish."""
        self._stopping.set()
        self._process.terminate()

    def stop(self) -> None:
        """Tell it, and wait until it has ended."""
        self.tell()
        self._thread.join()

    def _start(self) -> "subprocess.Popen[bytes]":
        # The pipe ends with this process, however it ends, and with the pipe the worker.
        return subprocess.Popen([sys.executable, "-m", "recado", "--with-parent", "worker"], stdin=subprocess.PIPE)

    def _enforce_deadline(self) -> None:
        while True:
            status = self._process.wait()
            if self._stopping.is_set():
                return
            log.warning("worker.ended", status=status)
            self._stopping.wait(RESTART_SECONDS)
            if not self._stopping.is_set():
                self._process = self._start()
