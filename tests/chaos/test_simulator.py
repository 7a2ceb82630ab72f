"""A few worlds in every run of the fast suite; the many are left to `python -m tests.chaos.simulator`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.simulator.mutations import MUTATIONS, unmatched_edits
from tests.chaos.simulator.simulation import simulate

pytestmark = pytest.mark.proof

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", range(1, 17))
def test_a_world_keeps_the_promise(seed: int) -> None:
    assert simulate(seed).violations == []


def test_a_seed_is_the_same_world_again() -> None:
    first, between, again = (simulate(seed) for seed in (4, 9, 4))
    assert first.digest == again.digest != between.digest
    assert first.counts == again.counts


def test_the_order_of_sets_does_not_matter() -> None:
    script = "from tests.chaos.simulator.simulation import simulate; print(simulate(4).digest)"
    told = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "1"},
    )
    assert int(told.stdout) == simulate(4).digest


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_changes_the_sql_that_runs(name: str) -> None:
    assert unmatched_edits(name, range(1, 11)) == []
