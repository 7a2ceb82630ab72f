"""Agents are found by name among installed packages."""

from importlib.metadata import EntryPoint

import pytest

from recado.agents.errors import UnknownAgent
from recado.agents.registry import GROUP, AgentRegistry


def test_the_built_in_agents_are_installed() -> None:
    assert {"echo", "faq", "http", "llm"} <= set(AgentRegistry().names)


def test_the_built_in_agents_share_a_loop_and_others_do_not() -> None:
    registry = AgentRegistry([*AgentRegistry.installed(), EntryPoint("other", "tests.agents.fakes:Foreign", GROUP)])
    assert [registry.find(name).cooperative for name in ("echo", "faq", "http", "llm", "other")] == [True] * 4 + [False]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownAgent, match=r"no agent is called 'ecko'; installed are: .*echo") as error:
        AgentRegistry().find("ecko")
    assert (error.value.code, error.value.status) == ("agents.unknown", 422)


def test_a_package_cannot_take_the_name_of_a_built_in_agent() -> None:
    mine = EntryPoint("echo", "a_package.that.listens:Agent", GROUP)
    registry = AgentRegistry([mine, *AgentRegistry.installed()])
    assert registry.find("echo").cooperative


def test_nothing_is_imported_before_an_agent_is_made() -> None:
    broken = EntryPoint("broken", "a_package.that.does.not.exist:Agent", GROUP)
    assert AgentRegistry([broken]).find("broken").name == "broken"
