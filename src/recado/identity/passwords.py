"""Passwords: hashed with argon2id outside the event loop, and refused when attackers try them first.

There are no rules of composition, for they make passwords worse. What counts is the length, and not being among the
passwords that are guessed in the first minute. Their list is generated: the words people choose, the endings they
append, rows of keys and repetitions are some six thousand, in the three languages of our users.
"""

import asyncio
import functools
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from recado.core.errors import Busy
from recado.core.unicode import normalized
from recado.identity.errors import PasswordRefused

T = TypeVar("T")

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 1_024
"""Far above what anybody types. Without a limit, hashing a megabyte would be an attack."""

MOST_WAITING: Final = 100
"""More wait for longer than anybody does, some five seconds. Strangers can send passwords too."""


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """Whether the password is right, and a new hash to store when the old one is weaker than today's."""

    right: bool
    new_hash: str | None = None


class Passwords:
    """Hash and verify passwords, by default as RFC 9106 advises for small machines (64 MiB, 3 passes, 4 lanes).

    Two at a time: each takes 64 MiB, and a hundred sign-ins at once must not take six gigabytes. Raises `Busy` when too
    many wait.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="recado-password")
        self._waiting = 0

    async def hash(self, password: str, *, about: str = "") -> str:
        """Return the hash to store;

        raises `PasswordRefused`. `about` is an e-mail address that the password must not be.
        """
        plain = acceptable_password(password, about=about)
        return await self._in_thread(lambda: self._hasher.hash(plain))

    async def verify(self, password: str, password_hash: str | None) -> PasswordCheck:
        """Return whether the password is right. Without a hash (an unknown user) it is wrong, after as long a wait."""
        return await self._in_thread(lambda: self._check(normalized_password(password), password_hash))

    def _check(self, plain: str, password_hash: str | None) -> PasswordCheck:
        decoy = self._decoy  # Made at the first check of all, which must take as long whether there is a user or not.
        if len(plain) > MAX_LENGTH:
            return PasswordCheck(right=False)
        try:
            self._hasher.verify(decoy if password_hash is None else password_hash, plain)
        except (VerificationError, InvalidHashError):
            return PasswordCheck(right=False)
        if password_hash is None:
            return PasswordCheck(right=False)
        stale = self._hasher.check_needs_rehash(password_hash)
        return PasswordCheck(right=True, new_hash=self._hasher.hash(plain) if stale else None)

    @functools.cached_property
    def _decoy(self) -> str:
        return self._hasher.hash("nobody has this password")

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= MOST_WAITING:
            raise Busy("too many passwords are being checked; try again in a moment")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def acceptable_password(password: str, *, about: str = "") -> str:
    """Return the password in the spelling that is hashed; raises `PasswordRefused` with what would be accepted."""
    plain = normalized_password(password)
    if len(plain) < MIN_LENGTH:
        raise PasswordRefused(f"the password needs at least {MIN_LENGTH} characters; 15 or more are better")
    if len(plain) > MAX_LENGTH:
        raise PasswordRefused(f"the password may have at most {MAX_LENGTH:,} characters")
    folded = plain.casefold()
    if folded in common_passwords() or _is_repetition(folded) or folded in {about, about.partition("@")[0]}:
        raise PasswordRefused(
            "the password is among the first that are guessed; take a few words that no one would combine"
        )
    return plain


def normalized_password(password: str) -> str:
    """Return one spelling for texts that look the same: keyboards write an é in two ways."""
    return normalized("NFKC", password)


def _is_repetition(text: str) -> bool:
    """Return whether a text repeats a piece of at most four characters: `aaaaaaaa`, `abababab`, `12341234`."""
    return any(text == (text[:size] * len(text))[: len(text)] for size in range(1, 5))


# --- What everybody tries ---------------------------------------------------------------------------------------------

# What a login page suggests; rows of keys; love, faith, football, names and animals.
_WORDS: Final = """
password passw0rd p@ssw0rd p@ssword pass senha senhas contrasena contraseña clave admin administrador administrator
root user usuario usuário login guest teste test demo default master changeme mudar trocar acesso access welcome
bemvindo bienvenido entrar secret secreto segredo letmein system sistema suporte support server recado whatsapp

qwerty qwertyui qwertyuiop asdf asdfgh asdfghjk asdfghjkl zxcvbn zxcvbnm qazwsx qwe qweasd qweasdzxc abc abcd abcdef
1q2w3e 1q2w3e4r 1q2w3e4r5t q1w2e3 q1w2e3r4 zaq12wsx 123qwe abc123 a1b2c3

iloveyou teamo teamomucho amor amorzinho love princess princesa jesus jesuscristo deus deusefiel dios maria jose
joao ana anaclara pedro gabriel gabriela lucas mateus rafael rafaela daniel daniela carlos fernando fernanda juliana
bruno bruna leticia camila felipe gustavo guilherme vitoria beatriz alexandre michael jordan jessica charlie
brasil brazil mexico argentina espana portugal flamengo corinthians palmeiras saopaulo santos gremio vasco
cruzeiro botafogo barcelona realmadrid futebol football futbol baseball superman batman pokemon naruto starwars
dragon monkey tigre leao cachorro gatinho sunshine shadow flower estrela estrella felicidade familia freedom
computer computador internet samsung google facebook instagram iphone summer winter verao primavera
"""
_ENDINGS: Final = """
1 12 123 1234 12345 123456 0 00 01 007 10 11 21 22 69 77 99 321 2020 2021 2022 2023 2024 2025 2026 2027
! 1! 123! @123 @1234 #123 @ @1 @2024 @2025 @2026 _123 *
"""
_RUNS: Final = ("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjklç", "zxcvbnm,.")


@functools.cache
def common_passwords() -> frozenset[str]:
    """Return the common passwords that are long enough to be accepted otherwise."""
    combined = (word + ending for word, ending in itertools.product(_WORDS.split(), ["", *_ENDINGS.split()]))
    return frozenset(each for each in itertools.chain(combined, _runs()) if len(each) >= MIN_LENGTH)


def _runs() -> Iterator[str]:
    """Yield every stretch of a row of keys, forwards and backwards."""
    for row in itertools.chain(_RUNS, (run[::-1] for run in _RUNS)):
        for start, end in itertools.combinations(range(len(row) + 1), 2):
            yield row[start:end]
