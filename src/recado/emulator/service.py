"""Run the store in real time: advance it when something is due, send what that causes, and notify waiting requests."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from recado.emulator.clock import Now, SidGenerator, chance_of, system_now
from recado.emulator.journal import Journal
from recado.emulator.settings import EmulatorSettings
from recado.emulator.store import Store
from recado.emulator.wire.courier import Courier

Found = TypeVar("Found")

# Changes come thousands of times a second under load. Waiting requests read them together, and events that are due
# within the same moment are handled together.
_MOMENT_SECONDS = 0.002


class Emulator:
    def __init__(self, settings: EmulatorSettings, now: Now = system_now) -> None:
        chance = chance_of(settings.seed)
        self.ids = SidGenerator(chance)
        self._now = now
        self._journal = Journal(settings.journal)
        self.store = Store(
            settings, now=now, ids=self.ids, chance=chance, journal=self._journal, changed=self._on_change
        )
        self.courier = Courier(self.store, self.ids)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._waiters = 0
        self._news = asyncio.Event()
        self._notify_planned = False

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_change()

    async def stop(self) -> None:
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
        await self.courier.close()
        self._journal.close()

    async def wait_until(self, read: Callable[[], Found], seconds: float) -> Found:
        """Return what `read` finds as soon as it finds something, or at the end of the time."""
        deadline = asyncio.get_running_loop().time() + seconds
        self._waiters += 1
        try:
            async with asyncio.timeout_at(deadline):
                while not (found := read()):
                    await self._news.wait()
                return found
        except TimeoutError:
            return read()
        finally:
            self._waiters -= 1

    def _on_change(self) -> None:
        if self._loop is None:
            return
        if self._waiters and not self._notify_planned:
            self._notify_planned = True
            self._loop.call_later(_MOMENT_SECONDS, self._notify)
        due = self.store.next_due()
        if due is None or (self._timer is not None and self._timer_due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_later(max(_MOMENT_SECONDS, due - self._now()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.courier.dispatch(self.store.advance())
        self._on_change()

    def _notify(self) -> None:
        self._notify_planned = False
        self._news.set()
        self._news = asyncio.Event()
