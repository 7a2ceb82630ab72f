"""The limits for unknown callers: whatever is too large, too many or too late never reaches the application."""

import asyncio

import pytest
import structlog

from recado.core.metrics import Meters
from recado.entrypoints.http.limits import MAX_CONNECTIONS, Limits, connections_for
from tests.entrypoints.http.conftest import SIGNED, Caller, Server, chunked, request, serving, status, until

SMALL = Limits(
    head_bytes=2_000, head_lines=20, body_bytes=1_000, held_bytes=4_000, connections=4, leave_bytes=50_000, pipelined=2
)


@pytest.fixture
def limits() -> Limits:
    return SMALL


async def turned_away(server: Server, data: bytes) -> bytes:
    """Return the answer to a request that must not reach the application."""
    answer = await (await server.call(data)).rest()
    assert server.app.seen == []
    assert b"connection: close" in answer
    return answer


class TestHeads:
    @pytest.mark.parametrize(
        "head",
        [
            pytest.param(b"POST / HTTP/1.1\r\nX: " + b"a" * 40_000, id="endless header"),
            pytest.param(b"POST / HTTP/1.1\r\n" + b"a" * 40_000, id="endless name"),
            pytest.param(b"POST /" + b"a" * 40_000, id="endless URL"),
            pytest.param(b"\r\n" * 20_000, id="endless blank lines"),
            pytest.param(b"POST / HTTP/1.1\r\n" + b"a: b\r\n" * 5_000, id="many headers"),
            pytest.param(request("/", b"", *["a: b"] * 19), id="two headers too many"),
            pytest.param(request("/", b"", "X: " + "a" * 1_980), id="a little too large"),
        ],
    )
    async def test_too_large_ends_at_once(self, server: Server, head: bytes) -> None:
        assert status(await turned_away(server, head)) == 431
        assert server.refused() == {"head": 1}

    async def test_the_largest_allowed_head_is_accepted(self, server: Server) -> None:
        assert status(await server.asks("/" + "a" * 1_000)) == 404

    async def test_letter_by_letter_as_well(self, server: Server) -> None:
        caller = await server.call(b"POST / HTTP/1.1\r\nX: ")
        while not caller.reader.at_eof() and not server.refused():
            caller.send(b"aaaaaaaaaaaaaaaa")
            await asyncio.sleep(0)
        assert status(await caller.rest()) == 431

    async def test_a_caller_that_never_stops_sending_is_cut_off(self, server: Server) -> None:
        caller = await server.call(b"POST / HTTP/1.1\r\nX: ")
        with pytest.raises((ConnectionError, RuntimeError)):  # The second is uvloop's, for what was closed meanwhile.
            async with asyncio.timeout(60):
                while True:
                    caller.send(b"a" * 10_000)
                    await caller.writer.drain()


class TestBodies:
    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(request("/", b"a" * 1_001)[:-1_001], id="by its length, before it comes"),
            pytest.param(request("/", b"a" * 1_001, "Expect: 100-continue")[:-1_001], id="before it is asked for"),
            pytest.param(chunked("/", b"a" * 600, b"a" * 600, end=b""), id="in chunks"),
            pytest.param(chunked("/", *[b"a"] * 990, end=b""), id="in chunks of a letter"),
            pytest.param(chunked("/", b"a", end=b"1;" + b"x" * 5_000), id="an endless chunk extension"),
            pytest.param(chunked("/", b"a", end=b"0\r\nX: " + b"x" * 5_000), id="an endless trailer"),
            pytest.param(chunked("/", b"a", end=b"0\r\n" + b"X: y\r\n" * 1_000), id="many trailers"),
        ],
    )
    async def test_too_large_ends_at_once(self, server: Server, data: bytes) -> None:
        assert status(await turned_away(server, data)) == 413
        assert server.refused() == {"body": 1}

    async def test_as_large_as_allowed_is_let_in(self, server: Server) -> None:
        assert status(await server.asks("/", b"a" * 1_000)) == 404

    async def test_one_that_is_cut_off_reaches_nothing(self, server: Server) -> None:
        with structlog.testing.capture_logs() as logs:
            for _ in range(10):
                caller = await server.call(request("/", b"a" * 900)[:-400])
                await until(lambda: server.connections.held)
                caller.writer.close()
                await until(lambda: not server.connections.held)
            server.pass_seconds(10)
        assert (server.app.seen, logs, server.connections.open) == ([], [], 0)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n", id="CONNECT"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", id="two lengths"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="a length below nothing"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", id="a length above all"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", id="smuggling"),
    ],
)
async def test_what_is_no_request_gets_400(server: Server, data: bytes) -> None:
    assert status(await turned_away(server, data)) == 400
    assert server.refused() == {"malformed": 1}


