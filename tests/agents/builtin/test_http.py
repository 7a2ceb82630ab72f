"""An owner's own agent behind HTTP: asked with a signature, believed only within limits."""

import asyncio
import gzip
import hashlib
import hmac
import ipaddress
import json
import threading
from dataclasses import replace
from uuid import UUID

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from recado.agents.builtin.http import HttpAgent
from recado.agents.models import AgentForm
from recado.agents.runner import AgentRunner
from recado.agents.service import AgentService
from recado.conversation.errors import AgentFailed
from recado.conversation.ports import Agent, AgentResult, HandOff, HistoryEntry, NoReply, Reply
from recado.core.clock import FrozenClock
from recado.core.errors import InvalidInput
from recado.core.outbound.addresses import is_not_metadata, is_public
from recado.core.outbound.http_clients import HttpClients, Reach
from recado.identity.principal import operator_of
from tests.agents.conftest import Turns
from tests.agents.fakes import setup_of
from tests.agents.loopback import Loopback, dripping
from tests.support.callers import admin_of

PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",  # noqa: S104
    "255.255.255.255", "240.0.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1",
    "168.63.129.16", "100.100.100.200", "192.0.0.192", "192.0.0.9", "192.88.99.1", "198.18.0.1", "203.0.113.1",
    "161.26.0.10", "166.9.1.1", "192.80.8.124", "fec0::1", "feff::1", "3fff::1", "3fff:fff:ffff::1", "5f00::1",
    "100::1", "4000::1", "::7f00:1", "::ffff:168.63.129.16", "::ffff:0:7f00:1", "64:ff9b::a83f:8110",
    "64:ff9b:1::101:101", "2002:101:101::", "2001:0:101:101::", "2001:2::1", "2001:20::1", "fd20:ce::254",
    "fe80::a9fe:a9fe", "fe80::1%eth0",
]  # fmt: skip
METADATA = [
    "169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "169.254.170.2", "fd00:ec2::254",
    "fd20:ce::254", "fe80::a9fe:a9fe", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
]  # fmt: skip
SPELLINGS = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "localhost",
    "LocalHost.", "api.localhost", "127。0。0。1", "１２７.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
]  # fmt: skip


class Asker:
    """Runs the http agent as the worker does."""

    def __init__(self, runner: AgentRunner, service: AgentService, owner: UUID, turn_of: Turns) -> None:
        self._runner, self._service, self._owner, self.turn_of = runner, service, owner, turn_of
        self.secret = ""

    async def ask(self, url: str, *texts: str, seconds: float = 30, allow_private: bool | None = None) -> AgentResult:
        form = AgentForm("http", url=url, allow_private=allow_private)
        saved = await self._service.set(operator_of(self._owner, "rita"), form)
        self.secret = saved.secret or self.secret
        return await self._runner.run(await self.agent(), self.turn_of(*(texts or ("oi",)), seconds=seconds), 5)

    async def agent(self) -> Agent:
        return await self._runner.agent_for(self._owner)


@pytest.fixture
def asker(runner: AgentRunner, service: AgentService, owner: UUID, turn_of: Turns) -> Asker:
    return Asker(runner, service, owner, turn_of)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ({"type": "reply", "text": "Olá 👋"}, Reply("Olá 👋")),
        ({"type": "reply", "text": "Olá", "confidence": 0.9}, Reply("Olá")),
        ({"type": "reply", "text": "Tchau!", "closes": True}, Reply("Tchau!", closes=True)),
        ({"type": "hand_off", "reason": "angry", "notice": "Um momento"}, HandOff("angry", "Um momento")),
        ({"type": "hand_off", "reason": "angry"}, HandOff("angry")),
        ({"type": "no_reply"}, NoReply()),
    ],
)
async def test_a_typed_answer_is_taken(asker: Asker, server: Loopback, said: object, answer: AgentResult) -> None:
    server.says(said)
    assert await asker.ask(server.url) == answer


