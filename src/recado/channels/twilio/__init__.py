"""WhatsApp and SMS through Twilio."""

from recado.channels.twilio.values import TwilioMessageResult

__all__ = ["TwilioMessageResult"]
