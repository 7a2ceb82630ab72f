"""Call applications: signed webhooks and callbacks, retried as rarely as Twilio does.

By default a request is repeated once, and only when no connection was made; a slow or failing answer is not repeated.
An application that loses such a request must use a fallback URL or read the API later.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import parse_qsl, quote_plus, urljoin, urlsplit

from recado.emulator.archive import Outgoing
from recado.emulator.clock import SidGenerator
from recado.emulator.forms import Form
from recado.emulator.store import Store
from recado.emulator.wire.posting import Answered, Outcome, Timers, Unanswered, Unreached, WebhookClient
from recado.emulator.wire.signature import sign
from recado.emulator.wire.twiml import TwimlRedirect, TwimlReply, Unreadable, read_answer

MAX_REDIRECTS = 10
MAX_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Overrides:
    """The time limits and retries in the part of a URL after `#`. Times are in milliseconds."""

    connect: int = 5000
    read: int = 15000
    total: int = 15000
    retries: int = 1
    retry_on: frozenset[str] = frozenset({"ct"})

    def retry(self, outcome: Outcome) -> bool:
        if "all" in self.retry_on:
            return not isinstance(outcome, Answered) or outcome.status >= 400
        match outcome:
            case Unreached():
                return "ct" in self.retry_on
            case Unanswered():
                return "rt" in self.retry_on
            case Answered(status=status):
                return f"{status // 100}xx" in self.retry_on


_DEFAULTS = Overrides()


def read_overrides(url: str) -> Overrides:
    if "#" not in url:
        return _DEFAULTS
    given = dict(parse_qsl(urlsplit(url).fragment))
    return Overrides(
        connect=_within(given.get("ct"), 100, 10_000, 5000),
        read=_within(given.get("rt"), 100, 15_000, 15_000),
        total=_within(given.get("tt"), 100, 15_000, 15_000),
        retries=_within(given.get("rc"), 0, 5, 1),
        retry_on=frozenset(given.get("rp", "ct").split(",")),
    )


def _within(text: str | None, least: int, most: int, default: int) -> int:
    return min(max(int(text), least), most) if text is not None and text.isdecimal() else default


class Courier:
    def __init__(self, store: Store, ids: SidGenerator) -> None:
        self._store = store
        self._ids = ids
        self._wire = WebhookClient()
        self._places = asyncio.Semaphore(MAX_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    def dispatch(self, outgoing_requests: Iterable[Outgoing]) -> None:
        for outgoing in outgoing_requests:
            task = asyncio.create_task(self.deliver(outgoing))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def deliver(self, outgoing: Outgoing) -> None:
        async with self._places:
            if outgoing.kind == "callback":
                await self._try(outgoing, "callback")
            else:
                await self._deliver_inbound(outgoing)

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._wire.close()

    async def _deliver_inbound(self, outgoing: Outgoing) -> None:
        error = await self._converse(outgoing, "webhook")
        if error is None or outgoing.fallback_url is None:
            return
        reason = (("ErrorCode", str(error)), ("ErrorUrl", outgoing.url))
        await self._converse(replace(outgoing, url=outgoing.fallback_url, form=outgoing.form + reason), "fallback")

    async def _converse(self, outgoing: Outgoing, kind: str) -> int | None:
        """Deliver, follow redirects and execute the TwiML. Return an error code if that fails."""
        for _ in range(MAX_REDIRECTS):
            outcome = await self._try(outgoing, kind)
            error = _error(outcome)
            if error is not None or not isinstance(outcome, Answered):
                return error
            verbs = read_answer(outcome.content_type, outcome.body)
            if isinstance(verbs, Unreadable):
                return verbs.code
            for reply in verbs:
                if isinstance(reply, TwimlReply):
                    self._reply(outgoing, reply)
            onward = next((verb.url for verb in verbs if isinstance(verb, TwimlRedirect)), None)
            if onward is None:
                return None
            outgoing = replace(outgoing, url=urljoin(outgoing.url, onward))
        return None

    def _reply(self, outgoing: Outgoing, reply: TwimlReply) -> None:
        callback = reply.status_callback
        self._store.reply(
            outgoing.message,
            reply.body,
            media_urls=reply.media_urls,
            to=reply.to,
            sender=reply.sender,
            status_callback=None if callback is None else urljoin(outgoing.url, callback),
        )

    async def _try(self, outgoing: Outgoing, kind: str) -> Outcome:
        """All attempts share one idempotency token and one limit of time."""
        overrides = read_overrides(outgoing.url)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + overrides.total / 1000
        headers = self._headers(outgoing)
        body = _urlencoded(outgoing.form)
        outcome: Outcome = Unreached()
        for attempt in range(1, overrides.retries + 2):
            outcome = await self._within(deadline, outgoing.url, headers, body, overrides)
            status = outcome.status if isinstance(outcome, Answered) else None
            self._store.record(outgoing, kind, attempt, status, _error(outcome))
            if loop.time() >= deadline or not overrides.retry(outcome):
                break
        return outcome

    async def _within(
        self, deadline: float, url: str, headers: dict[str, str], body: bytes, overrides: Overrides
    ) -> Outcome:
        timers = Timers(connect=overrides.connect / 1000, read=overrides.read / 1000)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._wire.post(url, headers, body, timers)
        except TimeoutError:
            return Unanswered()

    def _headers(self, outgoing: Outgoing) -> dict[str, str]:
        token = self._store.accounts[outgoing.message.account_sid]
        return {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "Accept": "*/*",
            "User-Agent": "TwilioProxy/1.1",
            "X-Home-Region": "us1",
            "I-Twilio-Idempotency-Token": self._ids.token(),
            "X-Twilio-Signature": sign(token, outgoing.url, outgoing.form),
        }


# The same names, addresses and statuses are quoted over and over: without this it is a sixth of a callback.
_quoted = lru_cache(maxsize=8192)(quote_plus)


def _urlencoded(form: Form) -> bytes:
    return "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in form]).encode()


def _error(outcome: Outcome) -> int | None:
    """The debugger's code for a delivery that did not work."""
    if not isinstance(outcome, Answered):
        return 11205
    return None if 200 <= outcome.status < 300 else 11200
