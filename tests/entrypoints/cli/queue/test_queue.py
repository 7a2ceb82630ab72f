import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from recado.conversation.replying.jobs import REPLY
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.ids import Ids
from recado.core.queue.job import NewJob
from recado.core.queue.storage import enqueue, lanes
from recado.entrypoints.cli.output import Progress
from recado.entrypoints.cli.queue.queue import _retry_all
from recado.entrypoints.cli.running import operator_name
from recado.operations.dead_letters.service import DeadLetterService
from tests.conftest import NOON
from tests.contracts.queue import QueueHarness
from tests.entrypoints.cli.conftest import NOBODY, Recado
from tests.support.lanes import lane_named
from tests.support.servers.brokers import RedisServer
from tests.support.servers.ports import reserved_port

GONE = "its messages belong to a newer turn"
LATER = "a later message of the same customer was answered; --force answers this one all the same"


@pytest.fixture
def dead(recado: Recado) -> list[str]:
    """Ana's dead letter, which a later answer has overtaken, and Bruno's."""
    return [str(letter["id"]) for letter in recado.many("queue", "dead")]


def test_counts_waiting_running_and_dead_jobs(recado: Recado) -> None:
    assert recado.one("queue", "stats") == {"waiting": 0, "running": 0, "dead": 2, "oldest_due_seconds": 0.0}
    assert recado.says("queue", "stats").splitlines()[1].split() == ["0", "0", "2", "0", "s"]


def test_lists_dead_letters_with_their_reason(recado: Recado, dead: list[str]) -> None:
    letters = recado.many("queue", "dead")
    assert [set(letter) for letter in letters] == [{"id", "name", "message_sid", "attempts", "error"}] * 2
    assert {letter["name"] for letter in letters} == {"conversation.reply"}
    shown = recado.says("queue", "dead")
    assert f"{dead[0]}  conversation.reply" in shown
    assert "the model is on fire" in shown


class TestRetry:
    def test_starts_a_dead_letter_again(self, recado: Recado, dead: list[str]) -> None:
        ended = recado.one("queue", "retry", dead[1])
        assert ended["refused"] == []
        assert [letter["id"] for letter in recado.many("queue", "dead")] == dead[:1]
        assert recado.one("queue", "stats")["waiting"] == 1

    def test_one_that_is_refused_fails_with_the_reason(self, recado: Recado, dead: list[str]) -> None:
        ended = recado("queue", "retry", dead[0], "--json")
        assert ended.exit_code == 1
        [refused] = json.loads(ended.stdout)["refused"]
        assert ended.stderr == f"Error: {dead[0]} was not retried: {refused['why']}\n"

    def test_force_overrides_a_later_answer(self, recado: Recado, dead: list[str]) -> None:
        assert "1 dead letter will be retried" in recado.says("queue", "retry", dead[0], "--force")

    def test_all_reports_refusals_and_succeeds(self, recado: Recado, dead: list[str]) -> None:
        shown = recado.says("queue", "retry", "--all")
        assert "1 dead letter will be retried" in shown
        assert dead[0] in shown
        assert dead[1] not in shown

    def test_all_of_none_is_fine(self, recado: Recado, dead: list[str]) -> None:
        for letter in dead:
            recado.one("queue", "discard", letter)
        assert recado.one("queue", "retry", "--all") == {"retried": [], "refused": []}
        assert recado.says("queue", "retry", "--all") == "There are no dead letters.\n"

    @pytest.mark.parametrize("words", [[], [NOBODY, "--all"]])
    def test_needs_either_an_id_or_all(self, recado: Recado, words: list[str]) -> None:
        assert "name one dead letter by its id, or all" in recado.refuses("queue", "retry", *words)

    def test_an_unknown_one_gets_a_sentence(self, recado: Recado) -> None:
        assert f"there is no job {NOBODY}" in recado.refuses("queue", "retry", NOBODY)


class TestWhoDidIt:
    def test_stands_at_the_dead_letter_and_in_the_audit(self, recado: Recado, owner: str, dead: list[str]) -> None:
        recado.one("queue", "retry", dead[1])
        recado.one("queue", "discard", dead[0])
        entries = recado.many("audit", "list", "--owner", owner)
        found = {each["action"]: each["actor_name"] for each in entries if each["object_kind"] == "job"}
        assert found == dict.fromkeys(("dead_letter.retried", "dead_letter.discarded"), f"cli:{operator_name()}")
        assert asyncio.run(names_at(recado, dead)) == [f"cli:{operator_name()}"] * 2


async def names_at(recado: Recado, letters: Sequence[str]) -> list[object]:
    database = SqliteDatabase(recado.environment["RECADO_DATABASE_URL"])
    read = text("SELECT handled_by FROM message_queue_view WHERE id = :id")
    rows = await database.read(lambda uow: [uow.first(read, {"id": each}) for each in letters], owner=None)
    await database.close()
    return [row["handled_by"] for row in rows if row is not None]


