"""How long Twilio's channels accept our messages. The 24 hours are written here only."""

from datetime import timedelta
from typing import Final

from recado.conversation.ports import ChannelRules
from recado.conversation.values import Address

_DAY: Final = timedelta(hours=24)

_WHATSAPP: Final = ChannelRules(reply_window=_DAY, retry_for=_DAY, answer_within=_DAY)
"""WhatsApp's customer service window. After it only templates are delivered."""
_OTHERS: Final = ChannelRules(reply_window=None, retry_for=_DAY, answer_within=_DAY)
"""SMS has no window, but an answer that comes a day late helps nobody."""


def rules_for(customer: Address) -> ChannelRules:
    """Return the rules for a customer's address."""
    return _WHATSAPP if customer.channel == "whatsapp" else _OTHERS
