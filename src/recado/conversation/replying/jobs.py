"""The job that answers a turn: its name, and what its payload says."""

from recado.core.queue.job import StoredJob

REPLY = "conversation.reply"

FORCED = {"force": True}
"""The payload of a replay that an operator asked for although a later message was answered."""


def was_forced(job: StoredJob) -> bool:
    """Return whether an operator asked for this replay although a later message was answered."""
    return isinstance(job.payload, dict) and job.payload.get("force") is True
