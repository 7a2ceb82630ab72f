"""Does the simulator bite? Each fence of the ledger is taken away, with and without its backstop.

A fence is a condition in a statement, or an index; so a mutation is an edit of statements on their way to the simulated
database (`storage.Edit`), and the product's code runs as it is. Without the fence alone the backstop must hold: no
violation, and where the backstop is a constraint, it is seen to refuse. Without both, a violation must be found.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos.simulator.simulation import Verdict, simulate
from tests.chaos.simulator.storage import Disk, Edit

REFUSAL = "UNIQUE constraint failed"
OUT_OF_ORDER = "arrived after"

_ANYTHING = "(? IS NOT NULL OR 1)"
_NOT_UNIQUE = "CREATE INDEX"

LEASE = (
    # The heartbeat goes on telling a worker what it has lost; nobody else does.
    Edit(
        r"^(?!UPDATE message_queue SET leased_until)(.*)"
        r"message_queue\.lease_token = \? AND message_queue\.status = 'running'",
        rf"\1{_ANYTHING}",
    ),
    Edit(r"lease_token = \? AND status = 'running'", _ANYTHING),
    Edit(r"lease_token = given\.token AND status = 'running'", "1"),
)
ONE_ANSWER = (Edit(r"(?<=\n)(\s*)(CONSTRAINT \w+ )?UNIQUE \(turn_id\)", r"\1CHECK (1)"),)
NOT_SETTLED = (Edit(r"^(SELECT.*)turns\.settled_at", r"\1 NULL AS settled_at", during="ReplyHandler._commit"),)
FIRST_CLAIM = (Edit(r"(RETURNING.*)\bcrashes\b,", r"\1 0,"),)
VERSION = (Edit(r"^(SELECT.*)turns\.version", r"\1 1 AS version"),)
HELD_AT_COMMIT = (Edit(r"^(SELECT.*)conversations\.held_by", r"\1'agent' AS held_by", during="ReplyHandler._commit"),)
HELD_AT_SEND = (Edit(r"^(SELECT.*)conversations\.held_by", r"\1'agent' AS held_by", during="SendHandler.run"),)
SERIAL_SENDS = (
    Edit(r"ORDER BY (head\.)?id LIMIT 1\)", r"ORDER BY \1due_at LIMIT 1)"),
    Edit(r"^(SELECT.*FROM attempts.*)state IN \('sending','unknown'\)", r"\1state = 'never'", during="SendHandler.run"),
)
ONE_IN_FLIGHT = (Edit("CREATE UNIQUE INDEX uq_attempts_in_flight", f"{_NOT_UNIQUE} uq_attempts_in_flight"),)
LANE_LOCK = (Edit(r"THEN NULL ELSE (head\.)?due_at END", r"THEN \1due_at ELSE \1due_at END"),)
ONE_RUNNING = (Edit("CREATE UNIQUE INDEX uq_message_queue_running", f"{_NOT_UNIQUE} uq_message_queue_running"),)
ONE_COLLECTING = (
    Edit("CREATE UNIQUE INDEX uq_message_queue_collecting", f"{_NOT_UNIQUE} uq_message_queue_collecting"),
    Edit(r"ON CONFLICT \(lane\) WHERE status='collecting' DO UPDATE.*", ""),
)


@dataclass(frozen=True)
class Mutation:
    """A fence, and its backstop."""

    name: str
    fence: tuple[Edit, ...]
    wall: tuple[Edit, ...]
    behind: str
    order_goes_too: bool = False
    """The backstop keeps two from going out at once; only the fence decides which goes first."""


MUTATIONS = {
    each.name: each
    for each in (
        Mutation("lease token", LEASE, (*ONE_ANSWER, *NOT_SETTLED), "UNIQUE(turn), and the look whether it is settled"),
        Mutation("UNIQUE(turn)", ONE_ANSWER, (*LEASE, *NOT_SETTLED), "lease token, and the look whether it is settled"),
        Mutation(
            "turn version",
            VERSION,
            (*LEASE, *FIRST_CLAIM),
            "lease token, and only a first claim takes newer messages in",
        ),
        Mutation("held_by", HELD_AT_COMMIT, HELD_AT_SEND, "held_by before each attempt"),
        Mutation("serial sends", SERIAL_SENDS, ONE_IN_FLIGHT, "in-flight index", order_goes_too=True),
        Mutation("lane lock", LANE_LOCK, ONE_RUNNING, "running index"),
        Mutation("running index", ONE_RUNNING, LANE_LOCK, "lane lock"),
        Mutation("collecting index", ONE_COLLECTING, (*LANE_LOCK, *ONE_RUNNING), "lane lock and running index"),
    )
}


@functools.cache
def _disk(name: str, alone: bool) -> Disk:
    mutation = MUTATIONS[name]
    return Disk(mutation.fence if alone else (*mutation.fence, *mutation.wall))


def simulate_without(name: str, seed: int, *, alone: bool, tell: Callable[[str], None] | None = None) -> Verdict:
    """Play one world without a fence, and unless `alone` without its backstop."""
    return simulate(seed, tell=tell, on=_disk(name, alone))


@dataclass
class Bite:
    """What many worlds without a fence came to."""

    seeds: int = 0
    refusals: int = 0
    seed: int | None = None
    violation: str = ""
    unmatched: tuple[str, ...] = ()
    """The edits that met no statement: nothing was taken away by them."""


def bite(task: tuple[str, Sequence[int], bool]) -> Bite:
    """Play without a fence (alone, or with its backstop) until a violation is found or the seeds are used up."""
    name, seeds, alone = task
    found = Bite()
    for seed in seeds:
        verdict = simulate_without(name, seed, alone=alone)
        refused = [violation for violation in verdict.violations if REFUSAL in violation]
        broken = [violation for violation in verdict.violations if REFUSAL not in violation]
        if alone and MUTATIONS[name].order_goes_too:
            broken = [violation for violation in broken if OUT_OF_ORDER not in violation]
        found.seeds += 1
        found.refusals += len(refused)
        if broken:
            found.seed, found.violation = seed, broken[0]
            break
    found.unmatched = tuple(_disk(name, alone).unmatched)
    return found


def unmatched_edits(name: str, seeds: Sequence[int]) -> list[str]:
    """Return the edits of a mutation that meet no statement in any of these worlds."""
    for seed in seeds:
        simulate_without(name, seed, alone=False)
        if not _disk(name, False).unmatched:
            return []
    return _disk(name, False).unmatched
