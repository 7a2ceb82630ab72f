"""The providers of models that an owner may choose: those whose address is their own.

Other providers are where the installation's environment says, which may be the operator's own server in a private
network, or a gateway that the operator pays for. A key that an owner has made up must not open those.
"""

from collections.abc import Mapping
from typing import Final

from recado.core.errors import InvalidInput

_MOVED_BY: Final[Mapping[str, str | None]] = {
    "anthropic": "ANTHROPIC_BASE_URL",
    "cerebras": None,
    "cohere": "CO_BASE_URL",
    "deepseek": None,
    "fireworks": None,
    "google": "GOOGLE_GEMINI_BASE_URL",
    "google-gla": "GOOGLE_GEMINI_BASE_URL",
    "groq": "GROQ_BASE_URL",
    "mistral": None,
    "moonshotai": "MOONSHOTAI_BASE_URL",
    "nebius": None,
    "openai": "OPENAI_BASE_URL",
    "openai-chat": "OPENAI_BASE_URL",
    "openai-responses": "OPENAI_BASE_URL",
    "openrouter": None,
    "ovhcloud": None,
    "together": None,
    "vercel": None,
}
"""Each provider with an address of its own, and the variable that gives it another one."""


def check_provider(model: str, environment: Mapping[str, str]) -> None:
    """Raise `InvalidInput` unless an owner may choose the provider of a model, written as `provider:name`."""
    provider = model.partition(":")[0]
    if provider not in _MOVED_BY:
        known = ", ".join(sorted(_MOVED_BY))
        raise InvalidInput(
            f"the provider {provider[:60]!r} is set up by the operator only (`recado agents set`); "
            f"choose one of {known}, or give the base URL it is at"
        )
    variable = _MOVED_BY[provider]
    if variable is not None and environment.get(variable):
        raise InvalidInput(f"the operator has said where {provider} is, so only the operator may set it")
