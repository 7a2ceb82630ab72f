"""How often one caller may call: a bucket of requests for each, which refills all the time.

The headers are those of the IETF draft on rate limit fields. The buckets are of this process: of two servers behind one
address each allows as much.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final
from uuid import UUID

from recado.core.clock import Clock
from recado.core.errors import DomainError


class TooManyRequests(DomainError):
    """The bucket of the caller is empty."""

    code = "api.too_many_requests"
    status = 429

    def __init__(self, sentence: str, headers: Mapping[str, str]) -> None:
        super().__init__(sentence)
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Policy:
    """So many requests at once, and so many again in each `seconds`."""

    NAME: ClassVar[str] = "caller"
    requests: int = 1_000
    seconds: int = 10


class Rates:
    """The buckets. A full one is not kept, for it is like a new one."""

    MOST: Final = 10_000

    def __init__(self, clock: Clock, policy: Policy | None = None) -> None:
        self._clock = clock
        self._policy = policy or Policy()
        self._full_at: dict[UUID | None, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, caller: UUID | None) -> Mapping[str, str]:
        """Take one request out of a caller's bucket; return the headers of its answer. Raises `TooManyRequests`."""
        policy, now = self._policy, self._clock.monotonic()
        full_at = max(now, self._full_at.get(caller, now)) + policy.seconds / policy.requests
        late = full_at - now - policy.seconds
        # Sums of floats differ in the last digits: a request that is due is not refused for those.
        if late > 1e-6:
            headers = self._headers(self._full_at[caller] - now)
            wait = math.ceil(late)
            raise TooManyRequests(f"too many requests: wait {wait} s", {**headers, "Retry-After": str(wait)})
        self._full_at[caller] = full_at
        if len(self._full_at) > self.MOST:
            self._full_at = {each: at for each, at in self._full_at.items() if at > now}
        return self._headers(full_at - now)

    def _headers(self, seconds_to_full: float) -> Mapping[str, str]:
        policy = self._policy
        left = math.floor(policy.requests * (1 - seconds_to_full / policy.seconds) + 1e-6)
        return {
            "RateLimit-Policy": f'"{policy.NAME}";q={policy.requests};w={policy.seconds}',
            "RateLimit": f'"{policy.NAME}";r={max(0, left)};t={math.ceil(seconds_to_full)}',
        }
