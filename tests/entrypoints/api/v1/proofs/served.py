"""The API behind a socket, in a thread of its own, with an owner who has one of everything."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from recado.bootstrap import Container, metadata
from recado.core.clock import FrozenClock
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.ids import UuidV7
from recado.entrypoints.api.app import build_app
from recado.entrypoints.http.server import Server, make_server
from recado.migrations.startup import Creation, prepare_database
from recado.settings import Settings
from tests.conftest import NOON
from tests.entrypoints.api.v1.proofs.scene import MAKERS, Scene
from tests.support.callers import KnownCallers
from tests.world import World

T = TypeVar("T")


class Served:
    """A running API. Its loop is that of its thread; tests call it from theirs."""

    def __init__(self, scene: Scene, loop: asyncio.AbstractEventLoop, url: str, key: Mapping[str, str]) -> None:
        self._scene = scene
        self._loop = loop
        self.url = url
        self.key = key
        self._things: Mapping[str, UUID] = {name: self.run(make(scene)) for name, make in MAKERS.items()}

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result()

    def thing(self, kind: str, *, new: bool = False) -> UUID:
        """Return the id of a thing of the owner. One that was not asked for before has not been changed or deleted."""
        return self.run(self._scene.make(kind)) if new else self._things[kind]

    def passes(self) -> None:
        """Let a second pass, so that nobody calls too often."""
        clock = self._scene.world.clock
        self._loop.call_soon_threadsafe(clock.advance, timedelta(seconds=1))


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Serve a new database in a folder."""
    server, starting = _Background(folder), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(server.main(starting.set)), name="served")
    thread.start()
    try:
        assert starting.wait(60), "the server did not start"
        assert server.loop is not None
        yield Served(server.scene, server.loop, server.url, server.key)
    finally:
        server.stop()
        thread.join()


class _Background:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.loop: asyncio.AbstractEventLoop | None = None
        self._http: Server | None = None

    async def main(self, ready: Callable[[], None]) -> None:
        url = f"sqlite:///{self._folder / 'recado.db'}"
        prepare_database(url, metadata, creation=Creation.ALLOWED)
        clock, callers = FrozenClock(NOON), KnownCallers()
        world = await World.open(SqliteDatabase(url), clock, UuidV7(clock))
        settings = Settings(
            database_url=url,
            public_url="https://recado.example",
            secret_key=bytes(32),
            twilio_api_url="http://127.0.0.1:9",
        )
        container = Container(settings=settings)
        for provider, part in (
            (container.clock, clock),
            (container.database, world.database),
            (container.channels, world.channels),
            (container.authenticator, callers),
        ):
            provider.override(part)
        self.scene = Scene(world, container)
        await self.scene.furnish()
        self.key = callers.known(await self.scene.first_user())
        self.loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            app = build_app(container)
            self._http = make_server(app, world.meters, ready=ready, on_signal=ready, on_stop=ready)
            await self._http.serve([listener])

    def stop(self) -> None:
        """Stop serving. The application closes the database."""
        if self._http is not None:
            self._http.should_exit = True
