"""What is looked at before a route's own function, and in which order."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import httpx2
import pytest
from fastapi import Response

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import NotFound
from recado.core.ids import UuidV7
from recado.entrypoints.api.door.authentication import Callers
from recado.entrypoints.api.door.etags import IfMatch, tagged
from recado.entrypoints.api.door.models import Cursor, Input, Limit, Output, PageOf
from recado.entrypoints.api.door.openapi import Api, problems
from recado.entrypoints.api.door.problems import add_problems
from recado.entrypoints.api.door.rates import Rates
from recado.entrypoints.api.door.routes import Door
from recado.identity.idempotency.service import IdempotencyService
from recado.identity.principal import Principal
from tests.support.callers import KnownCallers

MINE, THEIRS = UUID(int=1), UUID(int=2)
THING = UUID(int=7)
URL = "https://recado.example"


class Words(Input):
    text: str


class Thing(Output):
    text: str


class Things:
    """One thing of one owner."""

    def __init__(self) -> None:
        self.text = "uma coisa"

    async def require(self, owner_id: UUID, thing_id: UUID) -> None:
        if (owner_id, thing_id) != (MINE, THING):
            raise NotFound(f"there is no thing {thing_id}")


def app_of(door: Door, things: Things) -> Api:
    router = door.router("things")

    @router.get("/things")
    async def listed(
        principal: Annotated[Principal, door.allows("numbers.read")], limit: Limit = 50, cursor: Cursor = None
    ) -> PageOf[Thing]:
        return PageOf(items=[Thing(text=principal.name)][:limit], next_cursor=cursor)

    @router.patch("/things/{thing_id}", responses=problems(412, 428))
    async def change(
        principal: Annotated[Principal, door.allows("numbers.write", knows=things.require)],  # noqa: ARG001
        thing_id: UUID,  # noqa: ARG001
        body: Words,
        if_match: IfMatch,
        response: Response,
    ) -> Thing:
        if_match.check(Thing(text=things.text))
        things.text = body.text
        return tagged(response, Thing(text=things.text))

    @router.post("/open", dependencies=[door.anyone("it is a test")])
    async def let_in() -> Thing:
        return Thing(text="aberto")

    @router.get("/fault")
    async def fault(principal: Annotated[Principal, door.signed_in()]) -> Thing:
        raise ValueError(principal.name)

    app = Api()
    add_problems(app)
    app.include_router(router, prefix="/api/v1")
    return app


@pytest.fixture
def callers() -> KnownCallers:
    return KnownCallers()


@pytest.fixture
def door(callers: KnownCallers, database: Database, clock: FrozenClock, ids: UuidV7) -> Door:
    return Door(Callers(callers, URL), Rates(clock), IdempotencyService(database, clock, ids))


@pytest.fixture
async def client(door: Door) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app_of(door, Things()), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=f"{URL}/api/v1") as client:
        yield client


def told(answer: httpx2.Response) -> tuple[int, str]:
    """The status and the code of a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["code"]


class TestTheOrder:
    """Each request has every fault of the ones after it."""

    async def test_first_who_calls(self, client: httpx2.AsyncClient) -> None:
        answer = await client.patch("/things/nothing?limit=x", content=b"{", headers={"Content-Type": "text/plain"})
        assert told(answer) == (401, "api.unauthenticated")
        assert answer.headers["www-authenticate"] == 'Bearer realm="recado"'

    async def test_then_what_they_may(self, client: httpx2.AsyncClient, callers: KnownCallers) -> None:
        answer = await client.patch("/things/nothing", content=b"{", headers=callers.role(MINE, "viewer"))
        assert told(answer) == (403, "identity.not_allowed")

    @pytest.mark.parametrize("path", ["nothing", str(UUID(int=8)), str(THING), "%00"])
    async def test_then_whose_it_is(self, client: httpx2.AsyncClient, callers: KnownCallers, path: str) -> None:
        answer = await client.patch(f"/things/{path}", content=b"{", headers=callers.role(THEIRS, "admin"))
        assert told(answer) == (404, "core.not_found")

    @pytest.mark.parametrize(
        "path", [f"-{THING.hex}", f"{THING.hex}-", f"{{{THING}}}", f"urn:uuid:{THING}", f"+{THING.hex}"]
    )
    async def test_a_text_that_is_no_id_is_nobody_s(
        self, client: httpx2.AsyncClient, callers: KnownCallers, path: str
    ) -> None:
        answer = await client.patch(f"/things/{path}", content=b"{", headers=callers.role(MINE, "admin"))
        assert told(answer) == (404, "core.not_found")

    async def test_a_path_with_a_slash_too_many_is_unknown(
        self, client: httpx2.AsyncClient, callers: KnownCallers
    ) -> None:
        """A redirection would lead to whatever the Host header says, and over http:// behind a proxy."""
        answer = await client.get("/things/", headers={**callers.role(MINE, "admin"), "Host": "evil.example"})
        assert told(answer)[0] == 404
        assert "location" not in answer.headers

    @pytest.mark.parametrize("content", [b"[]", b'{"text": 5}', b'{"text": "a", "more": 1}', b'{"text": "\\u0000"}'])
    async def test_then_the_body(self, client: httpx2.AsyncClient, callers: KnownCallers, content: bytes) -> None:
        headers = {**callers.role(MINE, "admin"), "Content-Type": "application/json", "If-Match": "*"}
        answer = await client.patch(f"/things/{THING}", content=content, headers=headers)
        assert told(answer) == (422, "core.invalid_input")
        assert all(each["field"].startswith("body") for each in answer.json()["errors"])

    async def test_what_is_right_passes(self, client: httpx2.AsyncClient, callers: KnownCallers) -> None:
        headers = {**callers.role(MINE, "admin"), "If-Match": "*"}
        answer = await client.patch(f"/things/{THING}", json={"text": "outra"}, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"text": "outra"})


