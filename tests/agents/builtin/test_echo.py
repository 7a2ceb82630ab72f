"""The echo agent says back what it may."""

from uuid import UUID

import pytest

from recado.agents.models import AgentForm
from recado.agents.runner import AgentRunner
from recado.agents.service import AgentService
from recado.conversation.ports import Reply
from tests.agents.conftest import Turns
from tests.support.callers import admin_of


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (("oi",), "echo: oi"),
        (("oi", "tudo bem?", "👋"), "echo: oi\ntudo bem?\n👋"),
        (("a\r\nb",), "echo: a\nb"),
        (("a\x00b\x1bc",), "echo: abc"),
        (("half \ud83d",), "echo: half "),
        (("x" * 30_000,), "echo: " + "x" * 19_994),
        (("",), "echo: "),
    ],
    ids=["one", "many", "line breaks", "control characters", "half a character", "too much", "nothing"],
)
async def test_whatever_comes_in_makes_an_answer_that_may_go_out(
    runner: AgentRunner, service: AgentService, owner: UUID, turn_of: Turns, texts: tuple[str, ...], answer: str
) -> None:
    await service.set(admin_of(owner), AgentForm("echo"))
    assert await runner.run(await runner.agent_for(owner), turn_of(*texts), 5) == Reply(answer)
