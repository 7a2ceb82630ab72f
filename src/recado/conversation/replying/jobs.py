"""The name of the reply job."""

REPLY = "conversation.reply"
