"""The product's own writer over one in-memory SQLite, driven by the loop instead of by a thread.

Each write is a step of its process: killed before it, nothing is stored; killed after it, everything is stored and
nobody learns of it. The engine is kept from world to world, since its compiled statements are what costs; the rows are
replaced by those of an empty database.
"""

import asyncio
import functools
import gc
import re
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine, event, make_url
from sqlalchemy.exc import DBAPIError

from recado.bootstrap import metadata
from recado.core.database.inbox import Item, LoopReply, ThreadReply
from recado.core.database.sqlite.connections import sqlite_engine
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.sqlite.writer import SqliteWriter
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import StorageUnavailable
from tests.chaos.simulator.loop import Process
from tests.chaos.simulator.world import World

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output


@dataclass(frozen=True)
class Edit:
    """A change to statements on their way to the database: what `pattern` meets becomes `becomes`.

    `during` is the start of a unit of work's name; empty for all of them, and for the tables' making.
    """

    pattern: str
    becomes: str
    during: str = ""

    def of(self, statement: str, unit: str) -> str:
        return (
            re.sub(self.pattern, self.becomes, statement, flags=re.DOTALL)
            if unit.startswith(self.during)
            else statement
        )


_HISTORY = """
CREATE TABLE played_history (attempt BLOB, state TEXT);
CREATE TRIGGER played_remembers AFTER UPDATE OF state ON attempts
BEGIN INSERT INTO played_history VALUES (new.id, new.state); END;
"""
"""What attempts have been called on the way: a late word may bind one that had been given up."""

_ENDINGS = """
CREATE TABLE played_endings (
    conversation BLOB, at INTEGER, became TEXT, by TEXT, held_by TEXT, under_way INTEGER, spoken_at INTEGER
);
CREATE TRIGGER played_ends AFTER INSERT ON conversation_events
WHEN new.what = 'status' AND new.after IN ('idle', 'closed')
BEGIN INSERT INTO played_endings SELECT c.id, new.at, new.after, new.by, c.held_by,
    (SELECT count(*) FROM messages m WHERE m.lane = c.lane AND m.outcome IS NULL)
    + (SELECT count(*) FROM message_queue j WHERE j.lane IN (c.lane,
        (SELECT a.send_lane FROM answers a WHERE a.lane = c.lane LIMIT 1))
        AND j.status IN ('collecting', 'waiting', 'running') AND (j.name <> 'answer.send' OR j.created_at <> new.at))
    + (SELECT count(*) FROM turns t WHERE t.lane = c.lane AND t.settled_at IS NULL)
    + (SELECT count(*) FROM answers a WHERE a.lane = c.lane AND a.settled_at IS NULL AND a.id IS NOT c.nudge_id)
    + (SELECT count(*) FROM inbox_items i WHERE i.conversation_id = c.id AND i.resolved_at IS NULL),
    max(coalesce((SELECT max(m.received_at) FROM messages m WHERE m.conversation_id = c.id), 0),
        coalesce((SELECT max(x.finished_at) FROM answers a JOIN attempts x ON x.answer_id = a.id
            WHERE a.conversation_id = c.id AND x.state = 'accepted' AND a.author <> 'notice'), 0))
FROM conversations c WHERE c.id = new.conversation_id;
END;
CREATE TABLE played_nudges (answer BLOB, status TEXT, held_by TEXT, unturned INTEGER);
CREATE TRIGGER played_nudged AFTER INSERT ON attempts
BEGIN INSERT INTO played_nudges SELECT a.id, c.status, c.held_by,
    (SELECT count(*) FROM messages m WHERE m.lane = c.lane AND m.turn_id IS NULL AND m.outcome IS NULL)
FROM answers a JOIN conversations c ON c.nudge_id = a.id WHERE a.id = new.answer_id;
END;
CREATE TABLE played_attempts (author TEXT, held_by TEXT);
CREATE TRIGGER played_attempted AFTER INSERT ON attempts
BEGIN INSERT INTO played_attempts SELECT a.author, c.held_by
FROM answers a JOIN conversations c ON c.id = a.conversation_id WHERE a.id = new.answer_id;
END;
"""
"""How things stood in the very transaction that ended a conversation or began to send an answer or a nudge."""


