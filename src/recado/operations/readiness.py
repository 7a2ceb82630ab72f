"""Readiness of this process, for probes that ask every second.

A server is ready when it can read the database, knows its schema, can open an owner's keys, and when its last write was
stored. A full disk or a changed key would turn every webhook into a 503 while reads still work, so each is tried.

A probe answers within two seconds, whatever the database does. Its reads and writes continue after the answer and are
shared: at any time there is at most one read, one trial write and one request to the broker.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import structlog

from recado.core.clock import Clock
from recado.core.database.engine import Database, on_postgresql
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import DomainError
from recado.core.queue.wakeups.contract import Broker, BrokerState
from recado.identity.keys import KeyRing
from recado.operations.keys import key_problem
from recado.operations.storage.readiness import read_only_problem, schema_revision, trial_write

log = structlog.get_logger(__name__)

T = TypeVar("T")

ANSWER_SECONDS: Final = 1.5
"""A probe waits this long for the database. It promises an answer within two seconds."""
WRITE_VALID_SECONDS: Final = 5.0
"""A successful write counts this long. After that a probe tries one."""
TRIAL_SECONDS: Final = 1.0
"""At most one trial write is made in this time."""
BROKER_SECONDS: Final = 0.5
"""A probe waits this long for the broker."""
REMEMBER_SECONDS: Final = 5.0
"""The state of the broker is reused this long."""
UNREACHABLE_SECONDS: Final = 6.0
"""A broker that does not answer for this long counts as unreachable. The first call also imports and connects."""

SchemaProblem = Callable[[str | None], str | None]
"""Returns why this release cannot use a revision (None: no revision is stored), or None when it can."""


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """The state of the broker as this process knows it. `reachable` is None until it has answered."""

    name: str
    reachable: bool | None
    warnings: tuple[str, ...] = ()
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadinessState:
    """Why this process is not ready (None when it is), and the state of the broker (None without one)."""

    why: str | None
    broker: BrokerStatus | None = None


class SharedCall(Generic[T]):
    """A slow call shared by many callers. One runs at a time, and it continues when its callers stop waiting."""

    def __init__(self, ask: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._asking: asyncio.Task[T] | None = None
        self._since = 0.0

    async def within(self, seconds: float) -> T:
        """Return the result of the call. Raises `TimeoutError` after `seconds`, and the errors of the call."""
        asking = self.begin()
        await asyncio.wait({asking}, timeout=seconds)
        if not asking.done():
            raise TimeoutError
        return asking.result()

    def begin(self) -> "asyncio.Task[T]":
        """Return the running call, or start one."""
        if self._asking is None or self._asking.done():
            self._since = self._clock.monotonic()
            self._asking = asyncio.ensure_future(self._asked())
            self._asking.add_done_callback(_retrieve_exception)
        return self._asking

    @property
    def under_way(self) -> bool:
        return self._asking is not None and not self._asking.done()

    @property
    def under_way_for(self) -> float:
        """Seconds since the present call started."""
        return self._clock.monotonic() - self._since

    async def _asked(self) -> T:
        return await self._ask()

    def forget(self) -> None:
        """Cancel the running call."""
        if self._asking is not None:
            self._asking.cancel()


def _retrieve_exception(call: "asyncio.Task[T]") -> None:
    """Read the error of a call whose callers are all gone, so that asyncio does not log it."""
    if not call.cancelled():
        call.exception()


class Readiness:
    """Checks whether this process is ready."""

    def __init__(
        self,
        database: Database,
        key_ring: KeyRing,
        clock: Clock,
        broker: "BrokerMonitor",
        schema_problem: SchemaProblem,
        *,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._database = database
        self._key_ring = key_ring
        self._clock = clock
        self._broker = broker
        self._schema_problem = schema_problem
        self._timeout_seconds = answer_seconds
        self._reading = SharedCall(self._read, clock)
        self._writing = SharedCall(self._try, clock)
        self._stored_at: float | None = None
        self._next_trial_at = clock.monotonic()
        self._trial_failure: str | None = None
        database.on_commit(self._count_write)

    def start(self) -> None:
        """Ask the broker before the first probe: the import of its client takes longer than a probe may wait."""
        self._broker.start()

    async def check(self) -> ReadinessState:
        """Return the state within two seconds. Never raises."""
        read, write, broker = await asyncio.gather(self._reads(), self._writes(), self._broker.state())
        return ReadinessState(read or write, broker)

    async def close(self) -> None:
        """Cancel running checks and close the broker."""
        self._reading.forget()
        self._writing.forget()
        await self._broker.close()

    # --- Reading ------------------------------------------------------------------------------------------------------

    async def _reads(self) -> str | None:
        return await self._within_deadline(self._reading, "the database did not answer within {seconds:g} s")

    async def _read(self) -> str | None:
        return await self._database.read(self._check_database, owner=None)

    def _check_database(self, uow: UnitOfWork) -> str | None:
        wrong_schema = self._schema_problem(schema_revision(uow))
        return wrong_schema or self._read_only(uow) or key_problem(uow, self._key_ring)

    def _read_only(self, uow: UnitOfWork) -> str | None:
        return read_only_problem(uow) if on_postgresql(self._database.url) else None

    # --- Writing ------------------------------------------------------------------------------------------------------

    async def _writes(self) -> str | None:
        """Return why writes fail, or None. A write is tried when the last one failed, is old or was never made."""
        if self._writes_recently_succeeded():
            return None
        if not self._writing.under_way:
            if self._clock.monotonic() < self._next_trial_at:
                return self._trial_failure or self._database.last_failure
            self._next_trial_at = self._clock.monotonic() + TRIAL_SECONDS
        self._trial_failure = await self._within_deadline(self._writing, "no write was stored within {seconds:g} s")
        return self._trial_failure

    def _writes_recently_succeeded(self) -> bool:
        stored_at = self._stored_at
        fresh = stored_at is not None and self._clock.monotonic() - stored_at < WRITE_VALID_SECONDS
        return fresh and self._database.last_failure is None

    async def _try(self) -> None:
        now = self._clock.now()
        await self._database.write(lambda uow: trial_write(uow, now), owner=None, urgent=True)

    def _count_write(self) -> None:
        """Note a commit. Called from the writer's thread."""
        self._stored_at = self._clock.monotonic()

    # --- Both ---------------------------------------------------------------------------------------------------------

    async def _within_deadline(self, call: "SharedCall[str | None] | SharedCall[None]", late: str) -> str | None:
        try:
            return await call.within(self._timeout_seconds)
        except TimeoutError:
            return late.format(seconds=self._timeout_seconds)
        except DomainError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a probe gets an answer whatever a driver raises
            # No traceback, because probes come every second.
            log.warning("readiness.failed", error=type(error).__name__, why=_first_line(error))
            return f"the database cannot be used: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


