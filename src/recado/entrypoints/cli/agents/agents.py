"""`recado agents`: who answers the customers of an organisation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias
from uuid import UUID

import typer

from recado.entrypoints.cli.files import read_text
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, secret_from_variable
from recado.entrypoints.cli.output import Item, column, print_document, print_fields, print_items
from recado.entrypoints.cli.running import operator, require_owner, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recado.agents.models import AgentForm, AgentSaved, AgentSettings
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

    _show(_save(owner, form, api_key_env), as_json=as_json)


def _save(owner: UUID, form: "AgentForm", api_key_env: str | None) -> "AgentSaved":
    async def work(container: "Container") -> "AgentSaved":
        return await container.agent_service().set(operator(await require_owner(container, owner)), form)

    return run(work, secret_names=[api_key_env])


def _show(saved: "AgentSaved", *, as_json: bool) -> None:
    shown: Item = {**_view(saved.settings), **({} if saved.secret is None else {"secret": saved.secret})}
    if as_json:
        print_document(shown)
    else:
        print_fields(shown)


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


# --- Knowledge --------------------------------------------------------------------------------------------------------
