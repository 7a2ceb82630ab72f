"""A second, tiny channel: what the product needs from a provider, and nothing that Twilio happens to have.

Its ids are decimal numbers. It has no list of what was sent and no reply window, and posts several messages in one
request.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final

from recado.channels.router import InstalledChannel
from recado.conversation.ports import Channel, ChannelRules
from recado.conversation.values import Address

PIGEON: Final = "pigeon"
ACCOUNT: Final = "123456789012345678"
"""A Twilio SID never looks like this; packed as one it came back with other digits."""

Letter = Mapping[str, str]
"""One message of a request: `id`, `from`, `to`, `text`."""


def message_id(number: int) -> str:
    """Return an id as this provider makes them: 34 characters, as long as a SID of Twilio's."""
    return f"{10**33 + number}"


def request_of(letters: Iterable[Letter]) -> bytes:
    """Return what the provider posts: all messages that it has for us."""
    return json.dumps({"messages": list(letters)}).encode()


async def receive(raw: bytes, accept: Callable[[Letter], Awaitable[object]]) -> int:
    """Accept every message of a request. Return their number.

    When one of them cannot be stored the error leaves, and the provider posts all of them again: those that were
    stored are duplicates then.
    """
    letters: list[Letter] = json.loads(raw)["messages"]
    for letter in letters:
        await accept(letter)
    return len(letters)


def rules_for(_customer: Address) -> ChannelRules:
    """An answer is never too late here, and is tried for a day."""
    return ChannelRules(reply_window=None, retry_for=timedelta(days=1), answer_within=None)


def installed(channel: Channel) -> InstalledChannel:
    """Return the channel as the router takes it: without a way to look up what was sent."""
    return InstalledChannel(channel, rules_for)
