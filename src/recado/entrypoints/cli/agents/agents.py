"""`recado agents`: who answers the customers of an organisation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias
from uuid import UUID

import typer

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
    print_text,
)
from recado.entrypoints.cli.running import operator, require_owner, run
from recado.entrypoints.cli.texts.language import say

if TYPE_CHECKING:
    from collections.abc import Sequence

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
AllowPrivate: TypeAlias = Annotated[
    bool | None, typer.Option(help="Whether the agent may call addresses of this machine and its network.")
]


@agents.command("set")
def set_(
    owner: OwnerId,
    agent: Agent,
    model: Model = None,
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = None,
    prompt_file: _File = None,
    url: Url = None,
    history: History = None,
    allow_private: AllowPrivate = None,
    as_json: AsJson = False,
) -> None:
    """Choose the agent. Options that are not given keep their value; an empty text removes it."""
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

    saved, problem = _save(owner, form, api_key_env)
    _show(saved, problem, as_json=as_json)


def _save(owner: UUID, form: "AgentForm", api_key_env: str | None) -> "tuple[AgentSaved, str | None]":
    """Store the agent, and return with it what would make its runs fail on this machine."""

    async def work(container: "Container") -> "tuple[AgentSaved, str | None]":
        saved = await container.agent_service().set(operator(await require_owner(container, owner)), form)
        return saved, await container.agent_trials().problem(owner)

    return run(work, secret_names=[api_key_env])


def _show(saved: "AgentSaved", problem: str | None, *, as_json: bool) -> None:
    shown: Item = {**_view(saved.settings), **({} if saved.secret is None else {"secret": saved.secret})}
    if as_json:
        print_document({**shown, **({} if problem is None else {"warnings": [problem]})})
    else:
        print_fields(shown)
    if problem is not None:
        print_warning(say("the agent is set, but on this machine no run can succeed: {problem}", problem=problem))


def _view(settings: "AgentSettings") -> Item:
    return {
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


@agents.command("list")
def list_(owner: OwnerId, as_json: AsJson = False) -> None:
    """List the agents of an organisation. The active one answers."""

    async def work(container: "Container") -> "Sequence[AgentSettings]":
        return await container.agent_service().all(await require_owner(container, owner))

    columns = {"Agent": column("agent"), "Active": column("active"), "Model": column("model"), "URL": _address}
    found = [_view(settings) for settings in run(work)]
    print_items(found, columns, empty="No agent is set; begin with: recado agents set", as_json=as_json)


def _address(item: Item) -> str:
    return str(item["url"] or item["base_url"] or "–")


Words: TypeAlias = Annotated[str, typer.Argument(metavar="TEXT", help="What a customer would write.")]


@agents.command("test")
def test_(owner: OwnerId, text: Words, as_json: AsJson = False) -> None:
    """Run the agent once on a text. Nothing is stored or sent, and no side effect of a tool runs."""

    async def work(container: "Container") -> "tuple[TrialResult, int]":
        found = await container.owners().owner(owner)
        try:
            return await container.agent_trials().run(found, text), container.settings().max_attempts
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