class TestRetryOfVeryMany:
    @pytest.fixture
    def many(self, recado: Recado, dead: list[str]) -> list[str]:  # noqa: ARG002 - read before there are so many
        """1,200 that cannot be retried, older than those of Ana and Bruno."""
        ids = [UUID(int=n) for n in range(1, 1_201)]
        asyncio.run(_given_up(recado, ids))
        return [str(each) for each in ids]

    def test_reaches_those_behind_them(self, recado: Recado, many: list[str], dead: list[str]) -> None:
        ended = recado.one("queue", "retry", "--all")
        assert ended["refused"] == [{"id": each, "why": GONE} for each in many] + [{"id": dead[0], "why": LATER}]
        assert [letter["id"] for letter in listed(ended["retried"])] == dead[1:]

    def test_shows_a_person_some_and_counts_the_rest(self, recado: Recado, many: list[str]) -> None:
        shown = recado.says("queue", "retry", "--all")
        assert "1 dead letter will be retried" in shown
        assert (many[19] in shown, many[20] in shown) == (True, False)
        assert f"… and 1,180 more: {GONE}\n" in shown

    def test_are_all_listed_for_programs_and_counted_for_people(
        self, recado: Recado, many: list[str], dead: list[str]
    ) -> None:
        assert [letter["id"] for letter in recado.many("queue", "dead")] == many + dead
        assert "These are the oldest 1,000 of 1,202; --json lists them all." in recado.says("queue", "dead")


class TestRetryThatIsInterrupted:
    async def test_reports_exactly_what_is_stored(self, database: Database, clock: FrozenClock, ids: Ids) -> None:
        harness = QueueHarness(database, clock, ids)
        letters = await harness.gives_up(*"abcdefgh")
        loop, left = asyncio.get_running_loop(), [3]

        def third() -> None:
            left[0] -= 1
            if not left[0]:
                loop.call_soon_threadsafe(retrying.cancel)

        harness.handler.on_replay = third
        service = DeadLetterService(database, clock, ids, harness.queue)
        retrying = asyncio.ensure_future(_retry_all(service, len(letters), force=False))
        ended = await retrying

        stored = {str(job.id) for job in await harness.queue.dead()}
        assert (ended.stopped, ended.status) == ("interrupted", 130)
        assert stored == {str(each) for each in letters} - {str(each["id"]) for each in ended.retried}
        assert len(ended.retried) >= 3


def test_progress_is_shown_every_few_seconds(clock: FrozenClock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(clock)
    for number in range(8):
        progress(f"{number} of 8")
        clock.advance(timedelta(seconds=1))
    assert capsys.readouterr() == ("", "2 of 8\n4 of 8\n6 of 8\n")


async def _given_up(recado: Recado, ids: Sequence[UUID]) -> None:
    database = SqliteDatabase(recado.environment["RECADO_DATABASE_URL"])
    new = [NewJob(id_, REPLY, UUID(int=1), NOON, NOON, lane_named(f"{id_.int}")) for id_ in ids]
    await database.write(lambda uow: enqueue.add(lanes.hold_for(uow, new), new), owner=None)
    ended = text("UPDATE message_queue SET status = 'dead' WHERE status = 'waiting'")
    await database.write(lambda uow: uow.execute(ended).close(), owner=None)
    await database.close()


def listed(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


class TestMove:
    def test_publishes_wake_ups_of_waiting_jobs_to_another_backend(
        self, recado: Recado, dead: list[str], redis_server: RedisServer
    ) -> None:
        recado.one("queue", "retry", dead[1])
        there = {"RECADO_REDIS_URL": redis_server.url, "RECADO_QUEUE_NAME": "moved"}
        asyncio.run(dispatched_before(recado))

        assert recado.one("queue", "move", "--to", "bullmq", **there) == {
            "before": "sqlite",
            "after": "bullmq",
            "republished": 1,
        }
        assert recado.one("queue", "move", "--to", "sqlite", **there)["republished"] == 0
        assert "RECADO_QUEUE_BACKEND=bullmq" in recado.says("queue", "move", "--to", "bullmq", **there)

    def test_a_broker_that_is_not_there_changes_nothing(self, recado: Recado) -> None:
        nowhere = f"redis://127.0.0.1:{reserved_port()}/0"
        assert "RECADO_REDIS_URL" in recado.refuses(
            "queue", "move", "--to", "bullmq", status=2, RECADO_REDIS_URL=nowhere
        )

    def test_a_backend_of_another_database_is_refused(self, recado: Recado) -> None:
        assert "--to must be one of sqlite, bullmq, sqs" in recado.refuses("queue", "move", "--to", "postgres")

    def test_a_broker_without_its_settings_is_refused(self, recado: Recado) -> None:
        assert "RECADO_SQS_QUEUE_URL is not set" in recado.refuses("queue", "move", "--to", "sqs", status=2)


async def dispatched_before(recado: Recado) -> None:
    """Mark all waiting jobs as dispatched."""
    database = SqliteDatabase(recado.environment["RECADO_DATABASE_URL"])
    mark = text("UPDATE message_queue SET dispatched_at = 1, dispatches = 1 WHERE status = 'waiting'")
    await database.write(lambda uow: uow.execute(mark).close(), owner=None)
    await database.close()


class TestDiscard:
    def test_takes_a_dead_letter_off_the_list(self, recado: Recado, dead: list[str]) -> None:
        assert recado.one("queue", "discard", dead[0]) == {"id": dead[0], "discarded": True}
        assert [letter["id"] for letter in recado.many("queue", "dead")] == dead[1:]

    def test_an_unknown_one_gets_a_sentence(self, recado: Recado) -> None:
        assert f"there is no job {NOBODY}" in recado.refuses("queue", "discard", NOBODY)