class TestBodies:
    @pytest.mark.parametrize(
        ("content", "status"),
        [
            (b"{", 400),
            (b"[" * 100_000, 400),
            (b'{"text": ' + b"9" * 5_000 + b"}", 400),
            (b'{"\\ud800": "\\ud800"}', 422),
        ],
    )
    async def test_that_no_parser_likes_are_no_fault_of_ours(
        self, client: httpx2.AsyncClient, callers: KnownCallers, content: bytes, status: int
    ) -> None:
        headers = {**callers.role(MINE, "admin"), "Content-Type": "application/json", "If-Match": "*"}
        answer = await client.patch(f"/things/{THING}", content=content, headers=headers)
        assert told(answer)[0] == status

    async def test_that_are_no_json_are_told_where_they_break(
        self, client: httpx2.AsyncClient, callers: KnownCallers
    ) -> None:
        headers = {**callers.role(MINE, "admin"), "Content-Type": "application/json", "If-Match": "*"}
        answer = await client.patch(f"/things/{THING}", content=b'{"text": "a",}', headers=headers)
        assert told(answer) == (400, "api.unreadable")
        assert answer.json()["detail"] == "the body is no JSON: it breaks at character 13"

    @pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
    async def test_that_are_not_sent_as_json_are_told_how(
        self, client: httpx2.AsyncClient, callers: KnownCallers, kind: str | None
    ) -> None:
        """What curl sends without a header."""
        headers = {**callers.role(MINE, "admin"), "If-Match": "*", **({} if kind is None else {"Content-Type": kind})}
        answer = await client.patch(f"/things/{THING}", content=b'{"text": "a"}', headers=headers)
        assert told(answer) == (400, "api.unreadable")
        assert "Content-Type: application/json" in answer.json()["detail"]


class TestWhoCalls:
    @pytest.mark.parametrize("header", ["Bearer nobody", "Bearer", "Basic key-0", "key-0", "Bearer user-1"])
    async def test_is_known_by_a_valid_key_only(
        self, client: httpx2.AsyncClient, callers: KnownCallers, header: str
    ) -> None:
        callers.role(MINE, "owner")
        cookie = callers.session(MINE, "owner")
        answer = await client.get("/things", headers={**cookie, "Authorization": header})
        assert told(answer) == (401, "api.unauthenticated")

    async def test_is_known_until_the_key_ends(self, client: httpx2.AsyncClient, callers: KnownCallers) -> None:
        headers = callers.key(MINE, "numbers.read")
        assert (await client.get("/things", headers=headers)).json()["items"] == [{"text": "Bia"}]
        callers.forget()
        assert told(await client.get("/things", headers=headers)) == (401, "api.unauthenticated")

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Origin": "https://recado.example"}, 200),
            ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": "http://recado.example"}, 403),
            ({"Origin": "https://other.example", "Host": "other.example"}, 403),
            ({"Origin": "https://recado.example.evil.example"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({}, 403),
        ],
    )
    async def test_with_a_session_must_come_from_our_pages_to_change_something(
        self, client: httpx2.AsyncClient, callers: KnownCallers, headers: dict[str, str], status: int
    ) -> None:
        session = {**callers.session(MINE, "admin"), "If-Match": "*"}
        answer = await client.patch(f"/things/{THING}", json={"text": "a"}, headers=session | headers)
        assert answer.status_code == status
        assert (await client.get("/things", headers=session | headers)).status_code == 200


