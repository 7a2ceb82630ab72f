"""Schedules of recurring jobs: at an interval, or by a cron expression in a time zone.

A cron expression is read on the local clock of its time zone, and each local time counts once. In the night when an
hour is skipped, a slot that falls into it is due at its end. In the night when an hour comes twice, its slots are due
the first time. An expression whose hours are `*` means every hour that passes, so it follows real time instead.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, TypeAlias

from recado.core.errors import InvalidInput

if TYPE_CHECKING:
    from cronsim import CronSim

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_FIELDS = 5
_LONGEST = 100


@dataclass(frozen=True, slots=True)
class At:
    """A five-field cron expression in a time zone. Raises `InvalidInput` for one that never matches."""

    expression: str
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        if len(self.expression.split()) != _FIELDS or len(self.expression) > _LONGEST:
            raise InvalidInput(f"{self.expression[:60]!r} is no cron expression of five fields, such as '0 3 * * *'")
        self.following(_SOME_DAY)

    def latest(self, now: datetime) -> datetime:
        """Return the latest slot, `now` included."""
        second, zone = timedelta(seconds=1), self._zone
        if self._follows_hours:
            return next(self._matching((now + second).astimezone(zone), back=True)).astimezone(
                UTC
            )  # Adding drops the fold.
        past = (
            _moment(wall, zone) for wall in self._matching(_latest_wall_time(now.astimezone(zone)) + second, back=True)
        )
        return next(moment for moment in past if moment <= now)

    def following(self, now: datetime) -> datetime:
        """Return the first slot after `now`. Raises `InvalidInput` when there is none."""
        here = now.astimezone(self._zone)
        try:
            if self._follows_hours:
                return next(self._matching(here)).astimezone(UTC)
            coming = (_moment(wall, self._zone) for wall in self._matching(here.replace(tzinfo=None)))
            return next(moment for moment in coming if moment > now)
        except (StopIteration, OverflowError):
            raise InvalidInput(f"{self.expression!r} never matches a time") from None

    @property
    def _zone(self) -> tzinfo:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            return ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidInput(
                f"{self.time_zone[:60]!r} is no time zone; they are written like America/Sao_Paulo or UTC"
            ) from None

    @property
    def _follows_hours(self) -> bool:
        return self.expression.split()[1] == "*"

    def _matching(self, start: datetime, *, back: bool = False) -> "CronSim":
        """Return the times that match the expression after (or before) a moment, which itself is not included."""
        from cronsim import CronSim, CronSimError

        try:
            return CronSim(self.expression, start.replace(microsecond=0), reverse=back)
        except CronSimError as error:
            raise InvalidInput(f"{self.expression!r} is no cron expression: {str(error).lower()}") from None

    def __str__(self) -> str:
        return self.expression


def _latest_wall_time(here: datetime) -> datetime:
    """Return the latest local time shown so far. In an hour that comes for the second time, that is its end."""
    offsets = [here.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1)]
    return here.replace(tzinfo=None, fold=0) + (offsets[0] - offsets[1] if here.fold else timedelta())


def _moment(wall: datetime, zone: tzinfo) -> datetime:
    """Return the first moment with a local time. For a time in a skipped hour, return the end of that hour."""
    while True:
        moment = wall.replace(tzinfo=zone).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == wall:
            return moment
        wall += timedelta(minutes=1)


When: TypeAlias = timedelta | At


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the jobs of one name are due. `set_at` is when a person last changed the schedule."""

    name: str
    when: When
    enabled: bool = True
    set_at: datetime | None = None

    @property
    def time_zone(self) -> str:
        return self.when.time_zone if isinstance(self.when, At) else "UTC"

    def slot(self, now: datetime) -> datetime:
        """Return the latest slot that is not in the future."""
        return self.when.latest(now) if isinstance(self.when, At) else now - (now - _EPOCH) % self.when

    def next_slot(self, now: datetime) -> datetime:
        """Return the first slot in the future."""
        return self.when.following(now) if isinstance(self.when, At) else self.slot(now) + self.when

    def in_words(self) -> str:
        """Return the schedule as people read it: `0 3 * * *`, or `every 30 s`."""
        if isinstance(self.when, At):
            return str(self.when)
        seconds = int(self.when.total_seconds())
        for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
            if seconds % size == 0:
                return f"every {seconds // size} {unit}"
        return f"every {seconds} s"


def every(seconds: int) -> timedelta:
    """Return an interval. Raises `InvalidInput` unless it is from one second to a year."""
    if not 1 <= seconds <= 366 * 86_400:
        raise InvalidInput("the interval must be from 1 second to a year")
    return timedelta(seconds=seconds)
