"""`recado numbers` and `recado orphans`: the numbers customers write to, and messages to those that were nobody's."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from recado.core.errors import Conflict
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, from_variable
from recado.entrypoints.cli.output import Item, answer, column, items
from recado.entrypoints.cli.running import known, run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.channels.twilio.models import ChannelAddress
    from recado.channels.twilio.numbers import NewNumber

numbers = family("The numbers that customers write to.")
orphans = family("Messages to numbers that belonged to nobody: nothing answers them until they are assigned.")


@numbers.command()
def add(
    owner: OwnerId,
    account_sid: Annotated[str, typer.Option(metavar="AC…", help="The Twilio account the number is in.")],
    auth_token_env: Annotated[
        str,
        typer.Option(
            metavar="VAR", help="The environment variable that holds the auth token; it is read now and sealed."
        ),
    ],
    address: Annotated[str, typer.Option(help="The number: whatsapp:+5511987654321, or +5511987654321 for SMS.")],
    check: Annotated[bool, typer.Option("--check", help="Ask Twilio first whether the credentials are right.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a number, or give its account a new auth token."""
    token = from_variable(auth_token_env, "--auth-token-env")
    from recado.channels.twilio.numbers import NewNumber
    from recado.conversation.values import AccountSid, Address

    number = NewNumber(AccountSid(account_sid), token, Address.parse(address))

    async def work(container: "Container") -> "ChannelAddress":
        if check:
            await _check(container.settings().twilio_api_url, number)
        return await container.numbers().add(owner, number)

    added = run(work, besides=[auth_token_env])
    words = f"{added.address} is ready: point its webhook at /webhooks/twilio/messages under RECADO_PUBLIC_URL."
    answer({"address_id": str(added.id)}, words, as_json=as_json)


async def _check(twilio_api_url: str, number: "NewNumber") -> None:
    """Read one entry of the message list, which only the right token may; raises `Conflict` otherwise."""
    from recado.channels.twilio.client import MessagesPage, TwilioApi
    from recado.channels.twilio.models import TwilioCredentials
    from recado.channels.twilio.transport import Declined, Transport

    api = TwilioApi(Transport(twilio_api_url))
    credentials = TwilioCredentials(number.account_sid, number.auth_token)
    try:
        found = await api.list_messages(credentials, to=number.address.value, page_size=1)
    finally:
        await api.aclose()
    match found:
        case MessagesPage():
            return
        case Declined(401 | 403, _, _, _):
            raise Conflict(f"Twilio does not accept this auth token for {number.account_sid}; nothing was stored")
        case Declined(status, _, text, _):
            raise Conflict(f"Twilio answered {status} ({text}); nothing was stored")
        case _:
            raise Conflict(f"Twilio could not be asked at {twilio_api_url} ({found.code}); nothing was stored")


@numbers.command("list")
def list_(owner: OwnerId, as_json: AsJson = False) -> None:
    """An organisation's numbers."""

    async def work(container: "Container") -> list[Item]:
        found = await container.numbers().list(await known(container, owner))
        return [await _view(container, number) for number in found]

    columns = {"Id": column("address_id"), "Address": column("address"), "Account": _account}
    items(run(work), columns, empty="There are no numbers; begin with: recado numbers add", as_json=as_json)


def _account(item: Item) -> str:
    """Its end, which fits on a terminal, or what is wrong with it."""
    return str(item["problem"] or f"…{str(item['account_sid'])[-6:]}")


async def _view(container: "Container", number: "ChannelAddress") -> Item:
    from recado.channels.twilio.models import TwilioCredentials

    account = await container.directory().account_for(number.account_id)
    return {
        "address_id": str(number.id),
        "address": number.address,
        "account_sid": account.account_sid.value if isinstance(account, TwilioCredentials) else None,
        "problem": None if isinstance(account, TwilioCredentials) else account.detail,
    }


@orphans.command("list")
def list_orphans(as_json: AsJson = False) -> None:
    """Messages that wait to be assigned, the oldest first."""
    waiting: list[Item] = [
        {
            "message_sid": found.orphan.message_sid,
            "to": found.orphan.to_address,
            "received_at": found.orphan.received_at.isoformat(),
            "account_sid": found.orphan.account_sid,
            "signed_by": sorted(str(owner) for owner in found.owners),
        }
        for found in run(lambda container: container.orphans().list())
    ]
    columns = {"Message": column("message_sid"), "To": column("to"), "Received": _received}
    items(waiting, columns, empty="There are no orphans.", as_json=as_json)


def _received(item: Item) -> str:
    return str(item["received_at"])[:16].replace("T", " ")


@orphans.command()
def assign(
    message_sid: Annotated[str, typer.Argument(help="As `recado orphans list` shows it.")],
    owner: OwnerId,
    account_sid: Annotated[
        str | None, typer.Option(metavar="AC…", help="Which account's, if two sent a message of that SID.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Accept a message for an organisation.

    The number it was sent to must be that organisation's by now. From there it goes the road of any other message; if
    it is older than a day, no agent answers it.
    """

    async def work(container: "Container") -> UUID:
        await container.orphans().assign(message_sid, await known(container, owner), account_sid)
        return owner

    run(work)
    words = f"{message_sid} was accepted; a worker takes it from here."
    answer({"message_sid": message_sid, "owner_id": str(owner)}, words, as_json=as_json)
