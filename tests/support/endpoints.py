"""An owner's server that is sent events."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from recado.core.event_log.models import Event
from recado.events.models import Endpoint, PostResult


@dataclass(frozen=True, slots=True)
class Posted:
    """An event as an endpoint received it."""

    url: str
    event: Event
    secrets: tuple[str, ...] = field(repr=False)


class ScriptedEndpoint:
    """An owner's server that takes every event, unless its script says otherwise."""

    def __init__(self) -> None:
        self._script: deque[PostResult] = deque()
        self.posted: list[Posted] = []
        self.always: PostResult | None = None
        """What it answers from now on."""
        self.refuses: Callable[[Event], bool] = lambda _: False
        """The events to which it answers 500."""
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        """What happens while it is asked."""
        self.afterwards: Callable[[], None] = lambda: None
        """What happens when it has answered, before its answer is heard."""
        self.at_once = 0
        self.most_at_once = 0

    def will(self, *answers: PostResult) -> None:
        self._script.extend(answers)

    async def post(self, endpoint: Endpoint, event: Event, secrets: Sequence[str]) -> PostResult:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.meanwhile is not None:
                await self.meanwhile()
        finally:
            self.at_once -= 1
        self.posted.append(Posted(endpoint.url, event, tuple(secrets)))
        self.afterwards()
        if self._script:
            return self._script.popleft()
        if self.refuses(event):
            return PostResult(500, "it answered 500")
        return self.always or PostResult(204)
