"""After a purge a scan of SQLite's files finds nothing of the organisation, and everything of the others."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path

from sqlalchemy import make_url

from recado.agents.knowledge.service import KnowledgeService
from recado.bootstrap import metadata
from recado.conversation.values import Address
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.ids import system_chance
from recado.core.queue.job import Done, RetryIn
from recado.core.queue.service import QueueService
from recado.identity.principal import Principal
from recado.operations.organizations.purge import CLOSED_FOR, WAIT, OwnerPurge
from recado.operations.organizations.remains import Remains
from tests.operations.test_organizations import CANARY, closed_for, neighbour, runs, tables_naming
from tests.world import LEASE, World


class TestTheFileAfterAPurge:
    async def test_has_no_byte_of_its_words_addresses_ids_and_keys(self, world: World, purge: OwnerPurge) -> None:
        """Not even in pages and indexes that its rows have left in everyday life, long before they were deleted."""
        sealed = (await world.rows("SELECT data_key_sealed FROM owners"))[0]["data_key_sealed"]
        other = await neighbour(world)
        await live_everyday(world, other)
        path = Path(str(make_url(world.database.url).database))
        traces = [world.owner_id.bytes, str(world.owner_id).encode(), world.owner_id.hex.encode(), bytes(sealed)]
        traces += [word.encode() for word in ("zebrafone", "ornitorrinco", "canario", CANARY, "+551198887")]
        assert [trace for trace in traces if trace not in all_bytes(path)] == []
        before = await tables_naming(world.database, other.owner_id)
        await closed_for(world, CLOSED_FOR)
        await purge.order(world.operator)
        assert await runs(world, purge) == [Done()]
        assert [trace for trace in traces if trace in all_bytes(path)] == []
        assert await tables_naming(world.database, other.owner_id) == before
        assert await knowledge_hits(world, other, "sequilhos") == 1
        await world.database.close()
        assert [trace for trace in traces if trace in all_bytes(path)] == []

    async def test_that_others_read_all_the_time_is_tried_again(self, world: World) -> None:
        impatient = Remains(world.database, lock_seconds=0.05)
        purge = OwnerPurge(world.database, world.clock, world.ids, metadata, impatient)
        await closed_for(world, CLOSED_FOR)
        await purge.order(world.operator)
        path = str(make_url(world.database.url).database)
        with closing(sqlite_module().connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM owners").fetchone()
            queue = QueueService(world.database, world.clock, world.ids, system_chance(), (purge,), lease=LEASE)
            world.clock.advance(timedelta(minutes=1))
            [claim] = await queue.claim(1, max_isolated=1)
            result = await purge.run(claim)
        assert isinstance(result, RetryIn)
        assert (result.counts, result.delay) == (False, WAIT)
        await queue.finish(claim, result)
        assert await runs(world, purge) == [Done()]


async def live_everyday(world: World, other: Principal) -> None:
    """What makes pages split and indexes grow: customers of both, changes of rows, documents that come and go."""
    knowledge = KnowledgeService(world.database, world.clock, world.ids)
    for number in range(30):
        await world.says(
            f"{CANARY} zebrafone ornitorrinco {'zebrafone' * (number % 7)}", Address(f"whatsapp:+551198887{number:04}")
        )
        text = f"# Zebrafone {number}\n\nO ornitorrinco canário {number} come sequilhos."
        await knowledge.add(world.operator, f"cardapio-{number % 3}.md", text.encode())
    await knowledge.add(other, "cardapio.md", b"# Sequilhos\n\nTemos sequilhos.")


async def knowledge_hits(world: World, principal: Principal, words: str) -> int:
    found = KnowledgeService(world.database, world.clock, world.ids)
    return len(await found.search(principal.owner_id, words, 5))


def all_bytes(path: Path) -> bytes:
    """Everything that lies in the database's files."""
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))
