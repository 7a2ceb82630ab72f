"""Gauges of the queue: depth, ages, and messages that wait for a person."""

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.operations.storage.gauges import Gauge, read_gauges


class Gauges:
    """Reads all gauges on one snapshot of the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(self) -> list[Gauge]:
        """Return every gauge. Raises `StorageUnavailable` and `Busy`."""
        now = self._clock.now()
        return await self._database.read(lambda uow: read_gauges(uow, now), owner=None)
