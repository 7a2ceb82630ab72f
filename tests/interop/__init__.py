"""Recado's BullMQ queue beside the Node tools that others use with it."""
