"""The dashboard and the alerts use existing metrics and labels."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from recado.conversation.errors import AgentFailed
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.types import JsonValue
from recado.core.ids import UuidV7
from recado.core.metrics import FORBIDDEN, WEBHOOKS, Meters
from recado.operations.exposition import Exposition
from recado.operations.gauges import Gauges
from tests.world import ACCOUNT, World

ROOT: Final = Path(__file__).parents[2]
DASHBOARD: Final = ROOT / "deploy" / "grafana" / "recado.json"
ALERTS: Final = ROOT / "deploy" / "prometheus" / "alerts.yaml"


@cache
def rules() -> list[dict[str, JsonValue]]:
    [group] = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    found: list[dict[str, JsonValue]] = group["rules"]
    return found


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    shown = [str(target["expr"]) for panel in panels for target in panel["targets"]]
    return shown + [str(rule["expr"]) for rule in rules()]


async def exposed(world: World) -> dict[str, set[str]]:
    """Return the series after one answered and one failed message, with their labels."""
    world.meters.count(WEBHOOKS, "messages", "200")
    world.meters.count(FORBIDDEN, ACCOUNT.value)
    await world.says("oi")
    world.agents.will(AgentFailed("no key", retryable=False))
    await world.says("e agora?")
    gauges = Gauges(world.database, world.clock)
    told = await Exposition(world.meters, lambda: gauges, None, 300.0, world.clock).render_all()
    families = text_string_to_metric_families(told.decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7, meters: Meters) -> World:
    return await World.open(database, clock, ids, meters=meters)


async def test_every_metric_that_is_asked_for_is_there(world: World) -> None:
    there = await exposed(world)
    asked = {name for expression in expressions() for name in re.findall(r"\brecado_\w+", expression)}
    assert asked - set(there) == set()
    assert len(asked) > 20, "and there is something to see"


async def test_every_label_that_is_asked_for_is_there(world: World) -> None:
    there = await exposed(world)
    for expression in expressions():
        names = re.findall(r"\brecado_\w+", expression)
        known = {"le"}.union(*(there[name] for name in names))
        by = re.findall(r"\bby \(([^)]*)\)", expression)
        asked = {label.strip() for labels in by for label in labels.split(",")}
        asked |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
        assert asked - known == set(), expression


def test_every_expression_is_closed() -> None:
    for expression in expressions():
        for opening, closing in ("()", "[]", "{}"):
            assert expression.count(opening) == expression.count(closing), expression


async def test_every_metric_is_documented_and_none_besides(world: World) -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    documented = {
        name for line in page.splitlines() if line.startswith("| `") for name in re.findall(r"`(recado_\w+)", line)
    }
    there = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in await exposed(world)}
    assert documented == there


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_what_it_is_and_what_to_do(rule: dict[str, JsonValue]) -> None:
    annotations, labels = rule["annotations"], rule["labels"]
    assert isinstance(annotations, dict)
    assert isinstance(labels, dict)
    assert str(annotations["summary"]).endswith(".")
    assert len(str(annotations["action"])) > 30
    assert labels["severity"] in ("critical", "warning", "info")


def test_no_two_alerts_or_panels_have_one_name() -> None:
    alerts = [str(rule["alert"]) for rule in rules()]
    panels = [panel["id"] for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]]
    assert len(set(alerts)) == len(alerts)
    assert len(set(panels)) == len(panels)


def test_every_alert_is_explained() -> None:
    page = (ROOT / "docs" / "how-to" / "watch-it-run.md").read_text("utf-8")
    assert [rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in page] == []
