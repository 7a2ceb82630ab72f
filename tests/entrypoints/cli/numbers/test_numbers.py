import json
from collections.abc import Iterator

import pytest

from recado.emulator.app import running
from recado.emulator.settings import EmulatorSettings, Number
from tests.entrypoints.cli.conftest import NOBODY, TOKEN, Recado
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
        listed = {number["number_id"]: number for number in recado.many("numbers", "list", "--owner", owner)}
        assert listed[added["number_id"]] == {
            "number_id": added["address_id"],
            "address": "whatsapp:+5511988887777",
            "account_ref": ACCOUNT.value,
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
    """Webhooks are accepted with the token of either owner, and one token may be wrong."""

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

    def test_what_twilio_does_not_confirm_is_a_warning(self, recado: Recado, owner: str) -> None:
        with running(EmulatorSettings(accounts={ACCOUNT.value: TOKEN})) as url:
            ended = recado(*add(owner), "--check", "--json", T=TOKEN, RECADO_TWILIO_API_URL=url)
        [warning] = json.loads(ended.stdout)["warnings"]
        assert "the auth token was confirmed, but not that" in warning
        assert ended.stderr == f"Warning: {warning}\n"

    def test_an_address_without_a_server_gets_a_sentence(self, recado: Recado, owner: str) -> None:
        sentence = recado.refuses(*add(owner), "--check", T=TOKEN, RECADO_TWILIO_API_URL="http://127.0.0.1:1")
        assert "Twilio could not be asked at http://127.0.0.1:1" in sentence


class TestCheckOfAStoredNumber:
    def test_asks_twilio_for_the_number_with_the_stored_token(self, recado: Recado, owner: str, twilio: str) -> None:
        added = recado.one(*add(owner), T=TOKEN)
        words = ("numbers", "check", "--owner", owner, ADDRESS)
        assert recado.one(*words, RECADO_TWILIO_API_URL=twilio) == {
            "number_id": added["number_id"],
            "address": "whatsapp:+5511988887777",
            "warning": None,
        }

    def test_of_a_number_that_twilio_denies_fails(self, recado: Recado, owner: str, twilio: str) -> None:
        recado.one(*add(owner), T="another")
        sentence = recado.refuses("numbers", "check", "--owner", owner, ADDRESS, RECADO_TWILIO_API_URL=twilio)
        assert sentence == f"Error: Twilio does not accept this auth token for {ACCOUNT}\n"

    def test_of_nobody_s_number_says_so(self, recado: Recado, owner: str) -> None:
        assert "is no number of this owner's" in recado.refuses("numbers", "check", "--owner", owner, "+5511988885555")


class TestRemove:
    def test_takes_it_off_the_list(self, recado: Recado, owner: str, our_number: str) -> None:
        assert "is removed" in recado.says("numbers", "remove", "--owner", owner, our_number)
        assert recado.many("numbers", "list", "--owner", owner) == []

    def test_of_nobody_s_number_says_so(self, recado: Recado, other: str, our_number: str) -> None:
        assert "is no number of this owner's" in recado.refuses("numbers", "remove", "--owner", other, our_number)


class TestList:
    def test_fits_on_a_terminal(self, recado: Recado, owner: str, our_number: str) -> None:
        shown = recado.says("numbers", "list", "--owner", owner)
        assert our_number in shown
        assert max(len(line) for line in shown.splitlines()) <= 80

    def test_a_token_that_does_not_fit_is_shown_once_under_the_table(self, recado: Recado, owner: str) -> None:
        recado.one(*add(owner), T=TOKEN)
        ended = recado("numbers", "list", "--owner", owner, RECADO_SECRET_KEY="B" * 42 + "A")
        assert ended.stderr.count("Warning: ") == ended.stderr.count("was sealed with another RECADO_SECRET_KEY") == 1
        assert "whatsapp:+5511988887777: " in ended.stderr
        assert "RECADO_SECRET_KEY" not in ended.stdout

    def test_a_token_that_does_not_fit_is_told_of_each_number(self, recado: Recado, owner: str) -> None:
        [number] = recado.many("numbers", "list", "--owner", owner, RECADO_SECRET_KEY="B" * 42 + "A")
        assert "was sealed with another RECADO_SECRET_KEY" in str(number["problem"])
