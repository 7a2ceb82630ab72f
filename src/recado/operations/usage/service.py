"""Count what owners use, by a schedule, and tell it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from itertools import groupby
from typing import Final, Literal, TypeAlias
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import STEP
from recado.core.errors import InvalidInput
from recado.operations.usage import repository
from recado.operations.usage.repository import UsageDay, UsageDays

Period: TypeAlias = Literal["day", "month"]

MOST_DAYS: Final = 400
"""Of one question, and of one run of the schedule."""


@dataclass(frozen=True, slots=True)
class UsageSum:
    """What an owner used on a day (`2026-03-14`) or in a month (`2026-03`) of UTC."""

    period: str
    messages_received: int
    messages_sent: int
    agent_runs: int
    input_tokens: int
    output_tokens: int


class UsageService:
    """Counts messages, runs and tokens."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def count(self) -> int:
        """Count the days since the last time, that one and the day before it again. Return the number of days.

        A part of an answer may be found accepted some time after it was sent.
        """
        last, today = await self._database.read(repository.last_day, owner=None), self._clock.now().date()
        if last is None:
            return 0
        first = min(last, today) - timedelta(days=1)
        days = [first + timedelta(days=number) for number in range(min((today - first).days + 1, MOST_DAYS))]
        for day in days:
            found = await self._database.read(partial(repository.counted, day=day), owner=None)
            for start in range(0, len(found), STEP):
                step = found[start : start + STEP]
                await self._database.write(partial(repository.store, found=step), owner=None)
        return len(days)

    async def used(self, owner_id: UUID, since: date, until: date, by: Period) -> Sequence[UsageSum]:
        """Return what an owner used from one day to another, the oldest first. Raises `InvalidInput`."""
        if not 0 <= (until - since).days < MOST_DAYS:
            raise InvalidInput(f"the days must be in order, and at most {MOST_DAYS}")
        days = await self._database.read(lambda uow: UsageDays(uow).between(since, until), owner=owner_id)
        length = {"day": 10, "month": 7}[by]
        return [_sum(period, list(each)) for period, each in groupby(days, lambda found: found.day[:length])]

    def today(self) -> date:
        """Return the day of UTC."""
        return self._clock.now().date()


def _sum(period: str, days: Sequence[UsageDay]) -> UsageSum:
    return UsageSum(
        period,
        sum(each.messages_received for each in days),
        sum(each.messages_sent for each in days),
        sum(each.agent_runs for each in days),
        sum(each.input_tokens for each in days),
        sum(each.output_tokens for each in days),
    )
