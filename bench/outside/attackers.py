"""What `bench_attacks.py` does to a server, in a process of its own.

    python bench/outside/attackers.py NAME PORT SECONDS SCALE

Each attack goes to loopback, ends after SECONDS, and holds as many connections as it says times SCALE. It prints what
it did when it ends.
"""

import asyncio
import contextlib
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import uvloop

PATH = "/webhooks/twilio/messages"
FORM = (
    b"AccountSid=AC"
    + b"9" * 32
    + b"&To=whatsapp%3A%2B15550001111&From=whatsapp%3A%2B5511900000000&MessageSid=SM"
    + b"8" * 32
)


@dataclass(slots=True)
class Attack:
    """Where it goes and how long; what it has done up to now."""

    port: int
    seconds: float
    scale: float
    ends: float = 0.0
    opened: int = 0
    requests: int = 0
    answered: int = 0
    sent: int = 0
    failed: int = 0
    open: list[asyncio.StreamWriter] = field(default_factory=list)

    def goes_on(self) -> bool:
        return time.monotonic() < self.ends

    def times(self, number: int) -> int:
        return max(1, int(number * self.scale))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), 10)
        self.opened += 1
        return reader, writer

    async def send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.sent += len(data)


def head(length: int, *more: str) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", "Host: bot", f"Content-Length: {length}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


async def again_and_again(attack: Attack, number: int, once: Callable[[], Awaitable[None]]) -> None:
    """So many at a time do it, each again when it was thrown out."""

    async def one() -> None:
        while attack.goes_on():
            try:
                async with asyncio.timeout(max(0.01, attack.ends - time.monotonic())):
                    await once()
            except (OSError, TimeoutError, asyncio.IncompleteReadError, RuntimeError):
                # uvloop has a RuntimeError for writing to what was closed meanwhile.
                attack.failed += 1
                await asyncio.sleep(0.01)

    await asyncio.gather(*[one() for _ in range(number)])


async def none(attack: Attack) -> None:
    """Nothing."""
    await asyncio.sleep(attack.seconds)


async def endless_header(attack: Attack) -> None:
    """One request whose header never ends."""

    async def once() -> None:
        _, writer = await attack.connect()
        try:
            await attack.send(writer, b"POST / HTTP/1.1\r\nX: ")
            while attack.goes_on():
                await attack.send(writer, b"a" * 65_536)
        finally:
            writer.close()

    await again_and_again(attack, 1, once)


async def many_headers(attack: Attack) -> None:
    """Requests with 300,000 headers, one after the other."""
    lines = b"a: b\r\n" * 300_000

    async def once() -> None:
        _, writer = await attack.connect()
        try:
            await attack.send(writer, b"POST / HTTP/1.1\r\n" + lines + b"\r\n")
        finally:
            writer.close()

    await again_and_again(attack, 4, once)


async def silent(attack: Attack, number: int, first: bytes = b"", drip: bytes = b"") -> None:
    """Connections that say nothing, or a little now and then; who is thrown out comes again."""

    async def once() -> None:
        reader, writer = await attack.connect()
        try:
            if first:
                await attack.send(writer, first)
            if not drip:
                await reader.read()
                return
            while attack.goes_on():
                await attack.send(writer, drip)
                await asyncio.sleep(1)
                if reader.at_eof():
                    return
        finally:
            writer.close()

    await again_and_again(attack, attack.times(number), once)


async def cut_off(attack: Attack) -> None:
    """Half a body, and the connection is cut; 10,000 times and more."""

    async def once() -> None:
        _, writer = await attack.connect()
        await attack.send(writer, head(2_000) + b"a" * 1_000)
        writer.transport.abort()
        attack.requests += 1

    await again_and_again(attack, 64, once)


async def full_hands(attack: Attack) -> None:
    """2,000 connections, each with 262,000 bytes of a body that lacks its end."""
    await silent(attack, 2_000, head(262_100) + b"a" * 262_000)


async def flood(attack: Attack) -> None:
    """1,400 unsigned webhooks a second over 64 connections."""
    request = head(len(FORM), "X-Twilio-Signature: AAAAAAAAAAAAAAAAAAAAAAAAAAA=") + FORM
    begun = time.monotonic()

    async def once() -> None:
        reader, writer = await attack.connect()
        try:
            while attack.goes_on():
                due = begun + attack.requests / attack.times(1_400)
                attack.requests += 1
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await attack.send(writer, request)
                answer = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                attack.answered += 1
        finally:
            writer.close()

    await again_and_again(attack, 64, once)


async def no_reading(attack: Attack) -> None:
    """200 connections that send requests without end and read no answer."""
    requests = b"GET /openapi.json HTTP/1.1\r\nHost: bot\r\n\r\n" * 8

    async def once() -> None:
        _, writer = await attack.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        try:
            while attack.goes_on():
                await attack.send(writer, requests)
                await asyncio.sleep(0.2)
        finally:
            writer.transport.abort()

    await again_and_again(attack, attack.times(200), once)


async def idle(attack: Attack) -> None:
    """5,000 connections that ask once and then stay."""

    async def once() -> None:
        reader, writer = await attack.connect()
        try:
            await attack.send(writer, b"GET /healthz HTTP/1.1\r\nHost: bot\r\n\r\n")
            await reader.read()
        finally:
            writer.close()

    await again_and_again(attack, attack.times(5_000), once)


ATTACKS: dict[str, Callable[[Attack], Awaitable[None]]] = {
    "none": none,
    "endless-header": endless_header,
    "many-headers": many_headers,
    "silent-1100": lambda attack: silent(attack, 1_100),
    "silent-5000": lambda attack: silent(attack, 5_000),
    "cut-off": cut_off,
    "full-hands": full_hands,
    "slow-headers": lambda attack: silent(attack, 2_000, b"POST / HTTP/1.1\r\n", b"X: y\r\n"),
    "slow-bodies": lambda attack: silent(attack, 2_000, head(100_000), b"a"),
    "flood": flood,
    "no-reading": no_reading,
    "idle": idle,
}


async def run(name: str, attack: Attack) -> None:
    attack.ends = time.monotonic() + attack.seconds
    print("begun", flush=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(attack.seconds + 5):
            await ATTACKS[name](attack)
    done = {name: getattr(attack, name) for name in ("opened", "requests", "answered", "sent", "failed")}
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    _, name, port, seconds, scale = sys.argv
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(run(name, Attack(int(port), float(seconds), float(scale))))
