"""Twilio's ids, and what one call to send a message gave."""

import re
from dataclasses import dataclass
from typing import Final

from recado.core.errors import InvalidInput

PROVIDER: Final = "twilio"
"""The name of this channel in `provider` columns."""

_ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")
_MESSAGE_SID = re.compile(r"[A-Z]{2}[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class AccountSid:
    """A Twilio account or subaccount: `AC` and 32 hexadecimal digits."""

    value: str

    def __post_init__(self) -> None:
        if not _ACCOUNT_SID.fullmatch(self.value):
            raise InvalidInput(f"{self.value[:40]!r} is not an account SID: AC followed by 32 hexadecimal digits")

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class MessageSid:
    """A provider's message id. Twilio uses `SM` and `MM` for messages, and says never to route on the prefix."""

    value: str

    def __post_init__(self) -> None:
        if not _MESSAGE_SID.fullmatch(self.value):
            raise InvalidInput(
                f"{self.value[:40]!r} is not a message SID: two letters followed by 32 hexadecimal digits"
            )

    def __str__(self) -> str:
        return self.value
