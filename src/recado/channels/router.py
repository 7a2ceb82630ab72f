"""From the name of a provider to its channel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recado.conversation.ports import Channel, ChannelRules, Finder
from recado.conversation.values import Address
from recado.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class InstalledChannel:
    """The abilities of an installed channel. `finder` is None where sent messages cannot be looked up."""

    channel: Channel
    rules: Callable[[Address], ChannelRules]
    finder: Finder | None = None


class ChannelRouter:
    """Implements the conversation's `Channels` with the installed providers."""

    def __init__(self, providers: Mapping[str, InstalledChannel]) -> None:
        self._providers = providers

    def channel_for(self, provider: str) -> Channel:
        return self._of(provider).channel

    def finder_for(self, provider: str) -> Finder | None:
        return self._of(provider).finder

    def rules_for(self, provider: str, customer: Address) -> ChannelRules:
        return self._of(provider).rules(customer)

    def _of(self, provider: str) -> InstalledChannel:
        found = self._providers.get(provider)
        if found is None:
            raise ConfigurationError(f"no channel is installed for the provider {provider[:40]!r}")
        return found
