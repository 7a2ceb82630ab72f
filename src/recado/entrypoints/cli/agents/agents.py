"""`recado agents`: who answers the customers of an organisation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias
from uuid import UUID

import typer

from recado.core.errors import NotFound
from recado.entrypoints.cli.endings import print_warning, warn_of
from recado.entrypoints.cli.exit_codes import ExitCode
from recado.entrypoints.cli.files import read_text
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, secret_from_variable
from recado.entrypoints.cli.output import (
    Item,
    column,
    print_document,
    print_fields,
    print_items,
    print_note,
    print_result,
    print_text,
)
from recado.entrypoints.cli.running import operator, require_owner, run
from recado.entrypoints.cli.texts.language import say

if TYPE_CHECKING:
    from recado.agents.models import AgentForm, AgentSaved, AgentSettings
    from recado.agents.trials.service import TrialResult
    from recado.bootstrap import Container

agents = family("Choose the agent that answers an organisation's customers.")


_File = Annotated[
    Path | None,
    typer.Option(help="A text file with the instructions of the model."),
]


Agent: TypeAlias = Annotated[str, typer.Option(help="echo, faq, llm, http, or one that a package of yours adds.")]
Model: TypeAlias = Annotated[str | None, typer.Option(help="provider:name, or with --base-url the name of the model.")]
BaseUrl: TypeAlias = Annotated[str | None, typer.Option(metavar="URL", help="A server with the Chat Completions API.")]
ApiKeyEnv: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="VAR", help="The environment variable that holds the API key; it is read now and sealed."),
]
Url: TypeAlias = Annotated[str | None, typer.Option(metavar="URL", help="The URL of your own agent (http).")]
History: TypeAlias = Annotated[int | None, typer.Option(help="The number of earlier messages that the agent sees.")]
AtNumber: TypeAlias = Annotated[
    str | None, typer.Option("--number", metavar="ADDRESS", help="Only at this number, as it was added.")
]
TheNumber: TypeAlias = Annotated[str, typer.Option("--number", metavar="ADDRESS", help="The number, as it was added.")]
AllowPrivate: TypeAlias = Annotated[
    bool | None, typer.Option(help="Whether the agent may call addresses of this machine and its network.")
]


@agents.command("set")
def set_(
    owner: OwnerId,
    agent: Agent,
    number: AtNumber = None,
    model: Model = None,
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = None,
    prompt_file: _File = None,
    url: Url = None,
    history: History = None,
    allow_private: AllowPrivate = None,
    as_json: AsJson = False,
) -> None:
    """Choose the agent. Options that are not given keep their value; an empty text removes it.

    With --number it answers at that number only, and what is not given at first comes from the organisation's agent of
    that name.
    """
    from recado.agents.models import AgentForm
    from recado.agents.service import MAX_PROMPT

    form = AgentForm(
        agent,
        model=model,
        base_url=base_url,
        url=url,
        prompt=None if prompt_file is None else read_text(prompt_file, 4 * MAX_PROMPT),
        api_key=None if api_key_env is None else secret_from_variable(api_key_env, "--api-key-env"),
        history_limit=history,
        allow_private=allow_private,
    )

    saved, problem = _save(owner, number, form, api_key_env)
    _show(saved, number, problem, as_json=as_json)


def _save(
    owner: UUID, number: str | None, form: "AgentForm", api_key_env: str | None
) -> "tuple[AgentSaved, str | None]":
    """Store the agent, and return with it what would make its runs fail on this machine."""

    async def work(container: "Container") -> "tuple[AgentSaved, str | None]":
        number_id, who = await _number_id(container, owner, number), operator(owner)
        if number_id is None:
            saved = await container.agent_service().set(who, form)
        else:
            saved = await container.number_agents().set(who, number_id, form)
        return saved, await container.agent_trials().problem(owner, number_id)

    return run(work, secret_names=[api_key_env])


async def _number_id(container: "Container", owner: UUID, number: str | None) -> UUID | None:
    """Return the id of a number of an owner, None when no number is named. Raises `NotFound`."""
    from recado.conversation.values import Address

    await require_owner(container, owner)
    return None if number is None else (await container.numbers().named(owner, Address.parse(number))).id


def _show(saved: "AgentSaved", number: str | None, problem: str | None, *, as_json: bool) -> None:
    secret: Item = {} if saved.secret is None else {"secret": saved.secret}
    shown: Item = {**_view(saved.settings, number), **secret}
    if as_json:
        print_document({**shown, **({} if problem is None else {"warnings": [problem]})})
    else:
        print_fields(shown)
    if problem is not None:
        print_warning(say("the agent is set, but on this machine no run can succeed: {problem}", problem=problem))


def _view(settings: "AgentSettings", number: str | None = None) -> Item:
    return {
        "number": number,
        "agent": settings.agent,
        "active": settings.active,
        "model": settings.model,
        "base_url": settings.base_url,
        "url": settings.url,
        "prompt": settings.prompt,
        "history": settings.history_limit,
        "allow_private": settings.allow_private,
        "has_api_key": settings.has_api_key,
        "has_secret": settings.has_secret,
    }


@agents.command()
def unset(owner: OwnerId, number: TheNumber, as_json: AsJson = False) -> None:
    """Take a number's own agent away. The organisation's active agent answers there again."""

    async def work(container: "Container") -> None:
        number_id = await _number_id(container, owner, number)
        if number_id is not None:
            await container.number_agents().unset(operator(owner), number_id)

    run(work)
    words = f"At {number} the organisation's active agent answers."
    print_result({"number": number, "agent": None}, words, as_json=as_json)


@agents.command()
def show(owner: OwnerId, number: AtNumber = None, as_json: AsJson = False) -> None:
    """Show the agent that answers: at a number, or at those without an agent of their own."""

    async def work(container: "Container") -> "Item | None":
        number_id = await _number_id(container, owner, number)
        own = None if number_id is None else await container.number_agents().of_number(owner, number_id)
        if own is not None:
            return _view(own, number)
        settings = await container.agent_service().settings(owner)
        return None if settings is None else _view(settings)

    found = run(work)
    if found is None:
        raise NotFound("no agent is set; begin with: recado agents set")
    if as_json:
        print_document(found)
    else:
        print_fields(found)


@agents.command("list")
def list_(owner: OwnerId, as_json: AsJson = False) -> None:
    """List the agents of an organisation. The active one answers, except at numbers with an agent of their own."""

    async def work(container: "Container") -> list[Item]:
        settings = await container.agent_service().all(await require_owner(container, owner))
        addresses = {each.id: each.address for each in await container.numbers().list(owner)}
        at_numbers = await container.number_agents().all(owner)
        return [*(_view(each) for each in settings), *(_view(each, addresses.get(id_)) for id_, each in at_numbers)]

    columns = {
        "Agent": column("agent"),
        "Active": column("active"),
        "Number": column("number"),
        "Model": column("model"),
        "URL": _address,
    }
    print_items(run(work), columns, empty="No agent is set; begin with: recado agents set", as_json=as_json)


def _address(item: Item) -> str:
    return str(item["url"] or item["base_url"] or "–")


Words: TypeAlias = Annotated[str, typer.Argument(metavar="TEXT", help="What a customer would write.")]


@agents.command("test")
def test_(owner: OwnerId, text: Words, number: AtNumber = None, as_json: AsJson = False) -> None:
    """Run the agent once on a text. Nothing is stored or sent, and no side effect of a tool runs."""

    async def work(container: "Container") -> "tuple[TrialResult, int]":
        number_id, found = await _number_id(container, owner, number), await container.owners().owner(owner)
        try:
            return await container.agent_trials().run(found, text, number_id), container.settings().max_attempts
        finally:
            await container.agents().aclose()

    result, attempts = run(work, log_level="error")  # A failure is what the command tells.
    if as_json:
        print_document(_view_trial(result))
    else:
        _tell(result, attempts)
    if result.ending == "failed":
        raise typer.Exit(ExitCode.FAILED)


def _view_trial(result: "TrialResult") -> Item:
    return {
        "ending": result.ending,
        "text": result.text,
        "reason": result.reason,
        "closes": result.closes,
        "model": result.usage.model,
        "input_tokens": result.usage.input_tokens,
        "output_tokens": result.usage.output_tokens,
        "seconds": round(result.seconds, 3),
    }


def _tell(result: "TrialResult", attempts: int) -> None:
    """Say what the customer would read, and what else would happen."""
    if result.text is not None:
        print_text(result.text)
    match result.ending:
        case "reply":
            used = result.usage.input_tokens, result.usage.output_tokens
            print_note(say("{seconds} s; tokens: {read} in, {written} out", **_costs(result.seconds, *used)))
        case "hand_off":
            print_note(say("Then a person is called: {reason}", reason=result.reason))
        case "no_reply":
            print_note(say("The agent says nothing."))
        case "failed":
            warn_of(str(result.reason))
            retried = say("after {attempts} attempts", attempts=attempts) if result.retried else say("at once")
            print_note(say("The customer gets the text above {when}, and a dead letter is kept.", when=retried))


def _costs(seconds: float, read: int, written: int) -> dict[str, object]:
    return {"seconds": f"{seconds:.1f}", "read": read, "written": written}


# --- Knowledge --------------------------------------------------------------------------------------------------------
