"""Writes that wait, and the futures for their results: of an event loop or of a thread.

Items of the same shared function that wait together are taken together, so that they share one commit.
"""

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import structlog

from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, StorageUnavailable

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output

log = structlog.get_logger(__name__)

BATCH_ITEMS: Final = 256
INBOX_ITEMS: Final = 2_000
INBOX_SECONDS: Final = 2.0
MAX_REST_WAIT_SECONDS: Final = 0.1
"""How long other writes wait while urgent ones go first: a flood of webhooks must not starve them."""


@dataclass(slots=True)
class LoopReply:
    """A future of an event loop; resolved in that loop only (see `resolve_all`)."""

    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"


@dataclass(slots=True)
class ThreadReply:
    """A future of a thread without an event loop."""

    future: "Future[Any]"


@dataclass(slots=True)
class Item(Generic[I]):
    """One input of one function, waiting to be written."""

    work: Callable[[UnitOfWork, Sequence[I]], Sequence[object]]
    value: I
    owner: UUID | None
    shared: bool
    reply: LoopReply | ThreadReply
    since: float
    refusable: bool = False
    """The sender sends it again when it is not stored."""
    result: object = None
    error: BaseException | None = None

    @property
    def withdrawn(self) -> bool:
        """Whether the caller has stopped waiting, so that the item need not be written.

        Only a caller ends the future early.
        """
        return self.refusable and self.reply.future.done()

    def resolve(self) -> None:
        """Set the result or the error on the future, unless the caller has stopped waiting."""
        if self.reply.future.done():
            return
        if self.error is None:
            self.reply.future.set_result(self.result)
        else:
            self.reply.future.set_exception(self.error)


class Inbox:
    """Two queues: accept, claim and finish go before other writes, but not for ever.

    Filled from event loops, emptied by writers' threads.
    """

    def __init__(self) -> None:
        self._urgent: deque[Item[Any]] = deque()
        self._rest: deque[Item[Any]] = deque()
        self._condition = threading.Condition()
        self._closed = False
        self._rest_went_first = False

    # --- Putting in ---------------------------------------------------------------------------------------------------

    def submit(
        self,
        work: Callable[[UnitOfWork, Sequence[I]], Sequence[Any]],
        value: I,
        owner: UUID | None,
        *,
        urgent: bool,
        shared: bool,
        refusable: bool = False,
    ) -> "asyncio.Future[Any]":
        """Add an item from an event loop; raises `StorageUnavailable` once closed."""
        loop = asyncio.get_running_loop()
        reply = LoopReply(loop, loop.create_future())
        self.put(Item(work, value, owner, shared, reply, time.monotonic(), refusable), urgent=urgent)
        return reply.future

    def submit_from_thread(self, work: Callable[[UnitOfWork], T]) -> "Future[T]":
        """Add an urgent item from a thread of ours."""
        future: Future[T] = Future()
        item = Item(lambda uow, _: (work(uow),), None, None, False, ThreadReply(future), time.monotonic())
        self.put(item, urgent=True)
        return future

    def put(self, item: "Item[Any]", *, urgent: bool) -> None:
        """Add an item behind the others; raises `StorageUnavailable` once closed."""
        with self._condition:
            self.check_open()
            (self._urgent if urgent else self._rest).append(item)
            self._condition.notify()

    def refuse_when_full(self) -> None:
        """Raise `Busy` when too many writes wait.

        For webhooks only: they are sent again, while a worker's results are not.
        """
        with self._condition:
            waiting = [queue[0].since for queue in (self._urgent, self._rest) if queue]
            late = bool(waiting) and time.monotonic() - min(waiting) > INBOX_SECONDS
            if late or len(self._urgent) + len(self._rest) >= INBOX_ITEMS:
                raise Busy("too many writes are waiting for the database; try again")

    # --- Taking out ---------------------------------------------------------------------------------------------------

    def take(self) -> "list[Item[Any]]":
        """Return the items of the next transaction: one, or several of the same shared function.

        A refusable item whose caller has stopped waiting is left out: the sender was told so and sends it again. A
        worker's results are stored even if the worker is being stopped.
        """
        with self._condition:
            while queue := self._next_queue():
                group = [queue.popleft()]
                if group[0].shared:
                    while queue and len(group) < BATCH_ITEMS and queue[0].work is group[0].work:
                        group.append(queue.popleft())
                if wanted := [item for item in group if not item.withdrawn]:
                    return wanted
            return []

    def fail_older(self, seconds: float, error: BaseException) -> None:
        """Fail every item that has waited for `seconds`, after a write failed for as long, instead of trying each."""
        late: list[Item[Any]] = []
        with self._condition:
            for queue in (self._urgent, self._rest):
                while queue and time.monotonic() - queue[0].since >= seconds:
                    late.append(queue.popleft())
        for item in late:
            item.error = error
        resolve_all(late)

    def _next_queue(self) -> "deque[Item[Any]]":
        """Return the urgent queue, but every other time the rest once it has waited too long."""
        late = bool(self._rest) and time.monotonic() - self._rest[0].since > MAX_REST_WAIT_SECONDS
        self._rest_went_first = late and not self._rest_went_first
        return self._rest if self._rest_went_first else self._urgent or self._rest

    def wait(self) -> bool:
        """Wait for an item; return False when none is left and none can come any more."""
        with self._condition:
            while not (self._urgent or self._rest or self._closed):
                self._condition.wait()
            return bool(self._urgent or self._rest)

    def close(self) -> None:
        """Accept no more items; those that wait are still written."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def check_open(self) -> None:
        """Raise `StorageUnavailable` once closed."""
        if self._closed:
            raise StorageUnavailable("the database is being closed")


class LastWrite:
    """The result of the last write of a process; set by its writers' threads, read by anyone."""

    def __init__(self) -> None:
        self.failure: str | None = None

    def stored(self) -> None:
        self.failure = None

    def failed(self, why: BaseException) -> None:
        self.failure = str(why)


