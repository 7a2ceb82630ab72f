import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from recado.channels.models import SignedOrphan
from recado.channels.repository import Orphans
from recado.core.database.sqlite import SqliteDatabase
from recado.emulator.app import running
from recado.emulator.settings import EmulatorSettings, Number
from tests.conftest import NOON
from tests.entrypoints.conftest import NOBODYS, ORPHAN_SID, TOKEN, Recado
from tests.entrypoints.test_org import NOBODY
from tests.world import ACCOUNT

ADDRESS = "whatsapp:+55 (11) 98888-7777"


@pytest.fixture(scope="module")
def twilio() -> Iterator[str]:
    number = Number("whatsapp:+5511988887777", ACCOUNT.value)
    with running(EmulatorSettings(accounts={ACCOUNT.value: TOKEN}, numbers=(number,))) as url:
        yield url


@pytest.fixture
def other(recado: Recado) -> str:
    """Another organisation."""
    words = ["org", "register", "--name", "L", "--email", "d@l.example", "--password-env", "PW"]
    return str(recado.one(*words, PW="cavalo correto bateria")["owner_id"])


def add(owner: str, address: str = ADDRESS, *, account: str = ACCOUNT.value) -> list[str]:
    return ["numbers", "add", "--owner", owner, "--account-sid", account, "--auth-token-env", "T", "--address", address]


class TestAdd:
    def test_gives_the_id_under_which_it_is_listed(self, recado: Recado, owner: str) -> None:
        added = recado.one(*add(owner), T=TOKEN)
        listed = {number["address_id"]: number for number in recado.many("numbers", "list", "--owner", owner)}
        assert listed[added["address_id"]] == {
            **added,
            "address": "whatsapp:+5511988887777",
            "account_sid": ACCOUNT.value,
            "problem": None,
        }

    @pytest.mark.parametrize(
        ("address", "account", "sentence"),
        [
            ("padaria", ACCOUNT.value, "'padaria' is not a phone number"),
            (ADDRESS, "AC1", "'AC1' is not an account SID"),
        ],
    )
    def test_what_is_no_number_or_account_gets_a_sentence(
        self, recado: Recado, owner: str, address: str, account: str, sentence: str
    ) -> None:
        assert sentence in recado.refuses(*add(owner, address, account=account), T=TOKEN)

    def test_needs_the_token_in_a_variable(self, recado: Recado, owner: str) -> None:
        assert "T, which --auth-token-env names, is not set" in recado.refuses(*add(owner))

    def test_a_number_has_one_owner(self, recado: Recado, our_number: str, other: str) -> None:
        assert "belongs to another owner" in recado.refuses(*add(other, our_number), T=TOKEN)

    def test_an_unknown_owner_gets_a_sentence(self, recado: Recado) -> None:
        assert recado.refuses(*add(NOBODY), T=TOKEN) == f"Error: there is no owner {NOBODY}\n"


class TestAnAccountOfTwoOwners:
    """Each is believed by its own token, and one of them may be made up."""

    def test_is_warned_of(self, recado: Recado, other: str) -> None:
        ended = recado(*add(other, "+5511988885555"), "--json", T="made up")
        [warning] = json.loads(ended.stdout)["warnings"]
        assert warning.startswith(f"another organisation has account {ACCOUNT} too")
        assert (ended.exit_code, ended.stderr) == (0, f"Warning: {warning}\n")


class TestCheck:
    def test_right_credentials_are_stored(self, recado: Recado, owner: str, twilio: str) -> None:
        assert "is ready" in recado.says(*add(owner), "--check", T=TOKEN, RECADO_TWILIO_API_URL=twilio)

    def test_wrong_ones_are_not(self, recado: Recado, owner: str, twilio: str) -> None:
        sentence = recado.refuses(*add(owner), "--check", T="another", RECADO_TWILIO_API_URL=twilio)
        assert sentence == f"Error: Twilio does not accept this auth token for {ACCOUNT}; nothing was stored\n"
        assert len(recado.many("numbers", "list", "--owner", owner)) == 1

    def test_a_number_of_somebody_else_is_not(self, recado: Recado, owner: str, twilio: str) -> None:
        other = "whatsapp:+5511988886666"
        sentence = recado.refuses(*add(owner, other), "--check", T=TOKEN, RECADO_TWILIO_API_URL=twilio)
        assert sentence == f"Error: {other} is no WhatsApp sender of account {ACCOUNT} at Twilio; nothing was stored\n"

    def test_what_twilio_does_not_say_is_told_beside_the_answer(self, recado: Recado, owner: str) -> None:
        with running(EmulatorSettings(accounts={ACCOUNT.value: TOKEN})) as url:
            ended = recado(*add(owner), "--check", "--json", T=TOKEN, RECADO_TWILIO_API_URL=url)
        [warning] = json.loads(ended.stdout)["warnings"]
        assert "the auth token was confirmed, but not that" in warning
        assert ended.stderr == f"Warning: {warning}\n"

    def test_nobody_there_gets_a_sentence(self, recado: Recado, owner: str) -> None:
        sentence = recado.refuses(*add(owner), "--check", T=TOKEN, RECADO_TWILIO_API_URL="http://127.0.0.1:1")
        assert "Twilio could not be asked at http://127.0.0.1:1" in sentence


class TestList:
    def test_fits_on_a_terminal(self, recado: Recado, owner: str, our_number: str) -> None:
        shown = recado.says("numbers", "list", "--owner", owner)
        assert our_number in shown
        assert max(len(line) for line in shown.splitlines()) <= 80

    def test_a_key_that_does_not_fit_is_told_beside_the_number(self, recado: Recado, owner: str) -> None:
        [number] = recado.many("numbers", "list", "--owner", owner, RECADO_SECRET_KEY="B" * 42 + "A")
        assert "RECADO_SECRET_KEY is not the key that sealed it" in str(number["problem"])


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
        replace(first.orphan, id=UUID(int=n), message_sid=f"SM{n:032x}", received_at=NOON) for n in range(1, count + 1)
    ]
    await database.write(lambda uow: Orphans(uow).add_new([SignedOrphan(each, ()) for each in found]), owner=None)
    await database.close()
