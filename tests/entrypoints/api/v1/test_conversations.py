"""Conversations, contacts and messages over HTTP: who may, what is shown, and what is refused."""

from collections.abc import Mapping
from uuid import UUID

import httpx2
import pytest

from recado.conversation.ports import AgentResult, Reply, TurnContext
from recado.identity.permissions import OF_ROLE
from tests.support.callers import KnownCallers
from tests.world import ANA, BRUNO, OURS, World

ON_BOTH_DATABASES = True

NOBODY = "01a203d3-d0be-7000-95bc-8269c3611314"


@pytest.fixture
async def id_(world: World) -> str:
    """Ana's conversation."""
    await world.says("oi")
    return str((await world.conversation(ANA)).id)


@pytest.fixture
def operator(callers: KnownCallers, world: World) -> Mapping[str, str]:
    return callers.role(world.owner_id, "operator")


@pytest.fixture
def viewer(callers: KnownCallers, world: World) -> Mapping[str, str]:
    return callers.role(world.owner_id, "viewer")


@pytest.fixture
def theirs(callers: KnownCallers, stranger: UUID) -> Mapping[str, str]:
    return callers.role(stranger, "admin")


async def test_are_listed_filtered_and_searched(
    api: httpx2.AsyncClient, viewer: Mapping[str, str], id_: str, world: World
) -> None:
    await world.says("tem bolo?", BRUNO)
    await world.take(BRUNO)

    async def listed(query: str = "") -> list[str]:
        answer = await api.get(f"/api/v1/conversations?{query}", headers=viewer)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["items"]]

    bruno = str((await world.conversation(BRUNO)).id)
    assert await listed() == [bruno, id_]
    assert await listed("held_by=person") == await listed("text=bolo") == [bruno]
    assert await listed(f"number_id={world.address_id}&status=open&held_by=agent") == [id_]
    assert await listed("waiting=true") == await listed("status=closed") == []
    first = (await api.get("/api/v1/conversations?limit=1", headers=viewer)).json()
    rest = (await api.get(f"/api/v1/conversations?limit=1&cursor={first['next_cursor']}", headers=viewer)).json()
    assert [first["items"][0]["id"], rest["items"][0]["id"], rest["next_cursor"]] == [bruno, id_, None]
    [search] = await world.rows("SELECT detail FROM audit_entries WHERE action = 'conversation.searched'")
    assert (bruno in str(search["detail"]), id_ in str(search["detail"])) == (True, False)
    for query in ("status=gone", "cursor=nonsense", "text=%3F"):
        assert (await api.get(f"/api/v1/conversations?{query}", headers=viewer)).status_code == 422


async def test_are_read_word_for_word_and_that_is_written_down(
    api: httpx2.AsyncClient, viewer: Mapping[str, str], id_: str, world: World
) -> None:
    read = (await api.get(f"/api/v1/conversations/{id_}", headers=viewer)).json()
    assert (read["id"], read["address"], read["held_by"]) == (id_, ANA.value, "agent")
    page = (await api.get(f"/api/v1/conversations/{id_}/messages", headers=viewer)).json()
    assert [(each["author"], each["text"], each["state"]) for each in page["items"]] == [
        ("customer", "oi", "answered"),
        ("agent", "echo: oi", "accepted"),
    ]
    latest = await api.get(f"/api/v1/conversations/{id_}/messages?order=newest&limit=1", headers=viewer)
    assert latest.json()["items"] == page["items"][1:]
    assert len(await world.rows("SELECT id FROM audit_entries WHERE action = 'conversation.read'")) == 3


async def test_a_person_takes_replies_assigns_gives_back_and_closes(
    api: httpx2.AsyncClient, operator: Mapping[str, str], id_: str, world: World
) -> None:
    async def does(deed: str, body: object = None, status: int = 200) -> dict[str, object]:
        answer = await api.post(f"/api/v1/conversations/{id_}/{deed}", headers=operator, json=body)
        assert answer.status_code == status, answer.text
        document: dict[str, object] = answer.json()
        return document

    assert (await does("replies", {"text": "oi"}, 409))["code"] == "conversation.held_by_agent"
    assert (await does("take"))["held_by"] == "person"
    assert (await does("take", None, 409))["code"] == "conversation.illegal_transition"
    replied = await does("replies", {"text": "oi, aqui é a Rita"}, 202)
    assert (replied["conversation_id"], replied["state"]) == (id_, "waiting")
    await world.work()
    assert world.sent_texts() == ["echo: oi", "oi, aqui é a Rita"]
    [user] = await world.rows("SELECT id FROM users WHERE owner_id = :owner", owner=world.owner_id)
    assigned = await does("assign", {"user_id": str(world.uuid(user["id"]))})
    assert assigned["assignee_name"] == "dona@padaria.example"
    assert (await does("assign", {"user_id": NOBODY}, 404))["status"] == 404
    assert (await does("assign", {"user_id": None}))["assignee_id"] is None
    assert (await does("release"))["held_by"] == "agent"
    closed = await does("close", {"reason": "resolvido"})
    assert (closed["status"], closed["closed_reason"]) == ("closed", "resolvido")
    assert (await does("close", None, 409))["code"] == "conversation.closed"
    assert (await does("replies", {"text": "oi", "take": True}, 409))["code"] == "conversation.closed"


