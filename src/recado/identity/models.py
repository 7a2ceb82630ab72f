"""Owners (the organisations we answer for) and users (their people)."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final, Literal, TypeAlias, get_args
from uuid import UUID

from recado.core.errors import InvalidInput
from recado.core.i18n import DEFAULT_LOCALE, LOCALES, Locale, Text, translate
from recado.core.unicode import normalized

SendPolicy: TypeAlias = Literal["prefer_silence", "prefer_delivery"]
"""What to do when it cannot be found out whether a message was sent: give up, or risk sending it twice."""

Role: TypeAlias = Literal["owner", "admin", "operator", "viewer"]
"""An owner may do everything, an admin all but end the organisation, an operator answers customers, a viewer reads.

`permissions.py` says exactly which role may do what.
"""

STOP_WORDS: Final = (
    # Twilio itself takes these as an opt-out.
    *("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"),
    # These are what people write in Portuguese and Spanish.
    *("PARAR", "PARE", "SAIR", "CANCELAR", "DESCADASTRAR", "REMOVER"),
    *("DETENER", "ALTO", "SALIR", "CANCELAR SUSCRIPCIÓN", "DARSE DE BAJA", "BAJA"),
)
START_WORDS: Final = (
    # YES is among Twilio's own words: a customer whom Twilio lets in again must not stay opted out here.
    *("START", "UNSTOP", "YES"),
    *("INICIAR", "VOLTAR", "COMEÇAR", "COMENZAR", "VOLVER", "REANUDAR"),
)

_TEXT_LIMIT: Final = 1_600
_WORD_LIMIT: Final = 50
_EMAIL_WORD: Final = re.compile(r"\A[^\s@.,;:<>()\[\]\\\"]+")
_EMAIL_LABEL: Final = re.compile(r"\A(?!-)(?:[^\W_]|-){1,63}")
_LOCAL_PART_BYTES: Final = 64


MAX_NAME_LENGTH: Final = 200


class _Unset(Enum):
    """The default of a value in a change: it stays. It differs from None, which may be a value."""

    UNSET = "unset"


Unset: TypeAlias = Literal[_Unset.UNSET]
UNSET: Final = _Unset.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """An organisation, and how it speaks to its customers when no agent speaks."""

    id: UUID
    name: str
    email: str
    created_at: datetime
    locale: Locale = DEFAULT_LOCALE
    apology_text: str | None = None
    handoff_text: str | None = None
    nudge_text: str | None = None
    """What a customer reads who has not written for a while; None sends nothing."""
    send_policy: SendPolicy = "prefer_silence"
    stop_words: Sequence[str] | None = None
    start_words: Sequence[str] | None = None
    closed_at: datetime | None = None
    purge_started_at: datetime | None = None
    """From then on everything of the owner is being deleted, and nothing brings it back."""
    purged_rows: int | None = None
    """How many rows were deleted since; None before the first."""

    @property
    def is_closed(self) -> bool:
        return self.closed_at is not None

    @property
    def apology(self) -> str:
        """The text that a customer reads when the agent failed for good."""
        return self.apology_text or translate(self.locale, Text.APOLOGY)

    @property
    def hand_off_notice(self) -> str:
        """The text that a customer reads when a person is called."""
        return self.handoff_text or translate(self.locale, Text.HAND_OFF)

    def is_stop_word(self, text: str) -> bool:
        """Return whether the whole message is a word that opts out."""
        return _is_one_of(text, self.stop_words or STOP_WORDS)

    def is_start_word(self, text: str) -> bool:
        """Return whether the whole message is a word that lifts an opt-out."""
        return _is_one_of(text, START_WORDS if self.start_words is None else self.start_words)


@dataclass(frozen=True, slots=True)
class SealedOwnerKeys:
    """An owner's keys as they are stored: the data key sealed with RECADO_SECRET_KEY, the salt with the data key."""

    id: UUID
    data_key_sealed: bytes = field(repr=False)
    data_key_id: str
    """The id of the RECADO_SECRET_KEY that sealed the data key."""
    lane_salt_sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedSystemKey:
    """A key of the installation as it is stored, sealed with RECADO_SECRET_KEY."""

    name: str
    sealed: bytes = field(repr=False)
    key_id: str
    """The id of the RECADO_SECRET_KEY that sealed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person of an owner."""

    id: UUID
    owner_id: UUID
    email: str
    role: Role
    password_hash: str | None = field(repr=False)
    """None until an invited user has chosen a password."""
    created_at: datetime
    name: str | None = None
    active: bool = True
    last_login_at: datetime | None = None

    @property
    def can_enter(self) -> bool:
        """Whether the user can sign in: has a password, and was not disabled."""
        return self.active and self.password_hash is not None


