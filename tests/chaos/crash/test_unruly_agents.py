"""Agents that raise or kill: one apology to whom it concerns, nothing to anybody else, and a way back."""

import re
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.support.patience import PATIENCE
from tests.support.processes import BAKERY, FLORIST, Road, Shop, customer
from tests.support.unruly import MENDED, NEIGHBOURS, POISON

pytestmark = pytest.mark.proof

APOLOGY = "Desculpe, estou indisponível no momento"
BROKEN = Shop(BAKERY.name, BAKERY.number, BAKERY.account_sid, BAKERY.token, agent="broken")
DEADLY = Shop(FLORIST.name, FLORIST.number, FLORIST.account_sid, FLORIST.token, agent="deadly")


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    with Road.open(tmp_path_factory.mktemp("unruly"), BROKEN, DEADLY, max_attempts=2) as road:
        road.serve()
        yield road


def test_a_poison_message_costs_its_neighbours_a_delay_and_no_apology(road: Road) -> None:
    neighbours = {customer(n): f"oi {n}" for n in range(NEIGHBOURS)}
    sender = customer(NEIGHBOURS)
    for who, text in {**neighbours, sender: POISON}.items():
        road.emulator.send(who, DEADLY.number, text)
    road.worker().dies()

    road.worker()

    road.quiet(accepted=NEIGHBOURS + 1, seconds=3 * PATIENCE)
    heard = Counter((each.to, each.body) for each in road.answers())
    assert heard == Counter([(sender, APOLOGY), *((who, f"alone: {text}") for who, text in neighbours.items())])
    assert [error for _, error in _dead_letters(road)] == ["it killed its own process 2 times (signal 9)"]
    assert road.verified().outcomes == {"answered": NEIGHBOURS, "apologised": 1}


def test_an_agent_that_always_raises_apologises_once_and_its_dead_letter_can_be_retried(road: Road) -> None:
    before, ana = road.accepted(), customer(100)
    road.emulator.send(ana, BROKEN.number, "oi")
    road.quiet(accepted=before + 1)
    assert road.answers_to(ana) == [APOLOGY]
    [(dead, error)] = [each for each in _dead_letters(road) if "RuntimeError" in each[1]]
    assert re.fullmatch(r"the agent raised RuntimeError \(unruly\.py:\d+\)", error)
    road.verified()

    (road.directory / MENDED).touch()
    assert "1" in road.command("queue", "retry", str(dead))

    assert road.answers_to(ana, count=2) == [APOLOGY, "mended: oi"]
    road.quiet(accepted=before + 1)
    assert road.rows("SELECT before, after, because FROM outcome_changes") == [("apologised", "answered", "replay")]
    assert dead not in dict(_dead_letters(road))
    road.verified()


def _dead_letters(road: Road) -> list[tuple[UUID, str]]:
    return [(job.id, job.last_error or "") for job in road.ask(lambda container: container.queue().dead())]
