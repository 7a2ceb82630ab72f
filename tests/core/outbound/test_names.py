"""Names that owners chose: one that is not answered delays no other."""

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from recado.core.outbound.names import MOST_OF_A_DOMAIN, MOST_WAITING, THREADS, Names, NamesBusy, domain_of
from tests.support.patience import PATIENCE


class NameServer:
    """Answers every name with one address; those that begin with `hang` only when it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked: list[str] = []

    def look_up(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        if name.startswith("hang"):
            self.let_go.wait(PATIENCE)
        return () if name.startswith("none") else ("192.0.2.1",)


@pytest.fixture
def server() -> NameServer:
    return NameServer()


@pytest.fixture
def names(server: NameServer) -> Iterator[Names]:
    names = Names(server.look_up)
    yield names
    server.let_go.set()
    names.close()


def hanging(names: Names, count: int, domain: str = "evil.example") -> list["asyncio.Task[Sequence[str]]"]:
    return [asyncio.create_task(names.addresses(f"hang{number}.{domain}")) for number in range(count)]


async def test_a_name_has_addresses_or_none(names: Names) -> None:
    assert await names.addresses("crm.example") == ("192.0.2.1",)
    assert await names.addresses("none.example") == ()


async def test_names_that_hang_leave_those_of_other_domains_alone(names: Names) -> None:
    asks = hanging(names, MOST_OF_A_DOMAIN + 5)
    await asyncio.sleep(0)
    assert await asyncio.wait_for(names.addresses("crm.example"), PATIENCE) == ("192.0.2.1",)
    assert not any(ask.done() for ask in asks)


async def test_names_that_hang_leave_the_loops_own_threads_alone(names: Names, server: NameServer) -> None:
    for domain in range(THREADS):
        hanging(names, MOST_OF_A_DOMAIN, f"evil{domain}.example")
    await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), PATIENCE) == "done"
    assert not server.let_go.is_set()


async def test_those_of_a_domain_come_one_after_the_other(names: Names, server: NameServer) -> None:
    asks = hanging(names, MOST_OF_A_DOMAIN)
    late = asyncio.create_task(names.addresses("crm.evil.example"))
    await asyncio.sleep(0)
    server.let_go.set()
    assert await asyncio.wait_for(asyncio.gather(*asks, late), PATIENCE) == [("192.0.2.1",)] * (MOST_OF_A_DOMAIN + 1)


async def test_only_so_many_of_a_domain_wait(names: Names) -> None:
    asks = hanging(names, MOST_OF_A_DOMAIN + MOST_WAITING)
    await asyncio.sleep(0)
    with pytest.raises(NamesBusy):
        await names.addresses("crm.evil.example")
    assert not any(ask.done() for ask in asks)


async def test_many_who_ask_for_a_name_are_one_lookup(names: Names, server: NameServer) -> None:
    asks = [asyncio.create_task(names.addresses("hang.example")) for _ in range(50)]
    await asyncio.sleep(0)
    asks[0].cancel()
    await asyncio.sleep(0)
    server.let_go.set()
    assert await asyncio.wait_for(asyncio.gather(*asks[1:]), PATIENCE) == [("192.0.2.1",)] * 49
    assert server.asked == ["hang.example"]


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("a.b.padaria.example", "padaria.example"),
        ("Padaria.example.", "padaria.example"),
        ("a.padaria.com.br", "padaria.com.br"),
        ("padaria.com.br", "padaria.com.br"),
        ("a.padaria.br", "padaria.br"),
        ("localhost", "localhost"),
    ],
)
def test_a_domain_has_one_owner(name: str, domain: str) -> None:
    assert domain_of(name) == domain
