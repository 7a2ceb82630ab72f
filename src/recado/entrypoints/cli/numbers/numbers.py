"""`recado numbers`: the numbers that customers write to."""

from typing import TYPE_CHECKING, Annotated, TypeAlias
from uuid import UUID

import typer

from recado.entrypoints.cli.endings import print_warning
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, secret_from_variable
from recado.entrypoints.cli.output import Item, column, print_items, print_result
from recado.entrypoints.cli.running import operator, require_owner, run
from recado.entrypoints.cli.texts.language import said

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.channels.models import ChannelAddress
    from recado.channels.twilio.accounts import NewNumber
    from recado.channels.twilio.checking import CheckedNumber

numbers = family("Add, check and remove the numbers that customers write to.")


AccountOfNumber: TypeAlias = Annotated[str, typer.Option(metavar="AC…", help="The Twilio account that has the number.")]
AuthTokenEnv: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="VAR", help="The environment variable with the auth token. It is read now and stored encrypted."
    ),
]
NumberAddress: TypeAlias = Annotated[str, typer.Option(help="whatsapp:+5511987654321, or +5511987654321 for SMS.")]
Check: TypeAlias = Annotated[
    bool, typer.Option("--check", help="First ask Twilio whether token and number belong to the account.")
]


Move: TypeAlias = Annotated[
    bool, typer.Option("--move", help="Take the number away from another organisation that has it.")
]


@numbers.command()
def add(
    owner: OwnerId,
    account_sid: AccountOfNumber,
    auth_token_env: AuthTokenEnv,
    address: NumberAddress,
    check: Check = False,
    move: Move = False,
    as_json: AsJson = False,
) -> None:
    """Add a number, or give its account a new auth token."""
    token = secret_from_variable(auth_token_env, "--auth-token-env")
    from recado.channels.twilio.accounts import NewNumber
    from recado.channels.twilio.values import AccountSid
    from recado.conversation.values import Address

    number = NewNumber(AccountSid(account_sid), token, Address.parse(address))

    added, warnings = run(
        lambda container: _add(container, owner, number, check=check, move=move), secret_names=[auth_token_env]
    )
    for each in warnings:
        print_warning(each)
    words = f"{added.address} is ready: point its webhook at /webhooks/twilio/messages under RECADO_PUBLIC_URL."
    id_ = str(added.id)
    view: Item = {"number_id": id_, "address_id": id_, **({"warnings": warnings} if warnings else {})}
    print_result(view, words, as_json=as_json)


async def _add(
    container: "Container", owner: UUID, number: "NewNumber", *, check: bool, move: bool
) -> "tuple[ChannelAddress, list[str]]":
    warnings = await _check(container, number) if check else []
    added = await container.numbers().add(operator(owner), number, move=move)
    if others := await container.numbers().count_others_with(number.account_sid, owner):
        warnings.append(_shared_account_warning(number, others))
    return added, warnings


async def _check(container: "Container", number: "NewNumber") -> list[str]:
    """Ask Twilio, and return warnings for what it could not confirm. Raises `Conflict` for what is wrong."""
    from recado.channels.twilio.checking import Denied, NumberNotConfirmed, Unconfirmed

    found = await container.number_checks().ask(number)
    if isinstance(found, Denied):
        raise NumberNotConfirmed(f"{found.why}; nothing was stored")
    return [found.why] if isinstance(found, Unconfirmed) else []


def _shared_account_warning(number: "NewNumber", others: int) -> str:
    who = "another organisation has" if others == 1 else f"{others} other organisations have"
    return (
        f"{who} account {number.account_sid} too. Webhooks are accepted with the token of either: use --check to make "
        "sure that each token is correct"
    )


StoredNumber: TypeAlias = Annotated[str, typer.Argument(metavar="ADDRESS", help="The number, as it was added.")]


@numbers.command("check")
def check_number(owner: OwnerId, address: StoredNumber, as_json: AsJson = False) -> None:
    """Ask Twilio whether a number, its account and the stored token still belong together."""
    from recado.channels.twilio.checking import Denied, NumberNotConfirmed, Unconfirmed

    async def work(container: "Container") -> "CheckedNumber":
        number = await _named(container, owner, address)
        return await container.number_checks().check(owner, number.id)

    checked = run(work)
    result = checked.result
    if isinstance(result, Denied):
        raise NumberNotConfirmed(result.why)
    why = result.why if isinstance(result, Unconfirmed) else None
    view: Item = {"number_id": str(checked.number.id), "address": checked.number.address, "warning": why}
    words = why or f"Twilio confirms {checked.number.address} and its account."
    print_result(view, words, as_json=as_json)


@numbers.command()
def remove(owner: OwnerId, address: StoredNumber, as_json: AsJson = False) -> None:
    """Remove a number. What it has received is still answered; then its auth token is deleted."""

    async def work(container: "Container") -> "ChannelAddress":
        number = await _named(container, owner, address)
        return await container.number_removal().remove(operator(owner), number.id)

    removed = run(work)
    words = f"{removed.address} is removed: point its webhook elsewhere at Twilio."
    print_result({"number_id": str(removed.id), "address": removed.address}, words, as_json=as_json)


async def _named(container: "Container", owner: UUID, address: str) -> "ChannelAddress":
    from recado.conversation.values import Address

    return await container.numbers().named(await require_owner(container, owner), Address.parse(address))


@numbers.command("list")
def list_(owner: OwnerId, as_json: AsJson = False) -> None:
    """List the numbers of an organisation."""

    async def work(container: "Container") -> list[Item]:
        found = await container.numbers().list(await require_owner(container, owner))
        return [await _view(container, number) for number in found]

    columns = {"Id": column("number_id"), "Address": column("address"), "Account": _account}
    found = run(work)
    print_items(found, columns, empty="There are no numbers; begin with: recado numbers add", as_json=as_json)
    if not as_json:
        for problem, addresses in _problems(found).items():
            print_warning(f"{', '.join(addresses)}: {said(problem)}")


def _account(item: Item) -> str:
    """Return the end of the SID, which fits on a terminal. Why an account cannot be used stands under the table."""
    return "–" if item["account_ref"] is None else f"…{str(item['account_ref'])[-6:]}"


def _problems(found: list[Item]) -> dict[str, list[str]]:
    """Return each problem once, with the numbers that have it."""
    problems: dict[str, list[str]] = {}
    for item in found:
        if item["problem"] is not None:
            problems.setdefault(str(item["problem"]), []).append(str(item["address"]))
    return problems


async def _view(container: "Container", number: "ChannelAddress") -> Item:
    from recado.channels.twilio.models import TwilioCredentials

    account = await container.twilio_tokens().account_for(number.account_id)
    return {
        "number_id": str(number.id),
        "address": number.address,
        "account_ref": account.account_sid.value if isinstance(account, TwilioCredentials) else None,
        "problem": None if isinstance(account, TwilioCredentials) else account.detail,
    }
