"""The lane of a customer: where its messages, answers and jobs stand in order."""

import hashlib
import hmac
from uuid import UUID

from recado.core.queue.lane import Lane, lane_of_digest


def customer_lane(salt: bytes, address_id: UUID, match_key: str) -> Lane:
    """Return the lane of a customer who writes to a number of ours.

    `salt` is the owner's lane salt, so that nobody without it can find out from a lane whom it is for. Both spellings
    of a Brazilian mobile have one `match_key` and so one lane.
    """
    return lane_of_digest(hmac.digest(salt, address_id.bytes + match_key.encode(), hashlib.sha256))
