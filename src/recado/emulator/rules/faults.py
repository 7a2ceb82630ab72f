"""Faults on demand: the next matching request fails in a chosen way.

A fault is used up by the request it hits. A create is hit by at most one fault of its answer and one of its callbacks,
so two faults can lose the answer and send the callbacks twice.
"""

from dataclasses import dataclass, replace

REFUSING = frozenset({"refuse_500", "throttle", "daily_cap", "error"})
LOSING = frozenset({"accept_then_500", "accept_then_hang", "accept_then_reset", "no_sid"})
ANSWER = REFUSING | LOSING | {"slow"}
LATER = frozenset(
    {"callbacks_dropped", "callbacks_duplicated", "callbacks_reordered", "callback_early", "fail", "undelivered"}
)
INBOUND = frozenset({"inbound_duplicate", "inbound_delay"})
READING = frozenset({"list_500"})
FETCHING = frozenset({"media_404"})
KINDS = ANSWER | LATER | INBOUND | READING | FETCHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    id: int = 0
    kind: str
    times: int | None = 1
    """The number of requests that it still hits; None: until it is cleared."""
    to: str | None = None
    body: str | None = None
    """A part of the text."""
    code: int | None = None
    status: int | None = None
    seconds: float | None = None


class Faults:
    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._last_id = 0

    def add(self, fault: Fault) -> Fault:
        self._last_id += 1
        numbered = replace(fault, id=self._last_id)
        self._waiting.append(numbered)
        return numbered

    def waiting(self) -> list[Fault]:
        return list(self._waiting)

    def clear(self) -> None:
        self._waiting.clear()

    def take(self, kinds: frozenset[str], to: str = "", body: str = "") -> Fault | None:
        """The oldest fault that fits; it counts as used."""
        for index, fault in enumerate(self._waiting):
            if fault.kind in kinds and fault.to in (None, to) and (fault.body is None or fault.body in body):
                self._use(index, fault)
                return fault
        return None

    def _use(self, index: int, fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times > 1:
            self._waiting[index] = replace(fault, times=fault.times - 1)
        else:
            del self._waiting[index]