class TestTime:
    async def test_a_silent_connection_is_closed(self, server: Server) -> None:
        caller = await server.call()
        server.pass_seconds(4.0)
        assert not caller.reader.at_eof()
        server.pass_seconds(1.5)
        assert await caller.is_closed()
        assert server.refused() == {"silent": 1}

    @pytest.mark.parametrize(
        ("begun", "more", "seconds"),
        [(b"POST / HTTP/1.1\r\n", b"X: y\r\n", 5.0), (chunked("/", b"aaa", end=b""), b"3\r\naaa\r\n", 10.0)],
        ids=["head", "body"],
    )
    async def test_a_little_more_now_and_then_gains_nothing(
        self, server: Server, begun: bytes, more: bytes, seconds: float
    ) -> None:
        caller = await server.call(begun)
        await until(lambda: server.connections.held)
        for _ in range(int(seconds)):
            held = server.connections.held
            caller.send(more)
            await until(lambda held=held: server.connections.held > held or not server.connections.held)  # type: ignore[misc]
            server.pass_seconds(0.9)
        server.pass_seconds(1.5)
        assert status(await caller.rest()) == 408
        assert (server.refused(), server.app.seen) == ({"slow": 1}, [])

    async def test_a_request_with_the_application_is_not_silent(self, server: Server) -> None:
        caller = await server.call(request("/slow"))
        await until(lambda: server.app.waiting)
        server.pass_seconds(400)
        server.app.released.set()
        assert status(await caller.answer()) == 404

    async def test_an_idle_connection_of_a_stranger_is_closed(self, server: Server) -> None:
        caller = await server.call()
        await caller.asks("/known")
        server.pass_seconds(5.5)
        assert await caller.is_closed()
        assert server.refused() == {}

    async def test_one_that_carried_something_signed_is_kept_longer_than_a_proxy_does(self, server: Server) -> None:
        caller = await server.call()
        await caller.asks(SIGNED)
        server.pass_seconds(70)
        assert status(await caller.asks(SIGNED)) == 200
        server.pass_seconds(76)
        assert await caller.is_closed()


class TestManyConnections:
    async def test_at_the_limit_the_one_that_was_silent_longest_goes(self, server: Server) -> None:
        callers = [await server.call() for _ in range(4)]
        assert status(await server.asks(SIGNED)) == 200
        assert await callers[0].is_closed()
        assert [caller.reader.at_eof() for caller in callers[1:]] == [False] * 3
        assert server.refused() == {"crowded": 1}

    async def test_what_is_being_answered_or_was_signed_stays(self, server: Server) -> None:
        proxy = await server.call()
        await proxy.asks(SIGNED)
        under_way = await server.call(request("/slow"))
        await until(lambda: server.app.waiting)
        for _ in range(20):
            await server.call(b"POST / HTTP/1.1\r\n")
        assert (server.connections.open, server.refused()) == (4, {"crowded": 18})
        server.app.released.set()
        assert [status(await under_way.answer()), status(await proxy.asks(SIGNED))] == [404, 200]

    async def test_when_all_are_being_answered_the_new_one_is_closed(self, server: Server) -> None:
        for count in range(1, 5):
            await server.call(request("/slow"))
            await until(lambda count=count: server.app.waiting == count)  # type: ignore[misc]
        assert await (await server.call()).is_closed()
        assert (server.connections.open, server.app.waiting) == (4, 4)

    async def test_refusals_are_logged_in_one_line_from_time_to_time(self, server: Server) -> None:
        with structlog.testing.capture_logs() as logs:
            for _ in range(30):
                await server.call()
                server.connections.tick()
        told = [line["crowded"] for line in logs if line["event"] == "serve.refused"]
        assert (len(told) <= 4, sum(told) <= 26, server.refused()["crowded"]) == (True, True, 26)


