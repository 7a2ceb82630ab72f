"""`recado serve`: the HTTP server, and on request a worker process."""

import gc
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeAlias

import structlog
import typer

from recado.core.clock import SystemClock
from recado.core.telemetry import configure_logging
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import print_document
from recado.entrypoints.cli.texts.language import say
from recado.entrypoints.cli.waiting import make_room, waiting
from recado.entrypoints.environment import environment
from recado.settings import Settings, load_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from recado.bootstrap import Container

log = structlog.get_logger(__name__)

RESTART_SECONDS = 1.0


Host: TypeAlias = Annotated[str, typer.Option(help="The address to listen on.")]
Port: TypeAlias = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0: any that is free.")]
WithWorker: TypeAlias = Annotated[bool, typer.Option("--with-worker", help="Also start a worker process.")]


HealthFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A file for the worker to touch while it lives; see `recado health`."),
]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    with_worker: WithWorker = False,
    health_file: HealthFile = None,
    as_json: AsJson = False,
) -> None:
    """Receive webhooks. Twilio must reach this server at RECADO_PUBLIC_URL."""
    settings = load_settings(environment(), purpose="serve")
    configure_logging(settings.log_level, sys.stderr, SystemClock())
    with waiting():  # Until it says that it listens.
        _serve(settings, host, port, WithWorkerProcess(with_worker, health_file), as_json=as_json)


@dataclass(frozen=True, slots=True)
class WithWorkerProcess:
    """Whether a worker runs beside the server, and the file that shows its life."""

    wanted: bool
    health_file: Path | None

    def start(self) -> "WorkerProcess | None":
        return WorkerProcess(self.health_file) if self.wanted else None


def _serve(settings: Settings, host: str, port: int, beside: WithWorkerProcess, *, as_json: bool) -> None:
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
        worker_process = beside.start()
        app = build_app(container)
        try:
            told = partial(_announce, settings, worker_process, as_json=as_json)
            _run(app, listener, container, worker_process, told)
        finally:
            if worker_process is not None:
                worker_process.stop()


def _run(
    app: "ASGIApp",
    listener: socket.socket,
    container: "Container",
    worker_process: "WorkerProcess | None",
    announce: Callable[[str], None],
) -> None:
    from recado.entrypoints.http.listening import url_of
    from recado.entrypoints.http.server import make_server

    def stop_worker() -> None:
        if worker_process is not None:
            worker_process.terminate()

    server = make_server(
        app,
        container.meters(),
        ready=lambda: announce(url_of(listener)),
        on_signal=stop_worker,
        on_stop=container.event_following().stop,
    )
    gc.freeze()  # Loaded modules stay. Without this the garbage collector reads them again and again, 40 ms each time.
    # The event loop and the writer's thread alternate: with Python's default of 5 ms each row waits that long.
    sys.setswitchinterval(0.0005)
    # After its shutdown uvicorn raises the signal again, and by default the process would end before our cleanup.
    signal.signal(signal.SIGTERM, _exit)
    try:
        server.run([listener])
    except KeyboardInterrupt:  # Ctrl-C is raised again in the same way.
        return


def _announce(settings: Settings, worker_process: "WorkerProcess | None", url: str, *, as_json: bool) -> None:
    make_room()
    if as_json or not (sys.stdout.isatty() and sys.stderr.isatty()):  # On a terminal the lines below say it.
        log.info("serve.listening", url=url)
    if as_json:
        print_document({"url": url})
    else:
        for line in banner(settings, url, with_worker=worker_process is not None):
            typer.echo(line)
    sys.stdout.flush()


def banner(settings: Settings, url: str, *, with_worker: bool) -> Iterator[str]:
    """Yield what a person needs to know next: where it listens, what Twilio must call, who runs the jobs."""
    from recado.channels.twilio.webhook.routes import MESSAGES_PATH

    yield say("Recado listens at {url}; stop it with Ctrl-C.", url=url)
    webhook = f"{settings.public_url}{MESSAGES_PATH}"
    yield "  " + say("Webhook of each number at Twilio (POST): {webhook}", webhook=webhook)
    if (settings.public_url or "").startswith("http://"):  # The settings allow that for this machine only.
        yield "  " + say("Twilio cannot reach that address; `recado emulator` on this machine can.")
    yield "  " + say("API: {url}/docs (a key for it: recado keys create)", url=url)
    yield "  " + say("Health: {url}/readyz", url=url)
    if not with_worker:
        yield "  " + say("Nothing is answered until a worker runs: type `recado worker` in another terminal.")


def _exit(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


class WorkerProcess:
    """A worker in its own process, restarted when it ends, so that a poison message cannot kill the server."""

    def __init__(self, health_file: Path | None = None) -> None:
        self._options = [] if health_file is None else ["--health-file", str(health_file)]
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
        words = [sys.executable, "-m", "recado", "--with-parent", "worker", *self._options]
        return subprocess.Popen(words, stdin=subprocess.PIPE)  # noqa: S603 - our own command

    def _enforce_deadline(self) -> None:
        while True:
            status = self._process.wait()
            if self._stopping.is_set():
                return
            log.warning("worker.ended", status=status)
            self._stopping.wait(RESTART_SECONDS)
            if not self._stopping.is_set():
                self._process = self._start()