def normalized_email(text: str) -> str:
    """Return the one stored spelling of an e-mail address: without capitals and with composed accents.

    Raises `InvalidInput` for what a mail server would refuse.
    """
    if len(text) > 1_000:
        raise InvalidInput(f"{text[:60]!r} … is not an e-mail address")
    email = normalized("NFKC", text).strip().casefold()
    if len(email) > 254 or not email.isprintable() or not _is_email(email):
        raise InvalidInput(f"{text[:60]!r} is not an e-mail address")
    return email


def _is_email(text: str) -> bool:
    """Return whether a text is words with single dots between them, and a domain of at least two labels."""
    local, _, domain = text.rpartition("@")
    labels = domain.split(".")
    return (
        len(local.encode()) <= _LOCAL_PART_BYTES
        and all(_EMAIL_WORD.fullmatch(word) for word in local.split("."))
        and all(_EMAIL_LABEL.fullmatch(label) and label[-1] != "-" for label in labels)
        and len(labels) > 1
        and not labels[-1].isdigit()
    )


def valid_name(text: str) -> str:
    """Return the name of an organisation, a person or a key, without blanks around it."""
    name = " ".join(text.split())
    if not 1 <= len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidInput(f"the name must have 1 to {MAX_NAME_LENGTH} characters that can be seen")
    return name


def valid_locale(text: str) -> Locale:
    found = next((each for each in LOCALES if each == text), None)
    if found is None:
        raise InvalidInput(f"{text[:20]!r} is not a locale: use {', '.join(LOCALES)}")
    return found


def valid_text(text: str | None) -> str | None:
    """Return an owner's text; an empty one means the product's own text again."""
    text = (text or "").strip()
    if len(text) > _TEXT_LIMIT:
        raise InvalidInput(f"the text has {len(text)} characters; {_TEXT_LIMIT} fit into one message")
    if any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in text if letter not in "\n\t"):
        raise InvalidInput("the text has characters that no message can have")
    return text or None


def valid_policy(text: str) -> str:
    if text not in get_args(SendPolicy):
        raise InvalidInput(f"{text[:20]!r} is not a send policy: use {' or '.join(get_args(SendPolicy))}")
    return text


def valid_words(words: Iterable[str] | None) -> list[str] | None:
    """Return the owner's words, each once; None means the product's own words again."""
    if words is None:
        return None
    given = [word.strip() for word in words if word.strip()]
    if len(given) > _WORD_LIMIT or any(len(word) > _WORD_LIMIT for word in given):
        raise InvalidInput(f"give at most {_WORD_LIMIT} words of at most {_WORD_LIMIT} characters")
    for word in given:
        if not _normalized(word):  # No message would ever be equal to it.
            raise InvalidInput(f"{word!r} has no letters and no digits, by which words are told")
    return list({_normalized(word): word for word in given}.values())


def valid_stop_words(words: Iterable[str] | None) -> list[str] | None:
    """Return the owner's words to opt out; as `valid_words`, but there has to be one: customers must have a way out."""
    valid = valid_words(words)
    if valid == []:
        raise InvalidInput("give at least one word to opt out by; null restores the built-in words")
    return valid


def _is_one_of(text: str, words: Iterable[str]) -> bool:
    folded = _normalized(text)
    return folded != "" and folded in {_normalized(word) for word in words}


def _normalized(text: str) -> str:
    """Return a message in the form in which it is compared:

    ` Começar! ` becomes `comecar`. A long text is no keyword and gives an empty one.
    """
    if len(text) > 4 * _WORD_LIMIT:
        return ""
    letters = normalized("NFKD", text).casefold()
    plain = "".join(letter if letter.isalnum() else " " for letter in letters if not unicodedata.combining(letter))
    return " ".join(plain.split())