class TestMemory:
    async def test_above_the_limit_of_all_the_one_that_holds_most_goes(self, meters: Meters) -> None:
        async with serving(Limits(body_bytes=3_000, held_bytes=8_000), meters) as server:
            most = await self.half(server, 2_900)
            others = [await self.half(server, 500) for _ in range(4)]
            last = await server.call(request("/", b"a" * 2_500)[:-1])
            assert status(await most.rest()) == 503
            assert server.refused() == {"memory": 1}
            last.send(b"a")
            assert status(await last.answer()) == 404
            assert [caller.reader.at_eof() for caller in others] == [False] * 4

    async def test_what_is_announced_counts_before_it_comes(self, meters: Meters) -> None:
        async with serving(Limits(held_bytes=1_000_000), meters) as server:
            callers = [await server.call(request("/", b"a" * 200_000)[:-200_000]) for _ in range(10)]
            await until(lambda: server.refused().get("memory", 0) >= 6)
            assert status(await callers[0].rest()) == 503
            assert server.connections.held <= 1_000_000

    async def test_it_holds_for_heads(self, meters: Meters) -> None:
        async with serving(Limits(held_bytes=20_000), meters) as server:
            for _ in range(8):
                await server.call(b"POST / HTTP/1.1\r\nX: " + b"a" * 8_000)
            await until(lambda: server.refused().get("memory", 0) >= 6)
            assert server.connections.held <= 20_000
            assert status(await server.asks(SIGNED)) == 200

    async def half(self, server: Server, size: int) -> Caller:
        held = server.connections.held
        caller = await server.call(request("/", b"a" * (size + 1))[:-1])
        await until(lambda: server.connections.held >= held + size)
        return caller


class TestCallersWhoDoNotRead:
    async def test_only_so_many_requests_wait_for_the_one_before(self, server: Server) -> None:
        caller = await server.call(request("/slow") + request("/known") * 40)
        await until(lambda: server.refused() == {"pipelined": 1})
        server.app.released.set()
        answers = await caller.rest()
        assert answers.count(b"HTTP/1.1 ") == 3
        assert len(server.app.seen) == 3

    async def test_one_answer_at_most_waits_to_be_read(self, server: Server) -> None:
        large = 20 * 1024 * 1024  # More than a kernel takes.
        caller = await server.call(request(f"/large/{large}") * 2)
        await until(lambda: server.app.seen)
        caller.send(request("/known"))
        server.pass_seconds(10)
        assert len(server.app.seen) == 1
        server.pass_seconds(6)
        await until(lambda: not server.connections.open)
        assert (server.refused(), len(server.app.seen)) == ({"unread": 1}, 1)

    async def test_at_the_limit_they_go_before_others(self, server: Server) -> None:
        proxy = await server.call()
        await proxy.asks(SIGNED)
        large = request(f"/large/{20 * 1024 * 1024}")
        for count in range(1, 4):
            await server.call(large)
            await until(lambda count=count: len(server.app.seen) == 1 + count)  # type: ignore[misc]
        assert status(await server.asks(SIGNED)) == 200
        assert status(await proxy.asks(SIGNED)) == 200
        assert server.refused() == {"crowded": 1}

    async def test_at_the_limit_one_that_carried_something_signed_goes_last(self, server: Server) -> None:
        large = request(f"/large/{20 * 1024 * 1024}")
        slow = await server.call()
        await slow.asks(SIGNED)
        slow.send(large)
        await until(lambda: len(server.app.seen) == 2)
        for _ in range(10):
            await server.call(b"POST / HTTP/1.1\r\n")
        assert len(await slow.answer()) > 20 * 1024 * 1024

    async def test_one_that_is_read_late_is_complete(self, server: Server) -> None:
        large = 20 * 1024 * 1024
        caller = await server.call(request(f"/large/{large}") + request("/known"))
        await until(lambda: server.app.seen)
        server.pass_seconds(10)
        assert len(await caller.answer()) > large
        assert status(await caller.answer()) == 200


@pytest.mark.parametrize(
    ("files", "allowed"), [(1_000_000, MAX_CONNECTIONS), (5_000, 1_250), (1_024, 256)], ids=["many", "some", "few"]
)
def test_connections_never_take_the_last_file(files: int, allowed: int) -> None:
    assert connections_for(files, backlog=4096) == allowed