async def test_a_reply_that_comes_again_with_its_key_is_sent_once(
    api: httpx2.AsyncClient, operator: Mapping[str, str], id_: str, world: World
) -> None:
    headers = {**operator, "Idempotency-Key": "reply-1"}
    body = {"text": "oi, aqui é a Rita", "take": True}
    first = await api.post(f"/api/v1/conversations/{id_}/replies", headers=headers, json=body)
    again = await api.post(f"/api/v1/conversations/{id_}/replies", headers=headers, json=body)
    await world.work()
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    assert world.sent_texts() == ["echo: oi", "oi, aqui é a Rita"]


async def test_a_message_begins_with_us(
    api: httpx2.AsyncClient, operator: Mapping[str, str], id_: str, world: World
) -> None:
    body = {"from": OURS.value, "to": ANA.value, "text": "seu pedido saiu"}
    headers = {**operator, "Idempotency-Key": "pedido-1"}
    sent = await api.post("/api/v1/messages", headers=headers, json=body)
    again = await api.post("/api/v1/messages", headers=headers, json=body)
    await world.work()
    assert (sent.status_code, sent.json()["conversation_id"], again.json()) == (202, id_, sent.json())
    assert world.sent_texts() == ["echo: oi", "seu pedido saiu"]
    other = await api.post("/api/v1/messages", headers=headers, json={**body, "text": "outro"})
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"to": BRUNO.value}, 409, "conversation.window_closed"),
        ({"from": "whatsapp:+5511900000099"}, 422, "conversation.unknown_number"),
        ({"to": "nobody"}, 422, "core.invalid_input"),
        ({"text": ""}, 422, None),
    ],
)
async def test_a_message_that_cannot_be_sent_is_refused(
    api: httpx2.AsyncClient,
    operator: Mapping[str, str],
    id_: str,  # noqa: ARG001 - Ana has written
    change: Mapping[str, str],
    status: int,
    code: str | None,
) -> None:
    body = {"from": OURS.value, "to": ANA.value, "text": "oi"} | dict(change)
    answer = await api.post("/api/v1/messages", headers=operator, json=body)
    assert answer.status_code == status, answer.text
    assert code in (None, answer.json()["code"])


async def test_contacts_are_found_named_blocked_and_opted_out(
    api: httpx2.AsyncClient, operator: Mapping[str, str], id_: str, world: World
) -> None:
    contact_id = str((await world.conversation(ANA)).contact_id)
    [found] = (await api.get("/api/v1/contacts?address=whatsapp:%2B551187654321", headers=operator)).json()["items"]
    assert (found["id"], found["addresses"]) == (contact_id, [ANA.value])
    named = await api.patch(
        f"/api/v1/contacts/{contact_id}", headers={**operator, "If-Match": "*"}, json={"name": "Ana Maria"}
    )
    assert named.json()["name"] == "Ana Maria"
    for deed, field, is_set in (
        ("block", "blocked_at", True), ("unblock", "blocked_at", False),
        ("opt-out", "opted_out_at", True), ("opt-in", "opted_out_at", False),
    ):  # fmt: skip
        answer = await api.post(f"/api/v1/contacts/{contact_id}/{deed}", headers=operator)
        assert (answer.status_code, answer.json()[field] is not None) == (200, is_set)
    assert (await api.get(f"/api/v1/contacts/{contact_id}", headers=operator)).json()["id"] == contact_id
    assert id_


async def test_a_contact_is_not_overwritten_by_who_has_not_seen_it(
    api: httpx2.AsyncClient, operator: Mapping[str, str], id_: str, world: World
) -> None:
    path = f"/api/v1/contacts/{(await world.conversation(ANA)).contact_id}"
    read = {"If-Match": (await api.get(path, headers=operator)).headers["etag"]}
    first = await api.patch(path, headers={**operator, **read}, json={"name": "Ana Maria"})
    second = await api.patch(path, headers={**operator, **read}, json={"name": "Ana Paula"})
    third = await api.patch(path, headers=operator, json={"name": "Ana Paula"})
    assert [each.status_code for each in (first, second, third)] == [200, 412, 428]
    assert (await api.get(path, headers=operator)).headers["etag"] == first.headers["etag"]
    assert (await api.post(f"{path}/block", headers={**operator, **read})).status_code == 412
    blocked = await api.post(f"{path}/block", headers={**operator, "If-Match": first.headers["etag"]})
    assert (blocked.json()["blocked_by"], blocked.json()["name"], id_ != "") == ("Bia", "Ana Maria", True)


