"""`recado emulator`: a Twilio of our own, to try things without an account, a phone or a bill."""

import json
import sys
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from recado.core.errors import Conflict, InvalidInput
from recado.entrypoints.cli.endings import print_warning
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, secret_from_variable
from recado.entrypoints.cli.output import Item, print_document, print_line, print_result, print_text
from recado.entrypoints.cli.texts.language import say

if TYPE_CHECKING:
    from recado.emulator.phone.client import SeenMessage

PORT: Final = 8010
ACCOUNT_SID: Final = "AC" + "0" * 31 + "1"
AUTH_TOKEN: Final = "emulated"  # noqa: S105 - made up; it opens nothing but an emulator

app = family(
    "Run an emulator of Twilio, or write to a running one with `recado emulator send`.\n\n"
    "Recado finds it by RECADO_TWILIO_API_URL; it finds Recado by --number and --webhook."
)


Host: TypeAlias = Annotated[str, typer.Option(help="The address to listen on.")]
Port: TypeAlias = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0: any that is free.")]
AccountSid: TypeAlias = Annotated[str, typer.Option(metavar="AC…", help="The account it knows.")]
AuthTokenEnv: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="VAR", help=f"The variable with the account's token. Without it: {AUTH_TOKEN!r}."),
]
EmulatorNumber: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="ADDRESS", help="A number of the account (whatsapp:+…); repeatable.")
]
Webhook: TypeAlias = Annotated[
    str | None, typer.Option(metavar="URL", help="The URL that receives messages to those numbers.")
]
Journal: TypeAlias = Annotated[
    Path | None, typer.Option(dir_okay=False, help="A file that records every message and delivery.")
]
Seed: TypeAlias = Annotated[int | None, typer.Option(help="A seed for repeatable random decisions.")]


@app.callback(invoke_without_command=True, no_args_is_help=False)
def emulator(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = PORT,
    account_sid: AccountSid = ACCOUNT_SID,
    auth_token_env: AuthTokenEnv = None,
    number: EmulatorNumber = None,
    webhook: Webhook = None,
    journal: Journal = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Run an emulator of Twilio, or write to a running one with `recado emulator send`.

    Recado finds it by RECADO_TWILIO_API_URL; it finds Recado by --number and --webhook.
    """
    if context.invoked_subcommand is not None:
        return
    if webhook is not None and not number:
        raise InvalidInput("--webhook needs a --number whose messages go there")
    token = AUTH_TOKEN if auth_token_env is None else secret_from_variable(auth_token_env, "--auth-token-env")
    from recado.emulator.app import run
    from recado.emulator.settings import EmulatorSettings, Number

    numbers = tuple(Number(address, account_sid, webhook) for address in number or ())
    settings = EmulatorSettings(accounts={account_sid: token}, numbers=numbers, seed=seed, journal=journal)
    try:
        run(settings, host, port, ready=lambda url: _ready(url, account_sid, as_json=as_json))
    except OSError as error:
        raise Conflict(f"the emulator cannot listen at {host}, port {port}: {error.strerror}") from error


def _ready(url: str, account_sid: str, *, as_json: bool) -> None:
    words = f"The emulator listens at {url} (account {account_sid}); stop it with Ctrl-C."
    print_result({"url": url, "account_sid": account_sid}, words, as_json=as_json)
    sys.stdout.flush()


Sender: TypeAlias = Annotated[str, typer.Option("--from", help="The address of the customer: whatsapp:+5511987654321.")]
To: TypeAlias = Annotated[str, typer.Option(help="The number that the customer writes to.")]
Body: TypeAlias = Annotated[str, typer.Option(help="The text of the message.")]
Url: TypeAlias = Annotated[str, typer.Option(help="The URL of the emulator.")]
Media: TypeAlias = Annotated[list[str] | None, typer.Option(metavar="URL", help="An attachment; repeatable.")]
Button: TypeAlias = Annotated[
    str | None, typer.Option(metavar="PAYLOAD", help="The payload of a tapped button; --body is its text.")
]
Name: TypeAlias = Annotated[str | None, typer.Option(help="The customer's profile name.")]
Wait: TypeAlias = Annotated[float, typer.Option(min=0, help="The seconds to wait for an answer.")]


@app.command()
def send(
    sender: Sender,
    to: To,
    body: Body = "",
    url: Url = f"http://127.0.0.1:{PORT}",
    media: Media = None,
    button: Button = None,
    name: Name = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> None:
    """Write to a number as a customer."""
    from recado.emulator.phone.client import EmulatorClient, EmulatorRefused

    client = EmulatorClient(url)
    tapped = None if button is None else body
    try:
        sent = client.send(
            sender, to, body, media_urls=media or (), profile_name=name, button_payload=button, button_text=tapped
        )
        warning = _nobody_hears(sent.to, client.webhooks())
        waits = wait if warning is None else 0.0  # No one would answer.
        answers_seen = client.messages(sent.seq, waits, sender=to, to=sender, direction="outbound-api") if waits else []
    except EmulatorRefused as error:
        raise Conflict(f"the emulator refused the message: {error}") from error
    except (OSError, HTTPException, json.JSONDecodeError) as error:
        raise Conflict(f"no emulator answers at {url}; start one with: recado emulator --port …") from error
    _tell(sent, answers_seen, warning, waited=waits, as_json=as_json)


def _nobody_hears(to: str, webhooks: "Mapping[str, str | None]") -> str | None:
    """Return why no application receives a message to this number, or None."""
    if webhooks.get(to) is not None:
        return None
    if to in webhooks:
        return say("the emulator has no webhook for {to}: start it with --webhook URL", to=to)
    others = ", ".join(webhooks) or say("none")
    return say(
        "{to} is not the emulator's, so no webhook was called: start it with --number {to} (its numbers: {others})",
        to=to,
        others=others,
    )


def _tell(
    sent: "SeenMessage", answers_seen: "list[SeenMessage]", warning: str | None, *, waited: float, as_json: bool
) -> None:
    answers: list[Item] = [{"message_sid": each.sid, "body": each.body, "status": each.status} for each in answers_seen]
    if as_json:
        document = {"message_sid": sent.sid, "status": sent.status, "answers": answers}
        print_document({**document, **({} if warning is None else {"warnings": [warning]})})
    else:
        _tell_people(sent, answers_seen, waited)
    if warning is not None:
        print_warning(warning)


def _tell_people(sent: "SeenMessage", answers_seen: "list[SeenMessage]", waited: float) -> None:
    print_line(say("{sid} was sent to {to}.", sid=sent.sid, to=sent.to))
    for each in answers_seen:
        print_text(f"{each.sender}: {each.body}")
    if waited and not answers_seen:
        print_line(say("No answer within {seconds} s.", seconds=f"{waited:g}"))
