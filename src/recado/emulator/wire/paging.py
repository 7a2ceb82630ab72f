"""One page of a list in Twilio's envelope. Clients follow its tokens and do not compute them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlencode

from recado.emulator.archive import Search
from recado.emulator.messages import EmulatedMessage, JsonObject, message_resource
from recado.emulator.rules.refusals import Refusal
from recado.emulator.rules.validation import moment_of
from recado.emulator.store import Store

DEFAULT_SIZE, LARGEST_SIZE = 50, 1000
_DAY = 86_400
_OLDER, _NEWER = "PA", "PB"


@dataclass(frozen=True, slots=True)
class ListRequest:
    path: str
    filters: tuple[tuple[str, str], ...]
    search: Search
    size: int
    page: int
    token: str


def read_list_request(path: str, query: dict[str, str]) -> ListRequest | Refusal:
    sent = _sent_between(query)
    if isinstance(sent, Refusal):
        return sent
    size = query.get("PageSize", str(DEFAULT_SIZE))
    page = query.get("Page", "0")
    if not size.isdecimal() or not page.isdecimal() or not 1 <= int(size) <= LARGEST_SIZE:
        return Refusal(20001)
    names = ("To", "From", "DateSent", "DateSent<", "DateSent>")
    return ListRequest(
        path=path,
        filters=tuple((name, query[name]) for name in names if query.get(name)),
        search=Search(query.get("To") or None, query.get("From") or None, *sent),
        size=int(size),
        page=int(page),
        token=query.get("PageToken", ""),
    )


def _sent_between(query: dict[str, str]) -> tuple[float | None, float | None] | Refusal:
    """A bare date means its whole day; both ends belong to it."""
    earliest = query.get("DateSent>") or query.get("DateSent") or ""
    latest = query.get("DateSent<") or query.get("DateSent") or ""
    start, end = moment_of(earliest), moment_of(latest)
    if (earliest and start is None) or (latest and end is None):
        return Refusal(20001)
    if end is not None and len(latest) == len("2026-01-31"):
        end += _DAY - 1
    return start, end


def list_page(store: Store, account_sid: str, listing: ListRequest) -> JsonObject:
    """Return a page. One message more is searched, to know whether another page exists."""
    found = store.search(account_sid, listing.search)
    direction, anchor = listing.token[:2], store.any_message(listing.token[2:])
    edge = 0 if anchor is None else anchor.seq
    if direction == _NEWER:
        newer = [message for message in found if message.seq > edge]
        return _envelope(listing, newer[-listing.size :], older=True, newer=len(newer) > listing.size)
    if direction == _OLDER:
        found = (message for message in found if message.seq < edge)
    older = list(islice(found, listing.size + 1))
    return _envelope(listing, older[: listing.size], older=len(older) > listing.size, newer=direction == _OLDER)


def _envelope(listing: ListRequest, shown: Sequence[EmulatedMessage], *, older: bool, newer: bool) -> JsonObject:
    start = listing.page * listing.size
    return {
        "end": start + max(len(shown) - 1, 0),
        "first_page_uri": _uri(listing, 0, ""),
        "messages": [message_resource(message) for message in shown],
        "next_page_uri": _uri(listing, listing.page + 1, _OLDER + shown[-1].sid) if older and shown else None,
        "page": listing.page,
        "page_size": listing.size,
        "previous_page_uri": _uri(listing, listing.page - 1, _NEWER + shown[0].sid) if newer and shown else None,
        "start": start,
        "uri": _uri(listing, listing.page, listing.token),
    }


def _uri(listing: ListRequest, page: int, token: str) -> str:
    query = [*listing.filters, ("PageSize", str(listing.size)), ("Page", str(max(page, 0)))]
    return f"{listing.path}?{urlencode(query + ([('PageToken', token)] if token else []))}"
