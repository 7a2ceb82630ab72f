"""Who sends a request: what the HTTP API asks before it looks at anything else."""

from typing import Protocol

from recado.identity.principal import Principal


class Authenticator(Protocol):
    """Knows API keys and sessions. None means that this one is not valid, whatever the reason."""

    async def by_key(self, key: str, source: str | None) -> Principal | None: ...

    async def by_session(self, token: str, source: str | None) -> Principal | None: ...


class Nobody:
    """Knows no key and no session."""

    async def by_key(self, key: str, source: str | None) -> Principal | None:  # noqa: ARG002 - the protocol's names
        return None

    async def by_session(self, token: str, source: str | None) -> Principal | None:  # noqa: ARG002
        return None