async def test_a_trace_is_handed_on(runner: AgentRunner, asker: Asker, server: Loopback) -> None:
    server.says({"type": "no_reply"}, {"type": "no_reply"})
    await asker.ask(server.url)
    turn = replace(asker.turn_of("oi"), trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    await runner.run(await asker.agent(), turn, 5)
    assert server.asked[-1].headers["traceparent"] == turn.trace


async def test_the_turn_is_sent_signed(asker: Asker, server: Loopback, clock: FrozenClock) -> None:
    server.says({"type": "no_reply"})
    await asker.ask(server.url + "/hook?a=b", "oi", "tem pão?")
    asked = server.asked[0]
    signed = f"{int(clock.now().timestamp())}.".encode() + asked.body
    mac = hmac.new(asker.secret.encode(), signed, hashlib.sha256).hexdigest()
    assert asked.headers["recado-signature"] == f"t={int(clock.now().timestamp())},v1={mac}"
    assert asked.headers["idempotency-key"] == str(UUID(int=4))
    assert "traceparent" not in asked.headers
    sent = json.loads(asked.body)
    assert [message["text"] for message in sent["messages"]] == ["oi", "tem pão?"]
    assert (sent["turn_id"], sent["contact"]["name"], sent["locale"]) == (str(UUID(int=4)), "Ana", "pt-BR")


async def test_history_is_cut_to_the_owners_limit(
    runner: AgentRunner, service: AgentService, owner: UUID, turn_of: Turns, server: Loopback, clock: FrozenClock
) -> None:
    server.says({"type": "no_reply"})
    history = tuple(HistoryEntry("customer", str(n), clock.now()) for n in range(5))
    for limit in (2, 0):
        await service.set(operator_of(owner, "rita"), AgentForm("http", url=server.url, history_limit=limit))
        await runner.run(await runner.agent_for(owner), turn_of("oi", history=history), 5)
    assert [[entry["text"] for entry in json.loads(asked.body)["history"]] for asked in server.asked] == [
        ["3", "4"],
        [],
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("not an object", "another shape"),
        ([], "another shape"),
        ({}, "another shape"),
        ({"type": "reply"}, "another shape"),
        ({"type": "reply", "text": 42}, "another shape"),
        ({"type": "reply", "text": "Tchau!", "closes": "no"}, "another shape"),
        ({"type": "reply", "text": ""}, "another shape"),
        ({"type": "reply", "text": "x" * 20_001}, "another shape"),
        ({"type": "reply", "text": "  "}, "invalid result"),
        ({"type": "reply", "text": "a\x00b"}, "invalid result"),
        ({"type": "shout", "text": "secret words"}, "another shape"),
        ({"type": "hand_off", "reason": None}, "another shape"),
        (Response(b'{"type": "reply", "text"', media_type="application/json"), "another shape"),
        (Response(b'{"type":"reply","text":"\\ud83d"}', media_type="application/json"), "another shape"),
        (Response(b"\xff\xfe", media_type="application/json"), "another shape"),
        (Response(b"", media_type="application/json"), "another shape"),
        (Response(b'{"type":"no_reply"}', media_type="text/html"), "application/json"),
        (Response(b'{"type":"no_reply"}'), "application/json"),
        (Response(b" " * 1_000_000, media_type="application/json"), "more than 64 KB"),
        (dripping(100, 10_000), "more than 64 KB"),
        (
            Response(
                gzip.compress(b" " * 10_000_000), media_type="application/json", headers={"Content-Encoding": "gzip"}
            ),
            "compressed",
        ),
    ],
    ids=range(21),
)
async def test_an_invalid_result_fails_the_turn_and_is_not_quoted(
    asker: Asker, server: Loopback, said: object, reason: str
) -> None:
    server.says(said)
    with pytest.raises(AgentFailed, match=reason) as failure:
        await asker.ask(server.url)
    assert "secret words" not in failure.value.reason


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(500, True), (503, True), (429, True), (400, False), (401, False), (404, False), (204, False)],
)
async def test_a_refusal_says_whether_another_try_may_help(
    asker: Asker, server: Loopback, status: int, retryable: bool
) -> None:
    server.says(Response(status_code=status))
    with pytest.raises(AgentFailed, match=f"answered {status}") as failure:
        await asker.ask(server.url)
    assert failure.value.retryable is retryable


async def test_a_redirect_is_not_followed(asker: Asker, server: Loopback) -> None:
    server.says(RedirectResponse(f"{server.url}/elsewhere", 307))
    with pytest.raises(AgentFailed, match="answered 307"):
        await asker.ask(server.url + "/here")
    assert [asked.path for asked in server.asked] == ["/here"]


async def test_a_slow_server_is_left_at_the_deadline(asker: Asker, server: Loopback) -> None:
    gone = threading.Event()

    async def slow(_request: Request) -> Response:
        await asyncio.to_thread(gone.wait)
        return JSONResponse({"type": "no_reply"})

    server.says(slow)
    with pytest.raises(AgentFailed, match="took too long"):
        await asker.ask(server.url, seconds=0.1)
    gone.set()


async def test_a_deadline_that_has_passed_asks_nobody(asker: Asker, server: Loopback) -> None:
    server.says({"type": "no_reply"})
    with pytest.raises(AgentFailed, match="took too long"):
        await asker.ask(server.url, seconds=-1)
    assert server.asked == []


