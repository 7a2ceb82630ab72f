"""The times of slots, also on local clocks that change twice a year."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput
from recado.core.queue.schedules import At, Schedule, every
from recado.core.queue.storage import schedules

ON_BOTH_DATABASES = True

NEW_YORK = "America/New_York"
SAO_PAULO = "America/Sao_Paulo"


def moment(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone(UTC)


def slots(at: At, begins: str, ends: str) -> list[str]:
    """Return every slot of a span, in UTC, by asking at each minute."""
    now, end = moment(begins), moment(ends)
    found: dict[datetime, None] = {}
    while now <= end:
        if (slot := at.latest(now)) >= moment(begins):
            found[slot] = None
        now += timedelta(minutes=1)
    return [f"{slot:%d %H:%M}" for slot in found]


class TestACronExpression:
    @pytest.mark.parametrize(
        ("expression", "zone", "now", "latest", "following"),
        [
            ("0 3 * * *", "UTC", "2026-05-04T03:00:00+00:00", "2026-05-04T03:00:00", "2026-05-05T03:00:00"),
            ("0 3 * * *", "UTC", "2026-05-04T02:59:59.999999+00:00", "2026-05-03T03:00:00", "2026-05-04T03:00:00"),
            ("0 3 * * *", SAO_PAULO, "2026-05-04T05:59:59+00:00", "2026-05-03T06:00:00", "2026-05-04T06:00:00"),
            ("*/10 * * * *", SAO_PAULO, "2026-05-04T05:59:59+00:00", "2026-05-04T05:50:00", "2026-05-04T06:00:00"),
            ("30 8 * * MON-FRI", SAO_PAULO, "2026-05-03T12:00:00+00:00", "2026-05-01T11:30:00", "2026-05-04T11:30:00"),
            ("0 0 29 2 *", "UTC", "2026-05-04T00:00:00+00:00", "2024-02-29T00:00:00", "2028-02-29T00:00:00"),
        ],
    )
    def test_is_read_on_the_walls_of_its_time_zone(
        self, expression: str, zone: str, now: str, latest: str, following: str
    ) -> None:
        at = At(expression, zone)
        found = (at.latest(moment(now)), at.following(moment(now)))
        assert found == (moment(f"{latest}+00:00"), moment(f"{following}+00:00"))

    @pytest.mark.parametrize(
        ("expression", "zone", "begins", "ends", "expected"),
        [
            # The clocks of New York go from 02:00 to 03:00 (07:00 UTC), and in autumn from 02:00 to 01:00 (06:00 UTC).
            ("30 2 * * *", NEW_YORK, "2026-03-08T00:00-05:00", "2026-03-08T08:00-04:00", ["08 07:00"]),
            ("*/20 2 * * *", NEW_YORK, "2026-03-08T00:00-05:00", "2026-03-08T08:00-04:00", ["08 07:00"]),
            ("30 2,3 * * *", NEW_YORK, "2026-03-08T00:00-05:00", "2026-03-08T08:00-04:00", ["08 07:00", "08 07:30"]),
            ("30 1 * * *", NEW_YORK, "2026-11-01T00:00-04:00", "2026-11-01T08:00-05:00", ["01 05:30"]),
            ("*/30 1 * * *", NEW_YORK, "2026-11-01T00:00-04:00", "2026-11-01T08:00-05:00", ["01 05:00", "01 05:30"]),
            ("0 1,2 * * *", NEW_YORK, "2026-11-01T00:00-04:00", "2026-11-01T08:00-05:00", ["01 05:00", "01 07:00"]),
            # In São Paulo midnight itself was left out.
            ("0 0 * * *", SAO_PAULO, "2018-11-03T12:00-03:00", "2018-11-04T12:00-02:00", ["04 03:00"]),
            # Lord Howe moves its clocks by half an hour.
            ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04T00:00+10:30", "2026-10-04T08:00+11:00", ["03 15:30"]),
            # What comes every hour follows the hours that pass.
            ("30 * * * *", NEW_YORK, "2026-11-01T00:45-04:00", "2026-11-01T01:45-05:00", ["01 05:30", "01 06:30"]),
            ("30 * * * *", NEW_YORK, "2026-03-08T00:45-05:00", "2026-03-08T03:45-04:00", ["08 06:30", "08 07:30"]),
        ],
    )  # fmt: skip
    def test_comes_once_when_an_hour_is_left_out_and_once_when_it_comes_twice(
        self, expression: str, zone: str, begins: str, ends: str, expected: list[str]
    ) -> None:
        assert slots(At(expression, zone), begins, ends) == expected

    def test_has_each_moment_between_two_of_its_slots(self) -> None:
        """The latest and the following slot agree, at any moment of three years, in any zone."""
        order = random.Random(5)  # noqa: S311 - chance that repeats
        zones = ("UTC", NEW_YORK, SAO_PAULO, "Australia/Lord_Howe", "Antarctica/Troll", "Asia/Kathmandu")
        for _ in range(400):
            minute, hour = (
                order.choice(("*", "*/7", "0", "30", "5,50")),
                order.choice(("*", "1", "2", "*/2", "0-3", "0")),
            )
            at = At(f"{minute} {hour} {order.choice(('*', '*', '29'))} * *", order.choice(zones))
            now = datetime(2026, order.choice((3, 4, 10, 11)), 1, tzinfo=UTC) + timedelta(
                seconds=order.randrange(30 * 86_400), microseconds=order.randrange(3)
            )
            latest, following = at.latest(now), at.following(now)
            assert latest <= now < following
            assert at.following(latest) == following, (at, now)
            assert at.latest(following) == following, (at, now)
            assert at.latest(following - timedelta(microseconds=1)) == latest, (at, now)

    @pytest.mark.parametrize(
        ("expression", "zone", "why"),
        [
            ("* * * *", "UTC", "five fields"),
            ("0 0 3 * * *", "UTC", "five fields"),
            ("@daily", "UTC", "five fields"),
            ("0 25 * * *", "UTC", "bad hour"),
            ("0 3 31 2 *", "UTC", "bad day-of-month"),
            ("oi tudo bem com você", "UTC", "bad minute"),
            ("0 3 * * *", "America/Padaria", "no time zone"),
            ("0 3 * * *", "../../etc/passwd", "no time zone"),
            ("0 3 * * *", "", "no time zone"),
        ],
    )
    def test_that_makes_no_sense_is_refused_in_a_sentence(self, expression: str, zone: str, why: str) -> None:
        with pytest.raises(InvalidInput, match=why):
            At(expression, zone)


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (every(30), "every 30 s"),
        (every(90), "every 90 s"),
        (every(300), "every 5 min"),
        (every(3600), "every 1 h"),
        (every(86_400), "every 1 d"),
        (At("0 3 * * *", SAO_PAULO), "0 3 * * *"),
    ],
)
def test_a_schedule_describes_its_times(when: timedelta | At, words: str) -> None:
    assert Schedule("sweep.prune", when).in_words() == words


class TestTheTable:
    OWN = (Schedule("nightly", At("0 3 * * *", SAO_PAULO)), Schedule("often", every(30)))

    async def stored(self, database: Database, own: tuple[Schedule, ...] = OWN) -> list[Schedule]:
        return await database.read(lambda uow: schedules.in_force(uow, own), owner=None)

    async def test_holds_this_releases_own_once_a_worker_has_read_it(self, database: Database) -> None:
        assert await database.read(lambda uow: schedules.differs_from_release(uow, self.OWN), owner=None)
        await database.write(lambda uow: schedules.update_own(uow, self.OWN), owner=None)
        assert not await database.read(lambda uow: schedules.differs_from_release(uow, self.OWN), owner=None)
        assert await self.stored(database) == list(self.OWN)

    async def test_follows_a_new_release_but_not_where_a_person_has_set_it(
        self, database: Database, clock: FrozenClock
    ) -> None:
        await database.write(lambda uow: schedules.update_own(uow, self.OWN), owner=None)
        mine = Schedule("often", every(300), enabled=False)
        await database.write(lambda uow: schedules.put(uow, mine, clock.now()), owner=None)
        newer = (Schedule("nightly", every(60)), Schedule("often", every(10)))
        kept = Schedule("often", every(300), enabled=False, set_at=clock.now())
        assert await database.write(lambda uow: schedules.update_own(uow, newer), owner=None) == [newer[0], kept]
        assert await self.stored(database, newer) == [newer[0], kept]

    async def test_that_somebody_has_spoiled_leaves_the_others_in_force(self, database: Database) -> None:
        await database.write(lambda uow: schedules.update_own(uow, self.OWN), owner=None)
        spoil = text("UPDATE schedules SET cron = 'never', set_at = NULL WHERE name = 'nightly'")
        await database.write(lambda uow: uow.execute(spoil).close(), owner=None)
        assert await self.stored(database) == list(self.OWN)
