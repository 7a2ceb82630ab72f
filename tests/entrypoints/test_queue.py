import asyncio
import json

import pytest
from sqlalchemy import text

from recado.core.database.sqlite import SqliteDatabase
from tests.brokers import RedisServer
from tests.ports import reserved_port

from .conftest import Recado
from .test_org import NOBODY


@pytest.fixture
def dead(recado: Recado) -> list[str]:
    """Ana's dead letter, which a later answer has overtaken, and Bruno's."""
    return [str(letter["id"]) for letter in recado.many("queue", "dead")]


def test_counts_what_waits_runs_and_was_given_up(recado: Recado) -> None:
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
        assert "1 dead letter started again" in recado.says("queue", "retry", dead[0], "--force")

    def test_all_says_what_it_refused_and_succeeds(self, recado: Recado, dead: list[str]) -> None:
        shown = recado.says("queue", "retry", "--all")
        assert "1 dead letter started again" in shown
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


class TestMove:
    def test_lets_another_backend_ring_for_what_waits(
        self, recado: Recado, dead: list[str], redis_server: RedisServer
    ) -> None:
        recado.one("queue", "retry", dead[1])
        there = {"RECADO_REDIS_URL": redis_server.url, "RECADO_QUEUE_NAME": "moved"}
        asyncio.run(rung_for(recado))

        assert recado.one("queue", "move", "--to", "bullmq", **there) == {
            "before": "sqlite",
            "after": "bullmq",
            "rung_anew": 1,
        }
        assert recado.one("queue", "move", "--to", "sqlite", **there)["rung_anew"] == 0
        assert "RECADO_QUEUE_BACKEND=bullmq" in recado.says("queue", "move", "--to", "bullmq", **there)

    def test_a_broker_that_is_not_there_changes_nothing(self, recado: Recado) -> None:
        nowhere = f"redis://127.0.0.1:{reserved_port()}/0"
        assert "RECADO_REDIS_URL" in recado.refuses(
            "queue", "move", "--to", "bullmq", status=2, RECADO_REDIS_URL=nowhere
        )

    def test_a_bell_of_another_database_is_refused(self, recado: Recado) -> None:
        assert "--to must be one of sqlite, bullmq, sqs" in recado.refuses("queue", "move", "--to", "postgres")

    def test_a_broker_without_its_settings_is_refused(self, recado: Recado) -> None:
        assert "RECADO_SQS_QUEUE_URL is not set" in recado.refuses("queue", "move", "--to", "sqs", status=2)


async def rung_for(recado: Recado) -> None:
    """As if a broker had been rung for everything that waits."""
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
