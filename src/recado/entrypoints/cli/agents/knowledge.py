"""`recado knowledge`: the documents that agents answer from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recado.core.errors import InvalidInput, NotFound
from recado.entrypoints.cli.files import read_file
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId
from recado.entrypoints.cli.output import Item, column, print_items, print_result
from recado.entrypoints.cli.running import operator, require_owner, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recado.agents.knowledge.service import Added
    from recado.agents.models import KnowledgeDocument, Passage
    from recado.bootstrap import Container


knowledge = family("Add and search the documents that agents answer from.")


_MAX_TOTAL_BYTES = 64 * 1024 * 1024


_Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE…", help="Text or Markdown files of at most 2 MB."),
]


@knowledge.command()
def add(owner: OwnerId, files: _Files, as_json: AsJson = False) -> None:
    """Add documents. A document of the same file name is replaced. Either all files are added or none."""
    contents = _contents(files)

    async def work(container: "Container") -> "list[Added]":
        me = operator(await require_owner(container, owner))
        service = container.knowledge()
        for name, content in contents.items():
            await service.check(name, content)
        return [await service.add(me, name, content) for name, content in contents.items()]

    added = run(work)
    documents, chunks = sum(each.documents for each in added), sum(each.chunks for each in added)
    words = f"Added {documents} document{'s' * (documents != 1)} of {chunks} passage{'s' * (chunks != 1)}."
    print_result({"documents": documents, "chunks": chunks}, words, as_json=as_json)


def _contents(files: list[Path]) -> dict[str, bytes]:
    """Return the content of each file by its name. Raises `InvalidInput` if one of them cannot be added."""
    from recado.agents.knowledge.documents import MAX_BYTES

    contents: dict[str, bytes] = {}
    for file in files:
        if file.name in contents:
            raise InvalidInput(f"two of the files are called {file.name}, but names of documents are unique")
        contents[file.name] = read_file(file, MAX_BYTES)
        if sum(map(len, contents.values())) > _MAX_TOTAL_BYTES:
            raise InvalidInput(f"these files are more than {_MAX_TOTAL_BYTES // 1024 // 1024} MB; add fewer at a time")
    return contents


@knowledge.command("list")
def list_documents(owner: OwnerId, as_json: AsJson = False) -> None:
    """List the documents of an organisation."""

    async def work(container: "Container") -> "Sequence[KnowledgeDocument]":
        return await container.knowledge().documents(await require_owner(container, owner))

    found: list[Item] = [
        {"name": each.name, "chunks": each.chunks, "added_at": each.added_at.isoformat()} for each in run(work)
    ]
    columns = {"Document": column("name"), "Passages": column("chunks")}
    print_items(found, columns, empty="There are no documents; begin with: recado knowledge add", as_json=as_json)


@knowledge.command()
def search(
    owner: OwnerId,
    query: Annotated[str, typer.Argument(help="A question, as a customer would ask it.")],
    limit: Annotated[int, typer.Option(min=1, max=50, help="The number of passages to show.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show the passages that an agent would find, the best one first."""

    async def work(container: "Container") -> "list[Passage]":
        return await container.knowledge().search(await require_owner(container, owner), query, limit)

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
    print_items(found, columns, empty="No passage matches.", as_json=as_json)


@knowledge.command()
def remove(
    owner: OwnerId,
    name: Annotated[str, typer.Argument(help="The name in `recado knowledge list`.")],
    as_json: AsJson = False,
) -> None:
    """Delete a document."""

    async def work(container: "Container") -> bool:
        return await container.knowledge().remove(operator(await require_owner(container, owner)), name)

    if not run(work):
        raise NotFound(f"there is no document {name!r}; `recado knowledge list` shows them")
    print_result({"removed": name}, f"{name} was removed.", as_json=as_json)
