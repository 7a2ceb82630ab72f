"""The plug is pulled while the database commits: whatever was answered 200 is there, and the file is whole.

`synchronous=FULL` syncs the write-ahead log before a commit returns, so what a machine may lose of it is its end, after
the last sync. The log of a database that commits message after message is cut at every frame, and at random bytes; a
cut that leaves the log as it was at a commit must leave everything accepted until that commit, and on every cut a start
must find a database that it can work with.
"""

import random
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recado.bootstrap import metadata
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.ids import UuidV7
from recado.migrations.runner import migrate_sqlite
from tests.world import World

HEADER, FRAME_HEADER = 32, 24
MESSAGES = 25
SEED = 20_261_122
NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """What was promised when the log was so long: the SIDs answered 200."""

    wal_bytes: int
    told: frozenset[str]


@dataclass(frozen=True, slots=True)
class Recording:
    """The files of a database that was committing when the plug was pulled, and what it had promised until when."""

    file: Path
    wal: bytes
    moments: Sequence[Moment]

    @property
    def page_size(self) -> int:
        size: int = struct.unpack(">I", self.wal[8:12])[0]
        return size

    def frames(self) -> Iterator[int]:
        """Every length at which the log ends with a whole frame."""
        yield from range(HEADER, len(self.wal) + 1, FRAME_HEADER + self.page_size)

    def told_at(self, length: int) -> frozenset[str]:
        """What must be there when this much of the log survived."""
        return max((m for m in self.moments if m.wal_bytes <= length), key=lambda m: m.wal_bytes).told


@pytest.fixture
async def recording(tmp_path: Path) -> Recording:
    """A database is made, its log is emptied into it, and then messages come in one commit at a time."""
    file = tmp_path / "recado.db"
    migrate_sqlite(f"sqlite:///{file}", metadata)
    clock = FrozenClock(NOON)
    database = SqliteDatabase(f"sqlite:///{file}")
    world = await World.open(database, clock, UuidV7(clock, random.Random(SEED).getrandbits))  # noqa: S311
    with closing(database.open_connection()) as keeper:
        keeper.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        base = Path(shutil.copy(file, tmp_path / "base.db"))
        log = file.with_name("recado.db-wal")
        moments = [Moment(0, frozenset())]
        for number in range(MESSAGES):
            sid = await world.receives(f"oi {number}", customer(number))
            moments.append(Moment(log.stat().st_size, moments[-1].told | {sid}))
        wal = log.read_bytes()
        await database.close()
    assert moments[-1].wal_bytes == len(wal), "nothing was put back into the file meanwhile"
    return Recording(base, wal, moments)


def customer(number: int) -> Address:
    return Address(f"whatsapp:+55119{80_000_000 + number}")


def cut(recording: Recording, length: int, rubbish: bytes = b"") -> Path:
    """The disk as it may be found: so much of the log, and perhaps what never was a part of it."""
    file = recording.file.with_name("found.db")
    shutil.copy(recording.file, file)
    file.with_name("found.db-shm").unlink(missing_ok=True)
    file.with_name("found.db-wal").write_bytes(recording.wal[:length] + rubbish)
    return file


def check(recording: Recording, length: int, rubbish: bytes = b"") -> None:
    """The file is whole, and what was told is in it."""
    file = cut(recording, length, rubbish)
    with closing(sqlite_module().connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = {"SM" + row[0][2:].hex() for row in connection.execute("SELECT provider_message_id FROM messages")}
        working = connection.execute("SELECT count(*) FROM message_queue WHERE status = 'collecting'").fetchone()
    assert recording.told_at(length) <= found, f"lost at byte {length}"
    assert working == (len(found),), "every message has its job: both or neither"


def lengths(recording: Recording, count: int | None) -> list[int]:
    """Every frame's end, and a thousand bytes anywhere; or a sample of so many."""
    chance = random.Random(SEED)  # noqa: S311
    frames = list(recording.frames())
    anywhere = [chance.randrange(len(recording.wal) + 1) for _ in range(1_000)]
    if count is None:
        return frames + anywhere
    return [*chance.sample(frames, min(count // 2, len(frames))), *anywhere[: count // 2]]


@pytest.mark.parametrize("count", [300, pytest.param(None, marks=pytest.mark.slow, id="all")])
def test_what_was_told_is_there_wherever_the_log_ends(recording: Recording, count: int | None) -> None:
    where = lengths(recording, count)
    for length in where:
        check(recording, length)
    print(f"seed {SEED}: {len(where)} cuts of a log of {len(recording.wal)} bytes")  # noqa: T201 - figures


def test_a_torn_end_is_not_taken_for_a_commit(recording: Recording) -> None:
    """What a disk had begun to write may be zeros, or a page of something else."""
    chance = random.Random(SEED)  # noqa: S311
    for length in lengths(recording, 40):
        check(recording, length, bytes(4096))
        check(recording, length, chance.randbytes(chance.randrange(1, 5_000)))


@pytest.mark.parametrize("part", [0.0, 0.31, 0.77, 1.0])
async def test_the_product_starts_on_what_is_left_and_answers_it(recording: Recording, part: float) -> None:
    length = int(part * len(recording.wal))
    file = cut(recording, length)
    assert not migrate_sqlite(f"sqlite:///{file}", metadata).migrated
    clock = FrozenClock(NOON)
    database = SqliteDatabase(f"sqlite:///{file}")
    world = World(database, clock, UuidV7(clock, random.Random(SEED + 1).getrandbits))  # noqa: S311
    [owner] = await world.rows("SELECT o.id, a.id AS address FROM owners o, channel_addresses a")
    world.owner_id, world.address_id = World.uuid(owner["id"]), World.uuid(owner["address"])
    await world.read_keys()
    late = await world.receives("depois do apagão", customer(99))
    await world.passes(10)
    told = sorted(recording.told_at(length))
    assert set(await world.outcomes_of(*told, late)) == {"answered"}
    assert (await world.verify()).violations == []
    await database.close()
