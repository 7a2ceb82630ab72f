"""`recado init`: everything that a first answer needs, in one command.

It writes `recado.env` with a new key, makes the database, registers an organisation with its first user, and adds a
number. Each step is left out when it was done before, so an interrupted `init` is simply typed again. The file is
written before anything is sealed with its key.
"""

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from recado.core.errors import InvalidInput
from recado.entrypoints.cli.options import AsJson, secret_from_variable
from recado.entrypoints.cli.output import print_document, print_line
from recado.entrypoints.cli.setup.asking import Asking, InitForm
from recado.entrypoints.cli.setup.file import ensure_variables
from recado.entrypoints.cli.texts.language import say

if TYPE_CHECKING:
    from recado.entrypoints.cli.setup.opening import Opened

DEFAULT_URL = "http://127.0.0.1:8000"

Email: TypeAlias = Annotated[
    str | None, typer.Option(help="The e-mail address of the first user. Without it no one is registered.")
]
Name: TypeAlias = Annotated[str | None, typer.Option(help="The organisation's name.")]
PasswordEnv: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="VAR", help="The environment variable with the password. Else one is asked for, or made."),
]
Locale: TypeAlias = Annotated[str, typer.Option(help="The language of built-in texts: pt-BR, es or en.")]
Number: TypeAlias = Annotated[
    str | None, typer.Option("--number", "--address", help="whatsapp:+5511987654321, or +5511987654321 for SMS.")
]
AccountSid: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="AC…", help="The Twilio account that has the number. Without it: the emulator on this machine."
    ),
]
AuthTokenEnv: TypeAlias = Annotated[
    str | None, typer.Option(metavar="VAR", help="The environment variable with the account's auth token.")
]
Agent: TypeAlias = Annotated[str, typer.Option(help="The agent that answers at first: echo or faq.")]
PublicUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="URL", help=f"The address at which Twilio reaches this server. If not given: {DEFAULT_URL}"),
]
DatabaseUrl: TypeAlias = Annotated[
    str | None, typer.Option(metavar="URL", help="The database. If not given: the file recado.db.")
]


def init(
    email: Email = None,
    name: Name = None,
    password_env: PasswordEnv = None,
    number: Number = None,
    account_sid: AccountSid = None,
    auth_token_env: AuthTokenEnv = None,
    public_url: PublicUrl = None,
    database_url: DatabaseUrl = None,
    agent: Agent = "echo",
    locale: Locale = "pt-BR",
    as_json: AsJson = False,
) -> None:
    """Make everything that a first answer needs: recado.env with a new key, the database, an organisation, a number.

    On a terminal it asks for what is not given. What is there already stays as it is, so it can be typed again.
    """
    token = None if auth_token_env is None else secret_from_variable(auth_token_env, "--auth-token-env")
    password = None if password_env is None else secret_from_variable(password_env, "--password-env")
    given = InitForm(email, name, password, number, account_sid, token, public_url, database_url, agent, locale)
    answers = Asking(DEFAULT_URL).complete(given)
    if answers.number is not None and answers.email is None:
        raise InvalidInput("--number needs --email: a number belongs to an organisation")
    from recado.entrypoints.cli.setup.opening import check_number, open_shop

    check_number(answers)
    file = ensure_variables(answers.variables(DEFAULT_URL), secret_names=[auth_token_env, password_env])
    opened = open_shop(answers, secret_names=[auth_token_env, password_env])
    if as_json:
        print_document({"file": str(file.path), "written": list(file.written), **opened.document()})
    else:
        _tell(file.path.name, file.written, opened, answers)


def _tell(file: str, written: tuple[str, ...], opened: "Opened", answers: InitForm) -> None:
    if written:
        print_line(say("{file} holds the settings; only you can read it.", file=file))
    if "RECADO_SECRET_KEY" in written:
        print_line(say("Keep a copy of RECADO_SECRET_KEY elsewhere: without it nothing stored opens."))
    print_line(say("The database is ready: {database}", database=opened.database))
    if opened.owner_id is not None:
        print_line(say("The organisation's id, for --owner: {owner}", owner=opened.owner_id))
    if opened.password is not None:
        print_line(
            say("The password of {email}, shown once: {password}", email=answers.email, password=opened.password)
        )
    print_line("")
    print_line(say("Next, in this folder:"))
    for line in _next_steps(opened, answers):
        print_line(f"  {line}")


def _next_steps(opened: "Opened", answers: InitForm) -> list[str]:
    if opened.owner_id is None:
        return ["recado init --email …", "recado serve --with-worker"]
    if answers.number is None:
        return [f"recado numbers add --owner {opened.owner_id} …", "recado serve --with-worker"]
    if not answers.on_emulator:
        return ["recado serve --with-worker", say("At Twilio, the webhook of the number: {url}", url=opened.webhook)]
    return [
        "recado serve --with-worker",
        say("and in other terminals:"),
        f"recado emulator --number {answers.number} --webhook {opened.webhook}",
        f'recado emulator send --from whatsapp:+5511987654321 --to {answers.number} --body "Oi!" --wait 20',
        f"recado keys create --owner {opened.owner_id} --name first",
    ]
