"""Dead letters over HTTP: listed, retried and discarded, one or many."""

from collections.abc import Mapping
from uuid import UUID

import httpx2
import pytest

from recado.conversation.errors import AgentFailed
from tests.support.callers import KnownCallers
from tests.world import ANA, BRUNO, World

ON_BOTH_DATABASES = True

NOBODYS = "01a203d3-d0be-7000-95bc-8269c3611314"
LETTERS = "/api/v1/dead-letters"
APOLOGY = "Desculpe, estou indisponível no momento"


@pytest.fixture
async def letters(world: World) -> list[str]:
    """Ana's and Bruno's."""
    world.agents.will(*[AgentFailed("the model is on fire", retryable=False)] * 2)
    await world.receives("oi", ANA)
    await world.receives("bom dia", BRUNO)
    await world.passes(2)
    return [str(job.id) for job in await world.dead()]


@pytest.fixture
def operator(callers: KnownCallers, world: World) -> Mapping[str, str]:
    return callers.role(world.owner_id, "operator")


@pytest.fixture
def viewer(callers: KnownCallers, world: World) -> Mapping[str, str]:
    return callers.role(world.owner_id, "viewer")


async def listed(api: httpx2.AsyncClient, headers: Mapping[str, str], query: str = "") -> list[str]:
    answer = await api.get(f"{LETTERS}?{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["items"]]


async def test_are_listed_from_the_oldest_on(
    api: httpx2.AsyncClient, viewer: Mapping[str, str], letters: list[str]
) -> None:
    first = (await api.get(f"{LETTERS}?limit=1", headers=viewer)).json()
    rest = await listed(api, viewer, f"limit=1&cursor={first['next_cursor']}")
    assert [first["items"][0]["id"], *rest] == letters == await listed(api, viewer, "name=conversation.reply")
    assert await listed(api, viewer, "name=answer.send") == []
    assert (await api.get(f"{LETTERS}?cursor=nonsense", headers=viewer)).status_code == 422


async def test_one_says_what_it_was_about(
    api: httpx2.AsyncClient, viewer: Mapping[str, str], letters: list[str], world: World
) -> None:
    shown = (await api.get(f"{LETTERS}/{letters[0]}", headers=viewer)).json()
    assert (shown["error"], shown["handled_by"]) == ("the model is on fire", None)
    assert shown["conversation_id"] == str((await world.conversation(ANA)).id)
    assert len(shown["message_ids"]) == 1


async def test_a_retried_one_is_answered_once_and_bears_the_name(
    api: httpx2.AsyncClient, operator: Mapping[str, str], letters: list[str], world: World
) -> None:
    retried = await api.post(f"{LETTERS}/{letters[0]}/retry", headers=operator)
    again = await api.post(f"{LETTERS}/{letters[0]}/retry", headers=operator)
    await world.passes(2)
    assert (retried.status_code, retried.json()["handled_by"]) == (202, "Bia")
    assert (again.status_code, again.json()["code"]) == (409, "operations.retry_refused")
    assert world.sent_texts(ANA) == [APOLOGY, "echo: oi"]
    assert await listed(api, operator) == letters[1:]


async def test_a_retry_is_refused_after_a_later_answer_unless_it_is_forced(
    api: httpx2.AsyncClient, operator: Mapping[str, str], letters: list[str], world: World
) -> None:
    await world.says("e agora?", ANA)
    refused = await api.post(f"{LETTERS}/{letters[0]}/retry", headers=operator, json={})
    assert (refused.status_code, "was answered" in refused.json()["detail"]) == (409, True)
    forced = await api.post(f"{LETTERS}/{letters[0]}/retry", headers=operator, json={"force": True})
    assert forced.status_code == 202


async def test_a_discarded_one_leaves_the_list_and_can_be_read(
    api: httpx2.AsyncClient, operator: Mapping[str, str], letters: list[str]
) -> None:
    discarded = await api.post(f"{LETTERS}/{letters[0]}/discard", headers=operator)
    again = await api.post(f"{LETTERS}/{letters[0]}/discard", headers=operator)
    assert (discarded.status_code, again.json()) == (200, discarded.json())
    assert await listed(api, operator) == letters[1:]
    assert (await api.get(f"{LETTERS}/{letters[0]}", headers=operator)).json()["handled_by"] == "Bia"


async def test_a_waiting_job_is_no_dead_letter(
    api: httpx2.AsyncClient, operator: Mapping[str, str], world: World
) -> None:
    await world.receives("oi")
    [row] = await world.rows("SELECT id FROM message_queue")
    answer = await api.post(f"{LETTERS}/{world.uuid(row['id'])}/discard", headers=operator)
    assert answer.status_code == 404
    await world.passes(2)
    assert world.sent_texts() == ["echo: oi"]


async def test_many_are_retried_by_a_worker_that_says_how_far_it_is(
    api: httpx2.AsyncClient, operator: Mapping[str, str], letters: list[str], world: World
) -> None:
    await world.take(BRUNO)
    headers = {**operator, "Idempotency-Key": "todas"}
    begun = await api.post(f"{LETTERS}/retry", headers=headers, json={"all": True})
    again = await api.post(f"{LETTERS}/retry", headers=headers, json={"all": True})
    assert (begun.status_code, begun.json()["state"], again.json()) == (202, "waiting", begun.json())
    await world.passes(2)
    done = (await api.get(f"{LETTERS}/operations/{begun.json()['id']}", headers=operator)).json()
    assert (done["state"], done["total"], done["succeeded"], done["refused"]) == ("done", 2, 1, 1)
    assert done["refusals"] == [{"id": letters[1], "why": "a person holds the conversation"}]
    assert (done["created_by"], world.sent_texts(ANA)) == ("Bia", [APOLOGY, "echo: oi"])


async def test_many_are_discarded_by_a_worker(
    api: httpx2.AsyncClient, operator: Mapping[str, str], letters: list[str], world: World
) -> None:
    begun = await api.post(f"{LETTERS}/discard", headers=operator, json={"ids": [letters[1], NOBODYS]})
    await world.passes(2)
    done = (await api.get(f"{LETTERS}/operations/{begun.json()['id']}", headers=operator)).json()
    assert (done["kind"], done["succeeded"], done["refused"]) == ("discard", 1, 1)
    assert await listed(api, operator) == letters[:1]


@pytest.mark.parametrize(
    "body", [{}, {"ids": []}, {"all": True, "ids": [NOBODYS]}, {"all": False}, {"ids": [NOBODYS], "name": "x"}]
)
async def test_which_ones_must_be_said(
    api: httpx2.AsyncClient, operator: Mapping[str, str], body: dict[str, object]
) -> None:
    for act in ("retry", "discard"):
        answer = await api.post(f"{LETTERS}/{act}", headers=operator, json=body)
        assert answer.status_code == 422, answer.text


async def test_a_viewer_may_only_read(api: httpx2.AsyncClient, viewer: Mapping[str, str], letters: list[str]) -> None:
    for path in (f"{letters[0]}/retry", f"{letters[0]}/discard", "retry", "discard"):
        assert (await api.post(f"{LETTERS}/{path}", headers=viewer, json={})).status_code == 403
    assert await listed(api, viewer) == letters


async def test_another_owner_s_are_not_found(
    api: httpx2.AsyncClient, callers: KnownCallers, stranger: UUID, letters: list[str]
) -> None:
    theirs = callers.role(stranger, "owner")
    assert await listed(api, theirs) == []
    for act in ("retry", "discard"):
        assert (await api.post(f"{LETTERS}/{letters[0]}/{act}", headers=theirs)).status_code == 404
