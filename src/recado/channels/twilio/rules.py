"""Until when Twilio's channels take what we send; the one place that knows of 24 hours."""

from datetime import timedelta
from typing import Final

from recado.conversation.ports import ChannelRules
from recado.conversation.values import Address

_DAY: Final = timedelta(hours=24)

_WHATSAPP: Final = ChannelRules(reply_window=_DAY, retry_for=_DAY, answer_within=_DAY)
"""WhatsApp's customer service window: afterwards only templates are delivered."""
_OTHERS: Final = ChannelRules(reply_window=None, retry_for=_DAY, answer_within=_DAY)
"""SMS has no window. An answer that comes a day late helps nobody."""


def rules_for(customer: Address) -> ChannelRules:
    """Return the rules of the channel that a customer's address belongs to."""
    return _WHATSAPP if customer.channel == "whatsapp" else _OTHERS
