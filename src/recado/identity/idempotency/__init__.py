"""Requests that happen once, however often they are sent: the `Idempotency-Key` of an owner's programs."""
