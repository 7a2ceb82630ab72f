"""What a seed decides before anything happens: how big the world is, and which faults it knows and how often.

Each seed knows only some faults, at rates of its own. A world in which everything goes wrong all the time hides the
failures that need one thing to go wrong and the next to go right.
"""

import random
from dataclasses import dataclass, field
from datetime import timedelta

RATES: dict[str, float] = {
    # Processes. The first is asked at each step of each process, the next two at each commit.
    "kill at an await": 0.0015,
    "kill before a commit": 0.02,
    "kill after a commit": 0.03,
    # Storage
    "slow commit": 0.1,
    "stands still after a commit": 0.04,
    # Wake-ups.
    "wake-up forgotten": 0.5,
    "wake-up for nothing": 0.05,
    "heartbeat missed": 0.3,
    # Sending
    "accepted, then unknown": 0.4,
    "not accepted, then unknown": 0.3,
    "accepted late, then unknown": 0.2,
    "turned away": 0.3,
    "refused": 0.1,
    "slow answer": 0.4,
    # The provider's list
    "list incomplete": 0.5,
    "list lags": 0.7,
    # Callbacks
    "callback dropped": 0.5,
    "callback twice": 0.4,
    "callback early": 0.4,
    "callback late": 0.3,
    "callback much later": 0.2,
    "not delivered": 0.1,
    # Webhooks
    "webhook twice": 0.3,
    "webhook late": 0.3,
    "webhook lost": 0.2,
    # Agents
    "agent slow": 0.3,
    "agent fails": 0.4,
    "agent gives up": 0.1,
    "agent raises": 0.2,
    "agent hangs": 0.2,
    "agent ignores its end": 0.1,
    "agent hands off": 0.2,
    "agent says nothing": 0.2,
    "agent says goodbye": 0.2,
    "agent uses a tool": 0.4,
    "agent answers at length": 0.5,
    "poison": 0.05,
    # Customers
    "stop": 0.08,
    "start": 0.08,
    "reaction": 0.08,
    "button": 0.1,
    "other spelling": 0.4,
}
"""The highest rate of each fault, per occasion."""

EVENTS: dict[str, float] = {
    "kill": 0.05,
    "terminate": 0.03,
    "stop for a while": 0.03,
    "outage of the database": 0.008,
    "host sleeps": 0.006,
    "clock step": 0.01,
    "person takes": 0.05,
    "person replies": 0.05,
    "person releases": 0.05,
    "person closes": 0.03,
    "person blocks": 0.01,
    "person unblocks": 0.02,
    "program writes": 0.03,
    "operator retries": 0.03,
    "operator forces": 0.01,
    "operator discards": 0.01,
    "message at the boundary": 0.05,
}
"""The highest rate of what happens by itself, per second of a busy hour."""


@dataclass(frozen=True)
class Plan:
    """One seed's world."""

    seed: int
    workers: int
    customers: int
    numbers: int
    episodes: int
    bursts: int
    lease: timedelta
    agent_seconds: float
    deadline: timedelta
    sweep_every: timedelta
    prefer_delivery: bool
    part_limit: int
    clock_skew: float
    idle: timedelta
    expire: timedelta
    quiet_every: timedelta
    """How often idle and expired conversations are looked for."""
    nudges: bool
    rates: dict[str, float] = field(hash=False)

    @property
    def has_pigeon(self) -> bool:
        """Whether the last number of ours belongs to the second, tiny channel (`tests/support/pigeon.py`)."""
        return self.seed % 3 == 0

    def rate(self, fault: str) -> float:
        return self.rates.get(fault, 0.0)


def plan(seed: int, chance: random.Random) -> Plan:
    """Draw a world. Half of the faults do not exist in it."""
    agent_seconds = chance.choice((8.0, 20.0, 60.0))
    return Plan(
        seed=seed,
        workers=chance.randint(1, 3),
        customers=chance.randint(1, 3),
        numbers=chance.choice((1, 1, 2)),
        episodes=chance.randint(1, 4),
        bursts=chance.randint(1, 3),
        lease=timedelta(seconds=chance.choice((10, 30, 30))),
        agent_seconds=agent_seconds,
        deadline=timedelta(seconds=max(90.0, 4 * agent_seconds, chance.choice((0.0, 300.0)))),
        sweep_every=timedelta(seconds=chance.choice((30, 600, 600))),
        prefer_delivery=chance.random() < 0.3,
        part_limit=chance.choice((60, 60, 1600)),
        clock_skew=chance.choice((0.0, 0.0, -2.0, 2.0)),
        idle=timedelta(seconds=chance.choice((60, 120, 900))),
        expire=timedelta(seconds=chance.choice((150, 300, 3600, 86_400))),
        quiet_every=timedelta(seconds=chance.choice((30, 120, 120))),
        nudges=chance.random() < 0.5,
        rates={name: most * chance.random() ** 2 for name, most in (RATES | EVENTS).items() if chance.random() < 0.5},
    )
