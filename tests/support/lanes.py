"""Lanes with names, for tests: `lane_named("ana")` is always the same one, and `name_of` gives the name back."""

import hashlib
from typing import Final

from recado.core.queue.lane import Lane, lane_of_digest, send_lane

_NAMES: Final[dict[Lane, str]] = {}


def lane_named(name: str) -> Lane:
    """Return the lane of this name; `send:ana` is the send lane beside `ana`."""
    reply = name.removeprefix("send:")
    made = lane_of_digest(hashlib.sha256(reply.encode()).digest())
    made = made if name == reply else send_lane(made)
    _NAMES[made] = name
    return made


def name_of(found: Lane) -> str:
    """Return the name of a lane that a test has made, else its text."""
    return _NAMES.get(found, str(found))
