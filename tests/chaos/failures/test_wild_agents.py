"""Whatever an agent does to its process costs its own customer one apology, and nobody else an answer."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recado.agents.registry import GROUP
from tests.chaos.failures.wild import WORD
from tests.support.processes import BAKERY, Road, Shop, customer

APOLOGY = "Desculpe, estou indisponível no momento"
NEIGHBOURS = 6
WILD = {
    "segfaults": "Segfaults",
    "eats-memory": "EatsMemory",
    "blocks-its-loop": "BlocksItsLoop",
    "ignores-cancellation": "IgnoresCancellation",
    "takes-all-its-time": "TakesAllItsTime",
}


def install(directory: Path) -> None:
    """Make `wild.py` an installed distribution: its agents come in by entry points, as anybody's would."""
    shutil.copy(Path(__file__).with_name("wild.py"), directory)
    info = directory / "wild-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wild\nVersion: 1\n")
    entries = "".join(f"{name} = wild:{factory}\n" for name, factory in WILD.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}")


@contextmanager
def road_of(directory: Path, agent: str) -> Iterator[Road]:
    install(directory)
    shop = Shop(BAKERY.name, BAKERY.number, BAKERY.account_sid, BAKERY.token, agent=agent)
    with Road.open(directory, shop, max_attempts=2, agent_timeout_seconds=2) as road:
        road.serve()
        yield road


@pytest.mark.slow
@pytest.mark.parametrize("agent", WILD)
def test_costs_one_apology_and_no_neighbour(tmp_path: Path, agent: str) -> None:
    with road_of(tmp_path, agent) as road:
        wild = customer(0)
        said = {customer(n): f"oi {n}" for n in range(1, NEIGHBOURS + 1)}
        for who, text in {wild: WORD, **said}.items():
            road.emulator.send(who, BAKERY.number, text)
        worked(road, accepted=NEIGHBOURS + 1)
        heard = Counter((each.to, each.body) for each in road.answers())
        assert heard == Counter([(wild, APOLOGY), *((who, f"well: {text}") for who, text in said.items())])
        assert road.verified().outcomes == {"answered": NEIGHBOURS, "apologised": 1}
        assert len(road.ask(lambda container: container.queue().dead())) == 1


def worked(road: Road, accepted: int) -> None:
    """Keep a worker running, as an init system would, until all is quiet."""
    for _ in range(10):
        if road.worker(drain=True).ends() == 0:
            break
    road.quiet(accepted=accepted)