class DatabaseWithInbox:
    """A database whose writes go through an inbox. Its writers are started with the first write."""

    def __init__(self) -> None:
        self._inbox = Inbox()
        self._last_write = LastWrite()

    @property
    def last_failure(self) -> str | None:
        return self._last_write.failure

    def _start(self) -> None:
        """Start the writers unless they run."""
        raise NotImplementedError

    async def write(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None, urgent: bool = False) -> T:
        self._start()
        here = contextvars.copy_context()  # Log lines of the writer's thread carry the caller's trace.
        result: T = await self._inbox.submit(
            lambda uow, _: (here.run(work, uow),), None, owner, urgent=urgent, shared=False
        )
        return result

    def batched(
        self, work: Callable[[UnitOfWork, Sequence[I]], Sequence[O]], *, refusable: bool = False
    ) -> Callable[[I], Awaitable[O]]:
        def submit(value: I) -> Awaitable[O]:
            if refusable:
                self._inbox.refuse_when_full()
            self._start()
            return self._inbox.submit(work, value, None, urgent=True, shared=True, refusable=refusable)

        return submit

    def write_from_thread(self, work: Callable[[UnitOfWork], T]) -> "Future[T]":
        self._start()
        return self._inbox.submit_from_thread(work)


def resolve_all(items: "Sequence[Item[Any]]") -> None:
    """Resolve futures, with one call into each event loop however many of its items are done."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Item[Any]]] = {}
    for item in items:
        if isinstance(item.reply, LoopReply):
            by_loop.setdefault(item.reply.loop, []).append(item)
        else:
            item.resolve()
    for loop, items_of_loop in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve_each, items_of_loop)
        except RuntimeError:  # The loop was closed while its write was under way.
            log.info("database.caller_gone", items=len(items_of_loop))


def _resolve_each(items: "Sequence[Item[Any]]") -> None:
    for item in items:
        item.resolve()


def call_listeners(listeners: Sequence[Callable[[], None]]) -> None:
    """Call listeners after a commit. An error of one is logged and must not stop the writer."""
    for listener in listeners:
        try:
            listener()
        except Exception:
            log.exception("database.listener_failed")
