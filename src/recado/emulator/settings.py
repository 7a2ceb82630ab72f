"""The settings of an emulator, and the policies that can be changed while it runs.

The defaults fit a demo: any address may send, every message is delivered and read, and no message is refused for being
outside WhatsApp's window. Each stricter rule of Twilio is a policy that can be turned on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An SK key. It may call the API, but it never signs webhooks."""

    account_sid: str
    secret: str


@dataclass(frozen=True, slots=True)
class Number:
    """An address of an account and the webhook for its inbound messages. Without a URL they are only stored."""

    address: str
    account_sid: str
    webhook_url: str | None = None
    fallback_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """Habits of this Twilio; `POST /_emulator/policies` changes them at run time. The four chances are 0 to 1."""

    callback_delay: float = 0.05
    callback_early: float = 0.0
    callback_reorder: float = 0.0
    callback_duplicate: float = 0.0
    callback_drop: float = 0.0
    inbound_delay: float = 0.0
    inbound_duplicates: int = 0
    read_receipts: bool = True
    enforce_window: bool = False
    restrict_senders: bool = False
    opt_out_keywords: bool = True
    advanced_opt_out: bool = False
    list_lag: float = 0.0
    max_concurrency: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorSettings:
    accounts: Mapping[str, str]
    """Account SID to auth token."""
    numbers: tuple[Number, ...] = ()
    api_keys: Mapping[str, ApiKey] = field(default_factory=dict)
    policies: Policies = Policies()
    seed: int | None = None
    journal: Path | None = None
    base_url: str | None = None
    """Where others reach this emulator, for the media links of webhooks; `serve` knows it by itself."""
    keep: int = 200_000
    """How many messages (and deliveries) are remembered; the oldest are forgotten first."""
