import asyncio
import unicodedata

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from recado.core.errors import Busy
from recado.identity.errors import PasswordRefused
from recado.identity.passwords import MOST_WAITING, PasswordCheck, Passwords, acceptable_password, common_passwords

GOOD = "pão de queijo às cinco"
RIGHT, WRONG = PasswordCheck(right=True), PasswordCheck(right=False)


async def test_the_right_password_is_right_and_any_other_is_not(passwords: Passwords) -> None:
    stored = await passwords.hash(GOOD)
    assert await passwords.verify(GOOD, stored) == RIGHT
    assert await passwords.verify(GOOD + "!", stored) == WRONG


async def test_the_same_password_is_never_stored_alike(passwords: Passwords) -> None:
    assert await passwords.hash(GOOD) != await passwords.hash(GOOD)


async def test_it_is_hashed_as_rfc_9106_advises() -> None:
    stored = extract_parameters(await Passwords().hash(GOOD))
    assert (stored.type, stored.memory_cost, stored.time_cost, stored.parallelism) == (Type.ID, 65_536, 3, 4)


async def test_a_letter_written_in_another_way_is_the_same_letter(passwords: Passwords) -> None:
    stored = await passwords.hash(unicodedata.normalize("NFD", GOOD))
    assert await passwords.verify(unicodedata.normalize("NFC", GOOD), stored) == RIGHT


async def test_a_hash_weaker_than_todays_is_renewed_at_sign_in(passwords: Passwords) -> None:
    weak = await passwords.hash(GOOD)
    stronger = Passwords(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    verdict = await stronger.verify(GOOD, weak)
    assert verdict.right
    assert verdict.new_hash is not None
    assert await stronger.verify(GOOD, verdict.new_hash) == RIGHT


async def test_a_wrong_password_renews_nothing(passwords: Passwords) -> None:
    weak = await passwords.hash(GOOD)
    assert await Passwords(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)).verify("x", weak) == WRONG


@pytest.mark.parametrize("stored", [None, "", "$argon2id$broken", "plain text"])
async def test_an_account_without_a_valid_hash_lets_nobody_in(passwords: Passwords, stored: str | None) -> None:
    assert await passwords.verify("nobody has this password", stored) == WRONG


async def test_an_endless_password_is_not_even_hashed(passwords: Passwords) -> None:
    assert await passwords.verify("x" * 10_000_000, await passwords.hash(GOOD)) == WRONG


@pytest.mark.parametrize(
    "password", ["pão1çÁü9", "x" * 32 + "y" * 32, "日本語のパスワード", "🥖 com 🧀 às cinco", "a b c d e f "]
)
def test_long_ones_and_every_alphabet_are_accepted(password: str) -> None:
    assert acceptable_password(password)


@pytest.mark.parametrize("password", ["", "curta 7", "x" * 1_025])
def test_too_short_and_too_long_are_refused_with_what_would_do(password: str) -> None:
    with pytest.raises(PasswordRefused, match=r"at least 8|at most 1,024"):
        acceptable_password(password)


@pytest.mark.parametrize(
    "password",
    [
        *("password", "Password1", "SENHA123", "senha@123", "12345678", "87654321", "qwertyui", "brasil2025"),
        *("aaaaaaaa", "abababab", "12341234", "1q2w3e4r", "teamo123", "contraseña", "zxcvbnm123", "flamengo"),
    ],
)
def test_a_common_password_is_refused(password: str) -> None:
    with pytest.raises(PasswordRefused, match="first that are guessed"):
        acceptable_password(password)


@pytest.mark.parametrize("password", ["ana.souza@example.com", "Ana.Souza"])
def test_ones_own_address_is_refused(password: str) -> None:
    with pytest.raises(PasswordRefused):
        acceptable_password(password, about="ana.souza@example.com")


def test_the_list_is_as_long_as_advised() -> None:
    assert len(common_passwords()) > 3_000


async def test_when_too_many_wait_the_next_is_told_so_at_once(passwords: Passwords) -> None:
    stored = await passwords.hash(GOOD)
    many = [passwords.verify(GOOD, stored) for _ in range(MOST_WAITING + 1)]
    ended = await asyncio.gather(*many, return_exceptions=True)
    assert [isinstance(each, Busy) for each in ended] == [False] * MOST_WAITING + [True]
    assert await passwords.verify(GOOD, stored) == RIGHT
