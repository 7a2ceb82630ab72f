"""Orphans are listed and assigned."""

import asyncio
from dataclasses import replace
from uuid import UUID

from recado.channels.models import SignedOrphan
from recado.channels.repository import Orphans
from recado.core.database.sqlite.database import SqliteDatabase
from tests.conftest import NOON
from tests.entrypoints.cli.conftest import NOBODYS, ORPHAN_SID, TOKEN, Recado
from tests.entrypoints.cli.numbers.test_numbers import add


class TestOrphans:
    def test_are_listed_without_what_they_say(self, recado: Recado) -> None:
        [orphan] = recado.many("orphans", "list")
        assert (orphan["message_sid"], orphan["to"]) == (ORPHAN_SID, NOBODYS)
        assert str(orphan["received_at"]).endswith("+00:00")
        assert ORPHAN_SID in recado.says("orphans", "list")

    def test_are_all_listed_for_programs_and_counted_for_people(self, recado: Recado) -> None:
        """Some thousand of one moment, as a number that was never added brings."""
        asyncio.run(_nobodys(recado, 1_200))
        sids = [str(orphan["message_sid"]) for orphan in recado.many("orphans", "list")]
        assert (len(sids), len(set(sids)), sids[-1]) == (1_201, 1_201, ORPHAN_SID)
        shown = recado.says("orphans", "list")
        assert sids[999] in shown
        assert sids[1_000] not in shown
        assert "These are the oldest 1,000 of 1,201; --json lists them all." in shown

    def test_are_assigned_once_their_number_is_there(self, recado: Recado, owner: str) -> None:
        assign = ["orphans", "assign", ORPHAN_SID, "--owner", owner]
        assert "add the number first" in recado.refuses(*assign)
        recado.one(*add(owner, NOBODYS), T=TOKEN)
        assert recado.one(*assign) == {"message_sid": ORPHAN_SID, "owner_id": owner}
        assert recado.many("orphans", "list") == []
        assert recado.one("queue", "stats")["waiting"] == 1
        assert "was assigned before" in recado.refuses(*assign)

    def test_an_unknown_one_gets_a_sentence(self, recado: Recado, owner: str) -> None:
        sentence = recado.refuses("orphans", "assign", "SM1", "--owner", owner)
        assert sentence == "Error: there is no orphan SM1; `recado orphans list` shows them\n"


async def _nobodys(recado: Recado, count: int) -> None:
    """Orphans of one moment long ago."""
    database = SqliteDatabase(recado.environment["RECADO_DATABASE_URL"])
    [first] = await database.read(lambda uow: Orphans(uow).waiting(), owner=None)
    found = [
        replace(first.orphan, id=UUID(int=n), provider_message_id=f"SM{n:032x}", received_at=NOON)
        for n in range(1, count + 1)
    ]
    await database.write(lambda uow: Orphans(uow).add_new([SignedOrphan(each, ()) for each in found]), owner=None)
    await database.close()
