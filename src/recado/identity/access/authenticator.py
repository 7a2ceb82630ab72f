"""Who sends a request: what the HTTP API asks before it looks at anything else."""

from typing import Protocol

from recado.identity.access.api_keys import ApiKeyService
from recado.identity.access.sessions import SessionService
from recado.identity.principal import Principal


class Authenticator(Protocol):
    """Knows API keys and sessions. None means that this one is not valid, whatever the reason."""

    async def by_key(self, key: str, source: str | None) -> Principal | None: ...

    async def by_session(self, token: str, source: str | None) -> Principal | None: ...


class KeysAndSessions:
    """Knows the keys and sessions of the database."""

    def __init__(self, keys: ApiKeyService, sessions: SessionService) -> None:
        self._keys = keys
        self._sessions = sessions

    async def by_key(self, key: str, source: str | None) -> Principal | None:
        """Return who bears a key, or None."""
        return await self._keys.principal_of(key, source=source)

    async def by_session(self, token: str, source: str | None) -> Principal | None:
        """Return whose session it is, or None."""
        return await self._sessions.principal_of(token, source=source)
