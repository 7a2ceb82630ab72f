"""Two owners, two workers, and customers who all write at once: nothing is doubled and nothing is mixed up."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.end_to_end.webhooks import Hook, lines
from tests.support.processes import BAKERY, FLORIST, Road, customer

pytestmark = pytest.mark.proof

MESSAGES, COPIES = 200, 50


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    with Road.open(tmp_path_factory.mktemp("traffic"), BAKERY, FLORIST) as road:
        road.worker()
        road.worker()
        road.serve()
        yield road


def test_fifty_identical_webhooks_at_once_make_one_row_and_one_answer(road: Road) -> None:
    hooks = {customer(n): Hook.of(road, BAKERY, customer(n), f"oi {n}") for n in range(MESSAGES)}

    statuses = asyncio.run(_storm(road, list(hooks.values())))

    assert statuses == Counter({200: MESSAGES * COPIES})
    road.quiet(accepted=MESSAGES)
    expected = Counter((who, f"echo: oi {n}") for n, who in enumerate(hooks))
    assert Counter((each.to, each.body) for each in road.answers()) == expected
    assert road.verified().outcomes == {"answered": MESSAGES}


async def _storm(road: Road, hooks: list[Hook]) -> Counter[int | None]:
    statuses = Counter[int | None]()
    async with lines(road, COPIES) as opened:
        for hook in hooks:
            statuses.update(await asyncio.gather(*[line.post(hook) for line in opened]))
    return statuses


def test_conversations_of_two_owners_never_mix(road: Road) -> None:
    """The same people write to both, in bursts that cross each other; every line comes back once, where it was said."""
    people = [customer(1000 + n) for n in range(8)]
    said = [(who, shop, f"{shop.name} {who} {n}") for n in range(3) for who in people for shop in (BAKERY, FLORIST)]

    before = road.accepted()
    for who, shop, text in said:
        road.emulator.send(who, shop.number, text)

    road.quiet(accepted=before + len(said))
    heard = Counter(
        (each.to, each.sender, line)
        for each in road.answers()
        if each.to in people
        for line in each.body.removeprefix("echo: ").split("\n")
    )
    assert heard == Counter((who, shop.number, text) for who, shop, text in said)
    assert road.verified().open == 0