class TestTwoWhoEdit:
    async def test_the_second_must_have_seen_the_first(self, client: httpx2.AsyncClient, callers: KnownCallers) -> None:
        headers = callers.role(MINE, "admin")
        path = f"/things/{THING}"
        tag = (await client.patch(path, json={"text": "a"}, headers={**headers, "If-Match": "*"})).headers["etag"]
        first = await client.patch(path, json={"text": "b"}, headers={**headers, "If-Match": f'"x", {tag}'})
        second = await client.patch(path, json={"text": "c"}, headers={**headers, "If-Match": tag})
        assert (first.status_code, first.json()) == (200, {"text": "b"})
        assert told(second) == (412, "api.changed_meanwhile")

    async def test_each_must_say_what_it_has_seen(self, client: httpx2.AsyncClient, callers: KnownCallers) -> None:
        answer = await client.patch(f"/things/{THING}", json={"text": "a"}, headers=callers.role(MINE, "admin"))
        assert told(answer) == (428, "api.if_match_missing")


class TestProblems:
    async def test_tell_each_input_that_cannot_be_used(self, client: httpx2.AsyncClient, callers: KnownCallers) -> None:
        answer = await client.get("/things?limit=0", headers=callers.role(MINE, "viewer"))
        assert answer.json() == {
            "type": "about:blank",
            "title": "Unprocessable Entity",
            "status": 422,
            "code": "core.invalid_input",
            "detail": "query.limit: Input should be greater than or equal to 1",
            "errors": [{"field": "query.limit", "detail": "Input should be greater than or equal to 1"}],
        }

    async def test_of_a_query_that_the_route_does_not_read(
        self, client: httpx2.AsyncClient, callers: KnownCallers
    ) -> None:
        answer = await client.get("/things?limit=5&cursr=a", headers=callers.role(MINE, "viewer"))
        assert told(answer) == (422, "core.invalid_input")
        assert answer.json()["detail"] == "query.cursr: there is no such parameter; there are cursor, limit"

    async def test_of_a_query_with_nul(self, client: httpx2.AsyncClient, callers: KnownCallers) -> None:
        answer = await client.get("/things?cursor=%00", headers=callers.role(MINE, "viewer"))
        assert told(answer) == (422, "core.invalid_input")

    async def test_of_paths_and_methods(self, client: httpx2.AsyncClient) -> None:
        assert told(await client.get("/nothing")) == (404, "api.unknown_path")
        answer = await client.put("/things")
        assert told(answer) == (405, "api.method_not_allowed")
        assert answer.headers["allow"] == "GET"

    async def test_of_a_fault_say_nothing_of_it(self, client: httpx2.AsyncClient, callers: KnownCallers) -> None:
        answer = await client.get("/fault", headers=callers.role(MINE, "viewer"))
        assert told(answer) == (500, "core.error")
        assert "Bia" not in answer.text


class TestWhatCannotBeBuilt:
    def test_a_route_without_a_guard(self, door: Door) -> None:
        router = door.router("things")

        async def unguarded() -> None: ...

        with pytest.raises(RuntimeError, match="needs one of"):
            router.add_api_route("/things", unguarded)

    def test_a_body_of_a_thing_that_nobody_looks_for(self, door: Door) -> None:
        router = door.router("things")

        async def unknown(
            principal: Annotated[Principal, door.allows("numbers.write")], thing_id: UUID, body: Words
        ) -> None: ...

        with pytest.raises(RuntimeError, match="404"):
            router.add_api_route("/things/{thing_id}", unknown, methods=["PUT"])


class TestTheDescription:
    async def test_tells_permissions_and_every_status(self, door: Door) -> None:
        paths = app_of(door, Things()).openapi()["paths"]
        change = paths["/api/v1/things/{thing_id}"]["patch"]
        assert sorted(map(int, change["responses"])) == [200, 400, 401, 403, 404, 412, 413, 422, 428, 429, 503]
        assert change["x-permission"] == "numbers.write"
        assert change["responses"]["404"]["content"].keys() == {"application/problem+json"}
        assert set(paths["/api/v1/things"]["get"]["responses"]) == {"200", "401", "403", "422", "429", "503"}

    @pytest.mark.parametrize(
        ("url", "name"), [("https://a.example", "__Host-recado_session"), ("http://127.0.0.1:8000", "recado_session")]
    )
    def test_names_the_cookie_that_is_sent(self, url: str, name: str) -> None:
        schemes = Api(public_url=url).openapi()["components"]["securitySchemes"]
        assert schemes["session"] == {"type": "apiKey", "in": "cookie", "description": "Who is signed in", "name": name}

    async def test_names_what_is_open_and_why(self, door: Door) -> None:
        let_in = app_of(door, Things()).openapi()["paths"]["/api/v1/open"]["post"]
        assert (let_in["x-public"], let_in["security"]) == ("it is a test", [])
