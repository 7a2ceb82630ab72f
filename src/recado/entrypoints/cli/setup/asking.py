"""What `recado init` is told: by options, and on a terminal by asking for what they do not say."""

import secrets
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import typer

from recado.core.errors import InvalidInput
from recado.entrypoints.cli.texts.language import say
from recado.entrypoints.environment import environment

EMULATOR_URL: Final = "http://127.0.0.1:8010"
EMULATOR_NUMBER: Final = "whatsapp:+14155238886"


def name_from(email: str) -> str:
    """Return the name that an organisation gets when it is not named: what stands behind the @ of its address."""
    return email.partition("@")[2].partition(".")[0]


@dataclass(frozen=True, slots=True)
class InitForm:
    """Everything that `init` needs to know. What is None is left out."""

    email: str | None
    name: str | None
    password: str | None = field(repr=False)
    number: str | None
    account_sid: str | None
    token: str | None = field(repr=False)
    public_url: str | None
    database_url: str | None
    agent: str
    locale: str

    @property
    def on_emulator(self) -> bool:
        """Whether the number is the emulator's, which stands in for Twilio."""
        return self.number is not None and self.account_sid is None

    def variables(self, default_url: str) -> Mapping[str, str]:
        """Return the settings that follow from the answers; those that were given replace none that differ."""
        known = environment()
        wanted = {
            "RECADO_SECRET_KEY": known.get("RECADO_SECRET_KEY") or urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "RECADO_PUBLIC_URL": self.public_url or known.get("RECADO_PUBLIC_URL") or default_url,
        }
        if self.database_url is not None:
            wanted["RECADO_DATABASE_URL"] = self.database_url
        if self.on_emulator:
            wanted["RECADO_TWILIO_API_URL"] = known.get("RECADO_TWILIO_API_URL") or EMULATOR_URL
        return wanted


class Asking:
    """Asks a person at a terminal. Where there is none, what was not given stays open."""

    def __init__(self, default_url: str) -> None:
        self._default_url = default_url
        self._asks = sys.stdin.isatty()

    def complete(self, given: InitForm) -> InitForm:
        """Return the answers with what the person added. Raises `InvalidInput` for options that need others."""
        if given.account_sid is not None and given.number is None and not self._asks:
            raise InvalidInput("--account-sid needs --number, the number of that account")
        answers = self._number(self._organisation(given)) if self._asks else given
        if answers.account_sid is not None and answers.token is None:
            raise InvalidInput("--account-sid needs --auth-token-env, the variable with the account's auth token")
        if answers.account_sid is None and answers.token is not None:
            raise InvalidInput("--auth-token-env needs --account-sid, the account that the token belongs to")
        return answers

    def _organisation(self, given: InitForm) -> InitForm:
        email = given.email or self._ask("E-mail of the first user (empty: register no one)", "") or None
        if email is None:
            return given
        name = given.name or self._ask("Name of the organisation", name_from(email))
        password = given.password or self._secret("Password (empty: one is made)", confirm=True)
        url = given.public_url
        if url is None and "RECADO_PUBLIC_URL" not in environment():
            url = self._ask("Address at which Twilio reaches this server", self._default_url)
        return replace(given, email=email, name=name, password=password, public_url=url)

    def _number(self, given: InitForm) -> InitForm:
        if given.email is None:
            return given
        account = given.account_sid or self._ask("Twilio account SID (empty: the emulator on this machine)", "") or None
        token = given.token
        if account is not None and token is None:
            token = self._secret("Auth token of the account", confirm=False)
        number = given.number or self._ask("Number", EMULATOR_NUMBER)
        return replace(given, account_sid=account, token=token, number=number)

    @staticmethod
    def _ask(question: str, default: str) -> str:
        answer: str = typer.prompt(say(question), default=default, show_default=bool(default), err=True)
        return answer.strip()

    @staticmethod
    def _secret(question: str, *, confirm: bool) -> str | None:
        answer = _hidden(say(question))
        if confirm and answer and _hidden(say("The same again")) != answer:
            raise InvalidInput(say("the two were not the same; type the command again"))
        return answer or None


def _hidden(question: str) -> str:
    answer: str = typer.prompt(question, default="", show_default=False, hide_input=True, err=True)
    return answer
