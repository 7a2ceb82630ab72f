"""A server without a worker, called as a serverless host's timer would: real processes, real HTTP."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from recado.bootstrap import SCHEDULES
from tests.support.patience import PATIENCE
from tests.support.processes import BAKERY, Road, Shop, customer, until

pytestmark = pytest.mark.proof

KEY = "k3y-of-the-timer"
PEOPLE = 8


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    with Road.open(tmp_path_factory.mktemp("ticks"), BAKERY, internal_api_key=KEY) as road:
        road.serve()
        yield road


def tick(road: Road, key: str = KEY) -> tuple[int, Mapping[str, float]]:
    with closing(HTTPConnection("127.0.0.1", road.port, timeout=PATIENCE)) as connection:
        connection.request("POST", "/internal/tick?seconds=20", headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_ten_parallel_ticks_answer_everybody_once_and_make_each_slot_once(road: Road) -> None:
    for n in range(PEOPLE):
        road.emulator.send(customer(n), BAKERY.number, f"oi {n}")

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: tick(road), range(10)))

    assert {status for status, _ in answers} == {200}, road.said
    road.quiet(accepted=PEOPLE)
    assert sorted(each.body for each in road.answers()) == [f"echo: oi {n}" for n in range(PEOPLE)]
    [slots] = road.rows("SELECT count(*), count(DISTINCT name || slot) FROM cron_slots")
    [(jobs,)] = road.rows(
        "SELECT count(*) FROM message_queue j JOIN lanes l ON l.lane = j.lane WHERE l.kind = 'schedule'"
    )
    made = sum(counts["slots_made"] for _, counts in answers)
    assert (jobs, slots) == (made, (made, made))
    assert made >= len(SCHEDULES)
    assert road.verified().outcomes == {"answered": PEOPLE}


def test_a_server_that_has_ticked_stops_when_it_is_told_to_and_says_no_secret(road: Road) -> None:
    assert tick(road, "another")[0] == 401

    assert road.api.stop() == 0
    assert KEY not in road.said
    assert "tick.done" in road.said


def test_a_server_with_an_agent_that_cannot_be_stopped_ends_all_the_same(tmp_path: Path) -> None:
    """Also when it is told twice. Python waits for the agent's thread, which never ends."""
    hanging = Shop(BAKERY.name, BAKERY.number, BAKERY.account_sid, BAKERY.token, agent="hanging")
    how = "leaves a thread behind"
    with Road.open(tmp_path, hanging, internal_api_key=KEY) as road, ThreadPoolExecutor(1) as timer:
        api = road.serve()
        road.emulator.send(customer(1), hanging.number, how)
        ticking = timer.submit(tick, road)
        until((tmp_path / f"{how}.mark").exists, said=lambda: road.said)

        api.tell()
        api.tell()

        assert api.ends() == 0, api.said
        assert "process.left_late" in api.said
        assert isinstance(ticking.exception(PATIENCE), OSError | HTTPException)