async def test_a_server_that_is_not_there_may_be_there_later(asker: Asker) -> None:
    with pytest.raises(AgentFailed, match="could not be reached") as failure:
        await asker.ask("http://127.0.0.1:1/")
    assert failure.value.retryable


async def test_a_url_of_an_older_release_that_cannot_be_called_is_not_tried_again(
    runner: AgentRunner, service: AgentService, owner: UUID, turn_of: Turns
) -> None:
    await service.set(operator_of(owner, "rita"), AgentForm("http", url="https://agent.example/"))
    setup = await setup_of(runner, service, owner)
    agent = HttpAgent(replace(setup, settings=replace(setup.settings, url="https://300.1.1.1/")))
    with pytest.raises(AgentFailed, match="cannot be called") as failure:
        await runner.run(agent, turn_of("oi"), 5)
    assert not failure.value.retryable


class TestTheGuard:
    @pytest.mark.parametrize("address", PRIVATE)
    def test_knows_private_addresses_in_every_disguise(self, address: str) -> None:
        assert not is_public(ipaddress.ip_address(address))

    @pytest.mark.parametrize(
        "address", ["1.1.1.1", "200.160.2.3", "2606:4700::1111", "2a00:1450:4003::1", "64:ff9b::101:101"]
    )
    def test_knows_public_ones(self, address: str) -> None:
        assert is_public(ipaddress.ip_address(address))

    async def test_stops_a_private_address_when_it_is_dialled(
        self, runner: AgentRunner, service: AgentService, owner: UUID, turn_of: Turns, server: Loopback
    ) -> None:
        server.says({"type": "no_reply"})
        await service.set(operator_of(owner, "rita"), AgentForm("http", url=server.url))
        agent = HttpAgent(await setup_of(runner, service, owner, allow_private=False))
        with pytest.raises(AgentFailed, match="not public") as failure:
            await runner.run(agent, turn_of("oi"), 5)
        assert not failure.value.retryable
        assert server.asked == []

    async def test_stops_a_name_that_leads_to_a_private_address(self, server: Loopback) -> None:
        clients = HttpClients()
        server.says({"type": "no_reply"})
        with pytest.raises(Exception, match="not public"):
            await clients.client("public").post(server.url.replace("127.0.0.1", "localhost"))
        assert server.asked == []
        await clients.close_loop_clients()

    async def test_lets_pass_what_the_operator_allowed(self, asker: Asker, server: Loopback) -> None:
        server.says({"type": "no_reply"})
        assert await asker.ask(server.url) == NoReply()
        assert await asker.ask(server.url.replace("127.0.0.1", "localhost")) == NoReply()

    @pytest.mark.parametrize("host", SPELLINGS)
    async def test_knows_every_spelling_of_an_address(self, service: AgentService, owner: UUID, host: str) -> None:
        with pytest.raises(InvalidInput, match="private address"):
            await service.set(admin_of(owner), AgentForm("http", url=f"https://{host}/hook"))

    @pytest.mark.parametrize("address", METADATA)
    async def test_lets_not_even_the_operator_name_a_clouds_metadata(
        self, service: AgentService, owner: UUID, address: str
    ) -> None:
        host = f"[{address}]" if ":" in address else address
        form = AgentForm("llm", model="m", base_url=f"http://{host}/latest", allow_private=True)
        with pytest.raises(InvalidInput, match="machine's own keys"):
            await service.set(operator_of(owner, "rita"), form)

    @pytest.mark.parametrize("address", METADATA)
    def test_dials_no_metadata_for_an_agent_that_may_go_anywhere(self, address: str) -> None:
        assert not is_not_metadata(ipaddress.ip_address(address))

    async def test_uses_no_proxy_of_the_environment(
        self, asker: Asker, server: Loopback, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        server.says({"type": "no_reply"})
        assert await asker.ask(server.url) == NoReply()


async def test_clients_are_shared_within_a_loop() -> None:
    clients = HttpClients()
    assert clients.client("public") is clients.client("public")
    assert clients.client("public") is not clients.client("anywhere")
    first = clients.client("provider")
    await clients.close_loop_clients()
    assert first.is_closed
    assert not clients.client("provider").is_closed
    await clients.close_loop_clients()


@pytest.mark.parametrize("reach", ["anywhere", "provider"])
async def test_a_shared_client_keeps_no_cookie(server: Loopback, reach: Reach) -> None:
    """Owners share it: the cookie that one owner's server sets would go to the other's at the same domain."""
    clients = HttpClients()
    server.says(Response(headers={"Set-Cookie": "whose=padaria"}))
    for _ in range(2):
        await clients.client(reach).post(server.url)
    await clients.close_loop_clients()
    assert [asked.headers.get("cookie") for asked in server.asked] == [None, None]