async def test_a_deed_can_be_meant_for_a_conversation_as_it_was_read(
    api: httpx2.AsyncClient, operator: Mapping[str, str], id_: str, world: World
) -> None:
    path = f"/api/v1/conversations/{id_}"
    read = {"If-Match": (await api.get(path, headers=operator)).headers["etag"]}
    await world.says("e agora?", ANA)
    taken = await api.post(f"{path}/take", headers={**operator, **read})
    assert taken.status_code == 200, "what the customer writes is no other state"
    for deed, body in (("assign", {"user_id": None}), ("close", None), ("release", None)):
        answer = await api.post(f"{path}/{deed}", headers={**operator, **read}, json=body)
        assert (answer.status_code, answer.json()["code"]) == (412, "api.changed_meanwhile"), deed
    assert (await world.conversation(ANA)).held_by == "person"
    now = {"If-Match": taken.headers["etag"]}
    assert (await api.post(f"{path}/release", headers={**operator, **now})).status_code == 200


async def test_drafts_are_listed_with_why_they_were_not_sent(
    api: httpx2.AsyncClient, viewer: Mapping[str, str], theirs: Mapping[str, str], id_: str, world: World
) -> None:
    async def taken_meanwhile(turn: TurnContext) -> AgentResult:
        await world.take()
        return Reply(f"late: {turn.text}")

    world.agents.will(taken_meanwhile)
    await world.says("e agora?")
    [draft] = (await api.get("/api/v1/drafts", headers=viewer)).json()["items"]
    assert (draft["text"], draft["conversation_id"]) == ("late: e agora?", id_)
    assert draft["why"] == "held by person meanwhile"
    assert (await api.get("/api/v1/drafts", headers=theirs)).json()["items"] == []
    assert (await api.get("/api/v1/drafts")).status_code == 401


def routes(conversation_id: str, contact_id: str) -> list[tuple[str, str]]:
    conversation, contact = f"/api/v1/conversations/{conversation_id}", f"/api/v1/contacts/{contact_id}"
    return [
        *(("GET", path) for path in (conversation, f"{conversation}/messages", contact)),
        *(("POST", f"{conversation}/{deed}") for deed in ("take", "release", "close", "assign", "replies")),
        *(("POST", f"{contact}/{deed}") for deed in ("block", "unblock", "opt-out", "opt-in")),
        ("PATCH", contact),
    ]


async def test_a_stranger_finds_nothing_and_changes_nothing(
    api: httpx2.AsyncClient, theirs: Mapping[str, str], operator: Mapping[str, str], id_: str, world: World
) -> None:
    before = await world.conversation(ANA)
    for headers, conversation, contact in ((theirs, id_, str(before.contact_id)), (operator, NOBODY, NOBODY)):
        for method, path in routes(conversation, contact):
            answer = await api.request(method, path, headers=headers, content=b"{nonsense")
            assert answer.status_code == 404, (method, path)
            assert "recado " not in answer.json()["detail"], "whoever calls has no shell of the installation"
    assert await world.conversation(ANA) == before
    assert (await api.get("/api/v1/conversations", headers=theirs)).json()["items"] == []
    assert (await api.get("/api/v1/conversations?text=oi&status=all", headers=theirs)).json()["items"] == []
    assert (await api.get("/api/v1/contacts", headers=theirs)).json()["items"] == []


async def test_who_is_not_known_gets_in_nowhere_and_who_only_reads_changes_nothing(
    api: httpx2.AsyncClient, viewer: Mapping[str, str], id_: str, world: World
) -> None:
    everything = [
        *routes(id_, str((await world.conversation(ANA)).contact_id)),
        ("GET", "/api/v1/conversations"), ("GET", "/api/v1/contacts"), ("POST", "/api/v1/messages"),
    ]  # fmt: skip
    assert "conversations.write" not in OF_ROLE["viewer"]
    for method, path in everything:
        assert (await api.request(method, path, content=b"{nonsense")).status_code == 401, path
        status = (await api.request(method, path, headers=viewer, content=b"{nonsense")).status_code
        assert status == (200 if method == "GET" else 403), (method, path)
