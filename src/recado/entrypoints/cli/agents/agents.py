"""`recado agents`: who answers the customers of an organisation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recado.entrypoints.cli.files import read_text
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, secret_from_variable
from recado.entrypoints.cli.output import Item, column, document, fields, items
from recado.entrypoints.cli.running import require_owner, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recado.agents.models import AgentSaved, AgentSettings
    from recado.bootstrap import Container

agents = family("Who answers an organisation's customers.")


_File = Annotated[
    Path | None,
    typer.Option(help="A text file: what the model is told to be."),
]


@agents.command("set")
def set_(
    owner: OwnerId,
    agent: Annotated[str, typer.Option(help="echo, faq, llm, http, or one that a package of yours adds.")],
    model: Annotated[str | None, typer.Option(help="provider:name; with --base-url the model's bare name.")] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where a model is that speaks Chat Completions.")
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(metavar="VAR", help="The environment variable that holds the API key; it is read now and sealed."),
    ] = None,
    prompt_file: _File = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Where your own agent is (http).")] = None,
    history: Annotated[int | None, typer.Option(help="How many earlier messages the agent is shown.")] = None,
    allow_private: Annotated[
        bool | None, typer.Option(help="Whether addresses of this machine and its network may be called.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Choose who answers. What is not named stays as it was set for that agent; an empty text removes it."""
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

    async def work(container: "Container") -> "AgentSaved":
        return await container.agent_service().set(await require_owner(container, owner), form, operator=True)

    saved = run(work, secret_names=[api_key_env])
    shown: Item = {**_view(saved.settings), **({} if saved.secret is None else {"secret": saved.secret})}
    if as_json:
        document(shown)
    else:
        fields(shown)


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
    """The agents an organisation has set; the active one answers."""

    async def work(container: "Container") -> "Sequence[AgentSettings]":
        return await container.agent_service().all(await require_owner(container, owner))

    columns = {"Agent": column("agent"), "Active": column("active"), "Model": column("model"), "URL": _address}
    found = [_view(settings) for settings in run(work)]
    items(found, columns, empty="No agent is set; begin with: recado agents set", as_json=as_json)


def _address(item: Item) -> str:
    return str(item["url"] or item["base_url"] or "–")


# --- Knowledge --------------------------------------------------------------------------------------------------------