class Disk:
    """The database file of this operating system process, emptied for every world."""

    def __init__(self, edits: Sequence[Edit] = ()) -> None:
        self.unit = ""
        """The unit of work that runs now."""
        self._edits = edits
        self._unmatched = set(edits)
        self._known: dict[tuple[str, str], str] = {}
        self.engine: Engine = sqlite_engine(make_url("sqlite://"), factory=self._editing() if edits else None)
        if edits:
            self._edit_what_sqlalchemy_runs()
        with self.engine.begin() as connection:
            metadata().create_all(connection)
            self.raw = _driver(connection)
        self.raw.executescript(_HISTORY + _ENDINGS)
        self._empty: sqlite3.Connection = sqlite_module().connect(":memory:")
        self.raw.backup(self._empty)

        gc.collect()
        gc.freeze()  # What lives as long as the process need not be looked through after every world.

    @property
    def unmatched(self) -> list[str]:
        """The edits that have changed no statement so far: they take nothing away."""
        return sorted(edit.pattern for edit in self._unmatched)

    def _edited(self, statement: str) -> str:
        known = self._known.get((statement, self.unit))
        if known is not None:
            return known
        edited = statement
        for edit in self._edits:
            before, edited = edited, edit.of(edited, self.unit)
            if edited != before:
                self._unmatched.discard(edit)
        self._known[statement, self.unit] = edited
        return edited

    def _editing(self) -> type[sqlite3.Connection]:
        """A connection that edits what prepared statements say to the driver."""
        disk = self

        class Editing(sqlite_module().Connection):  # type: ignore[misc]  # the module is chosen at run time
            def execute(self, statement: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
                cursor: sqlite3.Cursor = super().execute(disk._edited(statement), parameters)
                return cursor

        return Editing

    def _edit_what_sqlalchemy_runs(self) -> None:
        @event.listens_for(self.engine, "before_cursor_execute", retval=True)
        def edit(
            _connection: object, _cursor: object, statement: str, parameters: object, _context: object, _many: object
        ) -> tuple[str, object]:
            return self._edited(statement), parameters

    def wipe(self) -> None:
        self._empty.backup(self.raw)


@functools.cache
def disk() -> Disk:
    """The ordinary one."""
    return Disk()


def _driver(connection: Connection) -> sqlite3.Connection:
    raw: sqlite3.Connection | None = connection.connection.driver_connection
    assert raw is not None
    return raw


class Storage:
    """What all processes of one world share."""

    def __init__(self, world: World, disk: Disk) -> None:
        disk.wipe()
        self.world = world
        self.raw = disk.raw
        self._disk = disk
        self._writer = SqliteWriter(disk.engine)
        self._writer.on_commit(self._note_change)
        self._reader = disk.engine.connect()
        self._changed = False
        self.down = False
        self.listeners: list[Callable[[], None]] = []
        """Called after each commit that changed something."""

    @property
    def last_failure(self) -> str | None:
        return "the database cannot store now (played)" if self.down else None

    def commit(self, items: "list[Item[Any]]", name: str) -> bool:
        """One transaction; whether any row was changed."""
        groups = [items, []]
        self._changed = False
        self._disk.unit = name
        self._writer.run(lambda: groups.pop(0))
        self._disk.unit = ""
        if self._changed:
            for listener in list(self.listeners):
                listener()
        return self._changed

    def read(self, work: Callable[[UnitOfWork], T], owner: UUID | None) -> T:
        with self._reader.begin():
            return work(UnitOfWork(self._reader, owner))

    def write_apart(self, work: Callable[[UnitOfWork], T]) -> T:
        """What was stored before the world began."""
        with self._reader.begin():
            return work(UnitOfWork(self._reader))

    def look(self, question: str, *values: object) -> int | None:
        """A bare question, asked beside everybody's transactions."""
        row = self.raw.execute(question, values).fetchone()
        return None if row is None else row[0]

    def rows(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        return self.raw.execute(question, values).fetchall()

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    def _note_change(self) -> None:
        self._changed = True


class ProcessDatabase:
    """`Database` as one process sees it; its writes and results die with the process."""

    def __init__(self, storage: Storage, process: Process) -> None:
        self._storage = storage
        self._world = storage.world
        self._process = process
        self._listeners: list[Callable[[], None]] = []
        self._waiting: dict[object, list[Item[Any]]] = {}

    @property
    def url(self) -> str:
        return "sqlite://"

    @property
    def last_failure(self) -> str | None:
        return self._storage.last_failure

    async def write(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None, urgent: bool = False) -> T:  # noqa: ARG002
        item, future = self._item(lambda uow, _: (work(uow),), None, owner)
        self._world.loop.call_later(self._latency(), self._commit, [item], _name(work))
        result: T = await future
        return result

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        await asyncio.sleep(self._world.chance.random() * 0.001)
        try:
            return self._storage.read(work, owner)
        except DBAPIError as error:
            raise StorageUnavailable(str(error)) from error

    def batched(
        self,
        work: Callable[[UnitOfWork, Sequence[I]], Sequence[O]],
        *,
        refusable: bool = False,  # noqa: ARG002
    ) -> Callable[[I], Awaitable[O]]:
        def submit(value: I) -> Awaitable[O]:
            item, future = self._item(work, value, None, shared=True)
            line = self._waiting.setdefault(work, [])
            line.append(item)
            if len(line) == 1:
                self._world.loop.call_later(self._latency(), self._flush, work)
            return future

        return submit

    def write_from_thread(self, work: Callable[[UnitOfWork], T]) -> "Future[T]":
        """The caller blocks its thread, so the loop is not asked."""
        future: Future[T] = Future()
        self._store([Item(lambda uow, _: (work(uow),), None, None, False, ThreadReply(future), 0.0)], _name(work))
        return future

    def on_commit(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    async def close(self) -> None:
        """It belongs to the world."""

    def _item(
        self,
        work: Callable[[UnitOfWork, Sequence[I]], Sequence[Any]],
        value: I,
        owner: UUID | None,
        *,
        shared: bool = False,
    ) -> "tuple[Item[I], asyncio.Future[Any]]":
        reply = LoopReply(self._world.loop, self._world.loop.create_future())
        return Item(work, value, owner, shared, reply, 0.0), reply.future

    def _latency(self) -> float:
        if self._world.happens("slow commit"):
            return self._world.chance.uniform(0.1, 4.0)
        return 0.0005 + self._world.chance.random() * 0.01

    def _flush(self, work: object) -> None:
        self._commit(self._waiting.pop(work), _name(work))

    def _commit(self, items: "list[Item[Any]]", name: str) -> None:
        world = self._world
        if world.happens("kill before a commit"):
            self._process.kill()
        elif self._store(items, name):
            if world.happens("kill after a commit"):
                self._process.kill()
            elif world.happens("stands still after a commit"):
                world.suspend(self._process, world.chance.choice((5.0, 35.0, 60.0, 400.0)))

    def _store(self, items: "list[Item[Any]]", name: str) -> bool:
        """Whether any row was changed."""
        if self._storage.down:
            for item in items:
                item.error = StorageUnavailable("the database cannot store now (played); nothing was stored")
                item.resolve()
            return False
        changed = self._storage.commit(items, name)
        if changed:
            self._world.trace(f"commit {name}" + (f" x{len(items)}" if len(items) > 1 else ""))
            for listener in self._listeners:
                listener()
        return changed


def _name(work: object) -> str:
    """A unit of work's name as a reader of the code knows it."""
    inner = work
    while hasattr(inner, "func"):
        inner = inner.func
    return str(getattr(inner, "__qualname__", type(inner).__name__)).replace(".<locals>", "").replace(".<lambda>", "")
