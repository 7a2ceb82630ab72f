"""The mails that Recado writes, in the language of the organisation; and what becomes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from recado.core.i18n import Text, translate
from recado.identity.access.models import LinkPurpose
from recado.identity.models import Owner, User


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to one person."""

    to: str
    subject: str
    body: str = field(repr=False)
    """It may hold a link that lets its reader in."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The mail server has taken the mail."""


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """The mail server has not taken it. The reason names no address."""

    why: str


class Mailer(Protocol):
    """Sends mails."""

    async def send(self, letter: Letter) -> Delivered | NotDelivered: ...


_TEXTS: Final[Mapping[LinkPurpose, tuple[Text, Text]]] = {
    "invite": (Text.INVITE_SUBJECT, Text.INVITE_MAIL),
    "reset": (Text.RESET_SUBJECT, Text.RESET_MAIL),
}


def link_letter(owner: Owner, user: User, purpose: LinkPurpose, url: str) -> Letter:
    """Return the mail with a link to choose a password."""
    subject, body = _TEXTS[purpose]
    values = {"organisation": owner.name, "email": user.email, "url": url}
    return Letter(user.email, translate(owner.locale, subject, **values), translate(owner.locale, body, **values))


def link_url(public_url: str, token: str) -> str:
    """Return the address of the page that a link opens."""
    return f"{public_url}/links/{token}"
