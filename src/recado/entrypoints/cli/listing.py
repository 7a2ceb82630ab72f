"""Lists that may be longer than memory: all of them for programs, item by item, and the first thousand for people."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from recado.entrypoints.cli.output import MAX_SHOWN, Item, print_document_stream, print_items, print_line
from recado.entrypoints.cli.running import run

if TYPE_CHECKING:
    from recado.bootstrap import Container

Find: TypeAlias = "Callable[[Container], AsyncIterator[Item]]"


def print_listing(find: Find, columns: Mapping[str, Callable[[Item], str]], *, empty: str, as_json: bool) -> None:
    """Print what `find` yields, as a JSON list or as a table."""
    if as_json:
        run(lambda container: _print_all(find(container)))
        return
    shown, more = run(lambda container: _first_of_all(find(container)))
    print_items(shown, columns, empty=empty, as_json=False)
    if more:
        print_line(f"These are the first {MAX_SHOWN:,}; --json lists them all.")


async def _print_all(found: AsyncIterator[Item]) -> None:
    with print_document_stream() as add:
        async for item in found:
            add(item)


async def _first_of_all(found: AsyncIterator[Item]) -> tuple[list[Item], bool]:
    """Return what fits on a screen, and whether there is more."""
    shown: list[Item] = []
    async for item in found:
        if len(shown) == MAX_SHOWN:
            return shown, True
        shown.append(item)
    return shown, False
