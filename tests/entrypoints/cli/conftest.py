"""The command line, run in this process on a database in which something has happened."""

import asyncio
import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlencode
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from recado.bootstrap import metadata
from recado.channels.models import Orphan, OrphanSigner, SignedOrphan
from recado.channels.repository import Orphans
from recado.channels.twilio.values import PROVIDER
from recado.conversation.errors import AgentFailed
from recado.conversation.values import Address
from recado.core.clock import FrozenClock, SystemClock
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.ids import UuidV7
from recado.entrypoints.cli.main import app
from recado.migrations.runner import migrate_sqlite
from tests.world import ACCOUNT, ANA, BRUNO, OURS, World

Item: TypeAlias = dict[str, object]


SECRET_KEY = "A" * 43
"""The key that the world seals with."""


TOKEN = "0123456789abcdef0123456789abcdef"


CARLA = Address("whatsapp:+5531987651234")


NOBODYS = "whatsapp:+551133330000"


ORPHAN_SID = "SM" + "e" * 32


@dataclass(frozen=True, slots=True)
class Recado:
    """Runs commands and returns their output."""

    environment: Mapping[str, str]

    def __call__(self, *words: object, **variables: str | None) -> Result:
        nothing: dict[str, str | None] = {name: None for name in os.environ if name.startswith("RECADO_")}
        env = {**nothing, "LC_ALL": "C.UTF-8", **self.environment, **variables}
        return CliRunner().invoke(app, [str(word) for word in words], env=env, prog_name="recado")

    def one(self, *words: object, **variables: str | None) -> Item:
        """The one JSON document of a command that succeeds."""
        document: Item = json.loads(self._output(*words, **variables))
        return document

    def many(self, *words: object, **variables: str | None) -> list[Item]:
        """Return the JSON list of a command that succeeds."""
        document: list[Item] = json.loads(self._output(*words, **variables))
        return document

    def says(self, *words: object, **variables: str | None) -> str:
        """Return the output of a command that succeeds."""
        ended = self(*words, **variables)
        assert (ended.exit_code, ended.stderr) == (0, ""), ended.output
        return ended.stdout

    def refuses(self, *words: object, status: int = 1, **variables: str | None) -> str:
        """Return the error of a command that fails without output."""
        ended = self(*words, **variables)
        assert (ended.exit_code, ended.stdout) == (status, ""), ended.output
        return ended.stderr

    def _output(self, *words: object, **variables: str | None) -> str:
        return self.says(*words, "--json", **variables)


@dataclass(frozen=True, slots=True)
class LivedIn:
    """A database file, and the organisation that is in it."""

    path: Path
    owner: str


@pytest.fixture(scope="session")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> LivedIn:
    """A migrated database with an organisation and its customers.

    Ana's first message ended as a dead letter and her second was answered; Bruno's ended as a dead letter; Carla is
    spoken to by a person and waits for an answer; one message went to a number that nobody has.
    """
    path = tmp_path_factory.mktemp("lived-in") / "recado.db"
    migrate_sqlite(f"sqlite:///{path}", metadata)
    return LivedIn(path, asyncio.run(_live(path)))


async def _live(path: Path) -> str:
    clock = FrozenClock(SystemClock().now())
    database = SqliteDatabase(f"sqlite:///{path}")
    world = await World.open(database, clock, UuidV7(clock))
    for customer in (ANA, BRUNO):
        world.agents.will(AgentFailed("the model is on fire", retryable=False))
        await world.says("oi", customer)
    await world.says("alguém?", ANA)
    await world.says("bom dia", CARLA)
    await world.take(CARLA)
    await world.says("ainda está aí?", CARLA)
    [number] = await world.numbers.list(world.owner_id)
    orphan = _orphan(world, number.account_id)
    await database.write(lambda uow: Orphans(uow).add_new([orphan]), owner=None)
    await database.close()
    return str(world.owner_id)


def _orphan(world: World, account_id: UUID) -> SignedOrphan:
    sid, now = ORPHAN_SID, world.clock.now()
    form = {"AccountSid": ACCOUNT.value, "MessageSid": sid, "From": ANA.value, "To": NOBODYS, "Body": "oi?"}
    raw = urlencode(form).encode()
    orphan = Orphan(world.ids.new(), PROVIDER, ACCOUNT.value, sid, ANA.value, NOBODYS, raw, now, None, None, account_id)
    return SignedOrphan(orphan, (OrphanSigner(orphan.id, account_id, world.owner_id),))


@pytest.fixture
def environment(lived_in: LivedIn, tmp_path: Path) -> Mapping[str, str]:
    database = shutil.copy(lived_in.path, tmp_path / "recado.db")
    return {"RECADO_DATABASE_URL": f"sqlite:///{database}", "RECADO_SECRET_KEY": SECRET_KEY}


@pytest.fixture
def recado(environment: Mapping[str, str]) -> Recado:
    return Recado(environment)


@pytest.fixture
def owner(lived_in: LivedIn) -> str:
    """The id of the organisation in the database."""
    return lived_in.owner


@pytest.fixture
def our_number() -> str:
    return OURS.value


NOBODY = "0197c2f4-8e5a-7c3b-9d21-4f6a8b0c1d2e"


PUBLIC = "https://recado.example"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recado.db"


def spoil(file: Path, sql: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(sql)
    connection.close()
