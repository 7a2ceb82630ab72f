"""`recado agents` and `recado knowledge`: who answers an organisation's customers, and out of which documents."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recado.core.errors import InvalidInput, NotFound
from recado.entrypoints.cli.files import read_file, read_text
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, from_variable
from recado.entrypoints.cli.output import Item, answer, column, document, fields, items
from recado.entrypoints.cli.running import known, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recado.agents.knowledge.service import Added
    from recado.agents.models import AgentSaved, AgentSettings, Document, Passage
    from recado.bootstrap import Container

agents = family("Who answers an organisation's customers.")
knowledge = family("The documents that agents answer from.")

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
        api_key=None if api_key_env is None else from_variable(api_key_env, "--api-key-env"),
        history_limit=history,
        allow_private=allow_private,
    )

    async def work(container: "Container") -> "AgentSaved":
        return await container.agent_service().set(await known(container, owner), form, operator=True)

    saved = run(work, besides=[api_key_env])
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
        return await container.agent_service().all(await known(container, owner))

    columns = {"Agent": column("agent"), "Active": column("active"), "Model": column("model"), "URL": _address}
    found = [_view(settings) for settings in run(work)]
    items(found, columns, empty="No agent is set; begin with: recado agents set", as_json=as_json)


def _address(item: Item) -> str:
    return str(item["url"] or item["base_url"] or "–")


# --- Knowledge --------------------------------------------------------------------------------------------------------

_MOST_AT_ONCE = 64 * 1024 * 1024
_Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE…", help="Text and Markdown, in files of 2 MB at most."),
]


@knowledge.command()
def add(owner: OwnerId, files: _Files, as_json: AsJson = False) -> None:
    """Add documents; one of the same file name is replaced. All of them are added, or none."""
    contents = _contents(files)

    async def work(container: "Container") -> "list[Added]":
        await known(container, owner)
        service = container.knowledge()
        for name, content in contents.items():
            await service.check(name, content)
        return [await service.add(owner, name, content) for name, content in contents.items()]

    added = run(work)
    documents, chunks = sum(each.documents for each in added), sum(each.chunks for each in added)
    words = f"Added {documents} document{'s' * (documents != 1)} of {chunks} passage{'s' * (chunks != 1)}."
    answer({"documents": documents, "chunks": chunks}, words, as_json=as_json)


def _contents(files: list[Path]) -> dict[str, bytes]:
    """Every file by its name; raises `InvalidInput` if one of them cannot be added."""
    from recado.agents.knowledge.documents import MAX_BYTES

    contents: dict[str, bytes] = {}
    for file in files:
        if file.name in contents:
            raise InvalidInput(f"two of the files are called {file.name}, and a document is known by its name")
        contents[file.name] = read_file(file, MAX_BYTES)
        if sum(map(len, contents.values())) > _MOST_AT_ONCE:
            raise InvalidInput(f"these files are more than {_MOST_AT_ONCE // 1024 // 1024} MB; add fewer at a time")
    return contents


@knowledge.command("list")
def list_documents(owner: OwnerId, as_json: AsJson = False) -> None:
    """An organisation's documents."""

    async def work(container: "Container") -> "Sequence[Document]":
        return await container.knowledge().documents(await known(container, owner))

    found: list[Item] = [
        {"name": each.name, "chunks": each.chunks, "added_at": each.added_at.isoformat()} for each in run(work)
    ]
    columns = {"Document": column("name"), "Passages": column("chunks")}
    items(found, columns, empty="There are no documents; begin with: recado knowledge add", as_json=as_json)


@knowledge.command()
def search(
    owner: OwnerId,
    query: Annotated[str, typer.Argument(help="A question, as a customer would ask it.")],
    limit: Annotated[int, typer.Option(min=1, max=50, help="How many passages to show.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show which passages an agent would find, best first."""

    async def work(container: "Container") -> "list[Passage]":
        return await container.knowledge().search(await known(container, owner), query, limit)

    found: list[Item] = [
        {
            "document": each.document,
            "heading": each.heading,
            "text": each.text,
            "score": round(each.score, 3),
            "coverage": round(each.coverage, 3),
        }
        for each in run(work)
    ]
    columns = {"Document": column("document"), "Passage": column("text"), "Coverage": column("coverage")}
    items(found, columns, empty="No passage speaks of that.", as_json=as_json)


@knowledge.command()
def remove(
    owner: OwnerId,
    name: Annotated[str, typer.Argument(help="As `recado knowledge list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Forget a document."""

    async def work(container: "Container") -> bool:
        return await container.knowledge().remove(await known(container, owner), name)

    if not run(work):
        raise NotFound(f"there is no document {name!r}; `recado knowledge list` shows them")
    answer({"removed": name}, f"{name} was removed.", as_json=as_json)