# --- The broker -------------------------------------------------------------------------------------------------------


class BrokerMonitor:
    """Asks the broker for its state from time to time, once for all callers.

    A server without its broker still receives and stores messages, so a broken broker is reported but never makes a
    server unready: a load balancer that removed the server would turn slow answers into lost webhooks. A broker that
    has not answered *yet* is not reported as unreachable.
    """

    def __init__(self, name: str, broker: Callable[[], Broker | None], clock: Clock) -> None:
        self._name = name
        self._broker = broker
        self._clock = clock
        self._asking = SharedCall(self._ask, clock)
        self._known: BrokerStatus | None = None
        self._until = 0.0

    def start(self) -> None:
        """Send the first request if there is a broker. Called on the event loop."""
        if self._broker() is not None:
            self._asking.begin()

    async def state(self) -> BrokerStatus | None:
        """Return the state of some seconds ago at most, or None when the database wakes workers by itself."""
        if self._broker() is None:
            return None
        if self._known is None or self._clock.monotonic() >= self._until:
            try:
                await self._asking.within(BROKER_SECONDS)
            except TimeoutError:
                self._known = self._not_answered()
        return self._known

    async def close(self) -> None:
        """Close the broker."""
        self._asking.forget()
        broker = self._broker()
        if broker is not None:
            await broker.close()

    def _not_answered(self) -> BrokerStatus:
        """Return the previous state while a request runs, and unreachable when it runs for too long."""
        if self._asking.under_way_for >= UNREACHABLE_SECONDS:
            return BrokerStatus(self._name, False, (f"It did not answer within {UNREACHABLE_SECONDS:g} s.",))
        return self._known or BrokerStatus(self._name, None, ("It has not answered yet.",))

    async def _ask(self) -> None:
        broker = self._broker()
        assert broker is not None  # noqa: S101 - narrows the type: only called when there is a broker
        try:
            self._known = _status_of(await broker.state())
        except Exception as error:  # noqa: BLE001 - a broker's client may raise anything
            log.warning("readiness.broker_failed", error=type(error).__name__, why=_first_line(error))
            self._known = BrokerStatus(self._name, False, (f"Its state cannot be read: {_first_line(error)}.",))
        self._until = self._clock.monotonic() + REMEMBER_SECONDS


def _status_of(state: BrokerState) -> BrokerStatus:
    return BrokerStatus(state.name, state.reachable, tuple(state.warnings), dict(state.detail))
