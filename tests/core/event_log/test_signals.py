"""A process learns of events that another one has stored in the same SQLite file."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeAlias

import pytest

from recado.bootstrap.databases import event_signals_of
from recado.core.database.changes import Changes
from recado.core.event_log.signals.sqlite import FALLBACK_SECONDS
from tests.core.event_log.test_following import happens
from tests.support.patience import PATIENCE
from tests.world import World

Signals: TypeAlias = AsyncGenerator[None, None]


@pytest.fixture
async def signals(world: World) -> AsyncIterator[Signals]:
    """Signals as another process gets them, after the first, which comes without a reason."""
    async with aclosing(event_signals_of(world.database, Changes()).receive()) as found:
        await anext(found)
        yield found


async def test_what_is_stored_while_a_signal_is_followed_is_signalled(world: World, signals: Signals) -> None:
    await happens(world)
    async with asyncio.timeout(FALLBACK_SECONDS / 2):
        await anext(signals)


async def test_a_signal_comes_from_time_to_time_without_a_reason(signals: Signals) -> None:
    async with asyncio.timeout(PATIENCE):
        await anext(signals)
