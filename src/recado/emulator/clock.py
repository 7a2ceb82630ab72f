"""Time, identifiers and random numbers, passed in so that a test can play a whole day in a millisecond.

Only this module reads the real clock or makes a random generator.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], float]  # Seconds since the epoch: the store compares moments thousands of times a second.


def system_now() -> float:
    return datetime.now(UTC).timestamp()  # noqa: TID251  The emulator imports nothing of ours, so it has its own place.


class SidGenerator:
    """Twilio's identifiers: two letters and 32 hexadecimal digits."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def sid(self, prefix: str) -> str:
        return f"{prefix}{self._chance.getrandbits(128):032x}"

    def token(self) -> str:
        digits = f"{self._chance.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def chance_of(seed: int | None) -> random.Random:
    """Without a seed every start differs, or a second run would hand out the identifiers of the first."""
    return random.Random(seed)  # noqa: S311  Nothing here guards a secret.
