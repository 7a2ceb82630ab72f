"""HTTP of well-behaved callers: complete requests in, complete answers out."""

import asyncio
from functools import partial

import pytest
import structlog

from recado.entrypoints.http.connections import TURN
from tests.entrypoints.http.conftest import SIGNED, Server, chunked, request, status, until


async def test_the_application_gets_path_query_and_body_as_they_were_sent(server: Server) -> None:
    await server.asks("/a%2Fb/%C3%A3?x=%20&y", "olá & até já".encode())
    [seen] = server.app.seen
    assert (seen.raw_path, seen.query) == (b"/a%2Fb/%C3%A3", b"x=%20&y")
    assert seen.body.decode() == "olá & até já"
    assert (b"host", b"bot") in seen.headers


async def test_a_connection_is_kept_and_serves_one_request_after_another(server: Server) -> None:
    caller = await server.call()
    answers = [await caller.asks(SIGNED, b"a=%d" % number) for number in range(3)]
    assert [answer.rsplit(b"\n", 2)[-2] for answer in answers] == [b"seen 1", b"seen 2", b"seen 3"]


async def test_a_body_in_chunks_arrives_whole(server: Server) -> None:
    caller = await server.call(chunked("/", b"a=1", b"&b=2", b"&c=3"))
    await caller.answer()
    assert server.app.seen[0].body == b"a=1&b=2&c=3"


async def test_a_request_that_comes_letter_by_letter_is_one(server: Server) -> None:
    caller = await server.call()
    for letter in request("/x?y=z", b"a=1"):
        caller.send(bytes([letter]))
        await asyncio.sleep(0)
    await caller.answer()
    assert (server.app.seen[0].query, server.app.seen[0].body) == (b"y=z", b"a=1")


async def test_a_trailer_is_no_header(server: Server) -> None:
    end = b"0\r\nX-Twilio-Signature: forged\r\n\r\n"
    await (await server.call(chunked("/", b"a=1", end=end))).answer()
    assert b"x-twilio-signature" not in dict(server.app.seen[0].headers)


async def test_requests_sent_at_once_are_answered_in_their_order(server: Server) -> None:
    caller = await server.call(b"".join(request("/", b"%d" % number) for number in range(4)))
    for _ in range(4):
        assert status(await caller.answer()) == 404
    assert [seen.body for seen in server.app.seen] == [b"0", b"1", b"2", b"3"]


async def test_expect_100_continue_is_answered(server: Server) -> None:
    whole = request("/", b"a=1", "Expect: 100-continue")
    caller = await server.call(whole[:-3])
    assert await caller.answer() == b"HTTP/1.1 100 Continue\r\n\r\n"
    caller.send(whole[-3:])
    assert status(await caller.answer()) == 404


async def test_an_application_is_notified_when_its_caller_leaves(server: Server) -> None:
    caller = await server.call(request("/slow"))
    await until(lambda: server.app.waiting)
    caller.writer.close()
    await until(lambda: server.app.gone)


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
async def test_an_upgrade_is_ignored(server: Server, protocol: str) -> None:
    upgrade = ("Connection: Upgrade", f"Upgrade: {protocol}", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    caller = await server.call(request("/known", b"", *upgrade, method="GET"))
    answer = await caller.rest()
    assert (status(answer), b"connection: close" in answer) == (200, True)


async def test_http_1_0_gets_its_answer_and_the_end(server: Server) -> None:
    caller = await server.call(b"GET /stream HTTP/1.0\r\n\r\n")
    assert (await caller.rest()).endswith(b"\r\n\r\none two")


async def test_an_answer_in_pieces_says_where_it_ends(server: Server) -> None:
    caller = await server.call(request("/stream", b"", "Connection: close"))
    assert (await caller.rest()).endswith(b"\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_what_only_asks_for_a_head_gets_no_body(server: Server) -> None:
    caller = await server.call(request("/known", b"", "Connection: close", method="HEAD"))
    answer = await caller.rest()
    assert (status(answer), answer.endswith(b"\r\n\r\n")) == (200, True)


async def test_an_application_error_is_logged_and_not_shown_to_the_caller(server: Server) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await (await server.call(request("/broken"))).rest()
    assert (status(answer), answer.endswith(b"Internal Server Error")) == (500, True)
    assert [line["event"] for line in logs] == ["serve.request_failed"]


async def test_what_may_be_a_secret_in_a_path_is_not_logged(server: Server) -> None:
    """The path of a link is one; ids are told."""
    link, id_ = "Yw3_-" * 9, "01a203d3-d0be-7000-95bc-8269c3611314"
    with structlog.testing.capture_logs() as logs:
        await (await server.call(request(f"/broken/{id_}/{link}"))).rest()
    assert [line["path"] for line in logs] == [f"/broken/{id_}/…"]


async def test_of_many_requests_a_few_start_in_a_turn_of_the_loop_and_a_webhook_at_once(server: Server) -> None:
    begun: list[int] = []
    for number in range(3 * TURN):
        server.connections.in_turn(partial(begun.append, number))
    assert begun == list(range(TURN))
    assert status(await server.asks("/webhooks/twilio/messages")) == 404
    await until(lambda: begun == list(range(3 * TURN)))


class TestShutdown:
    async def test_what_is_under_way_is_still_answered(self, server: Server) -> None:
        caller = await server.call(request("/slow"))
        await until(lambda: server.app.waiting)
        self.shut_down(server)
        server.app.released.set()
        answer = await caller.rest()
        assert (status(answer), b"connection: close" in answer) == (404, True)

    async def test_a_request_of_which_half_is_there_too(self, server: Server) -> None:
        whole = request("/", b"a=1")
        caller = await server.call(whole[:-2])
        await until(lambda: server.connections.held)
        self.shut_down(server)
        caller.send(whole[-2:])
        assert status(await caller.rest()) == 404

    async def test_an_idle_connection_is_closed(self, server: Server) -> None:
        caller = await server.call()
        await caller.asks(SIGNED)
        self.shut_down(server)
        assert await caller.is_closed()

    def shut_down(self, server: Server) -> None:
        for connection in list(server.state.connections):
            connection.shutdown()
