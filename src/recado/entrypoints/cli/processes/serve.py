"""`recado serve`: the HTTP server, and on request a worker process."""

import gc
import signal
import socket
import subprocess
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeAlias

import structlog
import typer

from recado.core.clock import SystemClock
from recado.core.telemetry import configure_logging
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import print_document
from recado.entrypoints.environment import environment
from recado.settings import load_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from recado.core.metrics import Meters

log = structlog.get_logger(__name__)

RESTART_SECONDS = 1.0


Host: TypeAlias = Annotated[str, typer.Option(help="The address to listen on.")]
Port: TypeAlias = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0: any that is free.")]
WithWorker: TypeAlias = Annotated[bool, typer.Option("--with-worker", help="Also start a worker process.")]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    with_worker: WithWorker = False,
    as_json: AsJson = False,
) -> None:
    """Receive webhooks. Twilio must reach this server at RECADO_PUBLIC_URL."""
    settings = load_settings(environment(), purpose="serve")
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
    from recado.entrypoints.http.listening import url_of
    from recado.entrypoints.http.server import make_server

    def stop_worker() -> None:
        if worker_process is not None:
            worker_process.terminate()

    server = make_server(app, meters, ready=lambda: _announce(url_of(listener), as_json=as_json), on_signal=stop_worker)
    gc.freeze()  # Loaded modules stay. Without this the garbage collector reads them again and again, 40 ms each time.
    # The event loop and the writer's thread alternate: with Python's default of 5 ms each row waits that long.
    sys.setswitchinterval(0.0005)
    # After its shutdown uvicorn raises the signal again, and by default the process would end before our cleanup.
    signal.signal(signal.SIGTERM, _exit)
    try:
        server.run([listener])
    except KeyboardInterrupt:  # Ctrl-C is raised again in the same way.
        return


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
    """A worker in its own process, restarted when it ends, so that a poison message cannot kill the server."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._enforce_deadline, name="recado-worker-process", daemon=True)
        self._thread.start()

    def terminate(self) -> None:
        """Tell the worker to stop. It requeues the jobs that it cannot finish."""
        self._stopping.set()
        self._process.terminate()

    def stop(self) -> None:
        """Tell the worker to stop, and wait until it has ended."""
        self.terminate()
        self._thread.join()

    def _start(self) -> "subprocess.Popen[bytes]":
        # The pipe closes when this process ends, in any way, and then the worker ends too.
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
