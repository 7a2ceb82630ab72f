"""The steps of an outbound message, and the callbacks of each step.

The status of a step and the announced statuses are separate, because Twilio promises neither the order of callbacks nor
that each is sent once. The usual lifecycles are built once: a load test starts thousands a second.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from recado.emulator.messages import EmulatedMessage
from recado.emulator.rules.faults import Fault
from recado.emulator.settings import Policies


@dataclass(frozen=True, slots=True)
class StatusStep:
    status: str
    announced: tuple[str, ...]
    error_code: int | None = None


@dataclass(slots=True)
class MessagePlan:
    """A message on its way; `taken` steps lie behind it."""

    message: EmulatedMessage
    sender: str | None
    steps: tuple[StatusStep, ...]
    due: float
    delay: float
    taken: int = 0


def _step(status: str, error_code: int | None = None) -> StatusStep:
    return StatusStep(status, (status,), error_code)


_CHOSEN = (_step("queued"),)
_DELIVERED = (_step("sent"), _step("delivered"))
_READ = (*_DELIVERED, _step("read"))


def plan(message: EmulatedMessage, fault: Fault | None, refusal: int | None, *, read: bool) -> tuple[StatusStep, ...]:
    """Return the steps. A message without a sender or a schedule is queued first; `refusal` is a late error."""
    chosen = () if message.status == "queued" else _CHOSEN
    kind = None if fault is None else fault.kind
    if fault is not None and kind == "fail":
        return (*chosen, _step("failed", fault.code or 30008))
    if fault is not None and kind == "undelivered":
        return (*chosen, _step("sent"), _step("undelivered", fault.code or 30003))
    if refusal is not None:
        return (*chosen, _step("failed", refusal))
    return chosen + (_READ if read else _DELIVERED)


def disturb(
    steps: tuple[StatusStep, ...], kind: str | None, policies: Policies, chance: random.Random
) -> tuple[StatusStep, ...]:
    """The same life, announced as a fault or the chances of the policies want it."""
    if kind == "callbacks_reordered" or happens(policies.callback_reorder, chance):
        steps = _announce(steps, [step.announced for step in steps[1:] + steps[:1]])
    if kind == "callbacks_duplicated" or policies.callback_duplicate:
        always = kind == "callbacks_duplicated"
        twice = [always or happens(policies.callback_duplicate, chance) for _ in steps]
        steps = _announce(steps, [step.announced * (1 + more) for step, more in zip(steps, twice, strict=True)])
    if kind == "callbacks_dropped" or policies.callback_drop:
        always = kind == "callbacks_dropped"
        lost = [always or happens(policies.callback_drop, chance) for _ in steps]
        steps = _announce(steps, [() if gone else step.announced for step, gone in zip(steps, lost, strict=True)])
    return steps


def happens(likelihood: float, chance: random.Random) -> bool:
    return likelihood > 0 and chance.random() < likelihood


def _announce(steps: Sequence[StatusStep], announced: Sequence[tuple[str, ...]]) -> tuple[StatusStep, ...]:
    return tuple(replace(step, announced=said) for step, said in zip(steps, announced, strict=True))
