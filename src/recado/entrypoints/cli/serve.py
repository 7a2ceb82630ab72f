"""`recado serve`: the HTTP server, with a worker beside it if asked."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from types import FrameType
from typing import Annotated, NoReturn

import structlog
import typer

from recado.core.clock import SystemClock
from recado.core.errors import ConfigurationError
from recado.core.telemetry import configure_logging
from recado.settings import load_settings

log = structlog.get_logger(__name__)

RESTART_SECONDS = 1.0


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8000,
    with_worker: Annotated[bool, typer.Option("--with-worker", help="Start a worker process beside it.")] = False,
) -> None:
    """Receive webhooks. Twilio must reach this server at RECADO_PUBLIC_URL."""
    settings = load_settings(os.environ, purpose="serve")
    configure_logging(settings.log_level, sys.stderr, SystemClock())
    import uvicorn

    from recado.bootstrap import Container, metadata
    from recado.entrypoints.api import build_app
    from recado.migrations.starting import bring_up

    bring_up(settings.database_url, metadata)
    _must_be_free(host, port)
    container = Container(settings=settings)
    beside = WorkerBeside() if with_worker else None
    app = build_app(container)
    gc.freeze()  # What is loaded by now stays: looking through it again and again stops everything for 40 ms.
    try:
        # The loop and the writer's thread take turns: with Python's usual 5 ms the writer waits that long for each row.
        sys.setswitchinterval(0.0005)
        # When it has shut down, uvicorn raises the signal again, and by default nothing after it would run.
        signal.signal(signal.SIGTERM, _leave)
        uvicorn.run(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=10,
            backlog=2048,
        )
    finally:
        if beside is not None:
            beside.stop()


def _must_be_free(host: str, port: int) -> None:
    """Raises `ConfigurationError` where nobody can listen: uvicorn would say so in a line of its log only."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"{host}, port {port}: {reason}; choose others with --host and --port") from error


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


class WorkerBeside:
    """A worker in a process of its own, started again when it ends: a poison message must not take the server along."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch, name="recado-worker-beside", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop it gracefully; it gives back what it cannot finish."""
        self._stopping.set()
        self._process.terminate()
        self._thread.join()

    def _start(self) -> "subprocess.Popen[bytes]":
        # The pipe ends with this process, however it ends, and with the pipe the worker.
        return subprocess.Popen([sys.executable, "-m", "recado", "--with-parent", "worker"], stdin=subprocess.PIPE)

    def _watch(self) -> None:
        while True:
            status = self._process.wait()
            if self._stopping.is_set():
                return
            log.warning("worker.ended", status=status)
            self._stopping.wait(RESTART_SECONDS)
            if not self._stopping.is_set():
                self._process = self._start()
