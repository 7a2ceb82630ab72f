"""Twilio's ids, and the result of one call that sends a message."""

import re
from dataclasses import dataclass, field
from typing import Final

from recado.conversation.ports import SendResult
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
    """A message id of Twilio. Twilio uses `SM` and `MM` for messages, and says never to route by the prefix."""

    value: str

    def __post_init__(self) -> None:
        if not _MESSAGE_SID.fullmatch(self.value):
            raise InvalidInput(
                f"{self.value[:40]!r} is not a message SID: two letters followed by 32 hexadecimal digits"
            )

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class TwilioMessageResult:
    """The result of one call that sends a message: its SID when Twilio accepted it, else Twilio's error, and what
    follows.

    The conversation acts on `result`: `Sent`, `Refused`, `NotProcessed` or `Unknown`.
    """

    result: SendResult
    account_sid: str
    message_sid: str | None = None
    error_code: str | None = None
    error_message: str | None = field(default=None, repr=False)

    @property
    def accepted(self) -> bool:
        """Whether Twilio accepted the message."""
        return self.message_sid is not None
