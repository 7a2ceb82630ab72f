import pytest

from recado.bootstrap import SCHEDULES
from tests.entrypoints.cli.conftest import Recado


class TestList:
    def test_shows_every_schedule_with_its_slots(self, recado: Recado) -> None:
        found = recado.many("cron", "list")
        assert [item["name"] for item in found] == [schedule.name for schedule in SCHEDULES]
        assert found[0] | {"next_slot": ""} == {
            "name": "sweep.turns",
            "when": "every 30 s",
            "time_zone": "UTC",
            "enabled": True,
            "last_slot": None,
            "next_slot": "",
        }
        assert all(item["next_slot"] for item in found)

    def test_shows_people_the_time_on_the_schedules_own_walls(self, recado: Recado) -> None:
        recado.says("cron", "set", "sweep.prune", "--at", "0 3 * * *", "--time-zone", "America/Sao_Paulo")
        told = recado.says("cron", "list")
        assert all(part in told for part in ("0 3 * * *", "America/Sao_Paulo", "03:00:00"))


class TestRun:
    def test_makes_a_job_now(self, recado: Recado) -> None:
        before = recado.one("queue", "stats")["waiting"]
        made = recado.one("cron", "run", "idle_conversations")
        assert made["name"] == "idle_conversations"
        assert made["job_id"]
        assert recado.one("queue", "stats")["waiting"] == int(str(before)) + 1

    def test_of_an_unknown_name_says_where_the_names_are(self, recado: Recado) -> None:
        sentence = recado.refuses("cron", "run", "padaria")
        assert sentence == "Error: there is no schedule 'padaria'; `recado cron list` shows them\n"


class TestSet:
    def test_changes_the_times(self, recado: Recado) -> None:
        words = ["--at", "30 8 * * MON-FRI", "--time-zone", "America/Sao_Paulo"]
        changed = recado.one("cron", "set", "sweep.prune", *words)
        assert (changed["when"], changed["time_zone"]) == ("30 8 * * MON-FRI", "America/Sao_Paulo")
        assert changed in recado.many("cron", "list")

    def test_turns_it_off_and_keeps_the_rest(self, recado: Recado) -> None:
        recado.says("cron", "set", "sweep.prune", "--every", 7200)
        changed = recado.one("cron", "set", "sweep.prune", "--off")
        assert (changed["when"], changed["enabled"], changed["next_slot"]) == ("every 2 h", False, None)
        assert recado.one("cron", "set", "sweep.prune", "--on")["enabled"] is True

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            ([], "there is nothing to change"),
            (["--at", "0 3 * * *", "--every", "30"], "not both"),
            (["--time-zone", "America/Sao_Paulo"], "give --at too"),
            (["--at", "0 3 * *"], "no cron expression of five fields"),
            (["--at", "0 3 31 2 *"], "bad day-of-month"),
            (["--at", "0 3 * * *", "--time-zone", "Marte"], "'Marte' is no time zone"),
            (["--every", "0"], "from 1 second to a year"),
            (["--on", "--off"], "not both"),
        ],
    )
    def test_of_invalid_values_is_refused(self, recado: Recado, words: list[str], why: str) -> None:
        assert why in recado.refuses("cron", "set", "sweep.prune", *words)
