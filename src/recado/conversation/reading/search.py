"""Find conversations by the words that either side has written, the latest of them first.

On SQLite an FTS5 index is read backwards from where the last page ended. PostgreSQL's GIN index has no order: it gives
all that match at once, which may be every third message. So each message also has a word that it shares with its
neighbours in time, and is looked for among the newest first, then among four times as many, and so on: a frequent word
is found at once, and of a rare one there are few. Policies keep a tenant from that index, so a function asks it, which
takes the owner from the transaction's proof.

A conversation stands where its latest matching message does. A page carries the number of the newest message of its
first page, so a message that comes meanwhile moves nothing to and fro.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, select, text

from recado.conversation.repository import owner_word, searched_words
from recado.conversation.search_tables import SEARCH_BUCKET, SEARCH_FUNCTION, search_documents
from recado.core.database.prepared import Prepared
from recado.core.database.repository import of_owner
from recado.core.database.types import Id
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput

MOST_WORDS: Final = 10
MOST_CHUNKS: Final = 10
"""A page reads no more chunks of hits than this, and may be short then."""
NEWEST: Final = 500
"""How many of an owner's newest messages are looked through on PostgreSQL before the index is asked."""
BUCKETS: Final = (2, 8, 32)
"""In how many groups of neighbours the index is asked then, step by step; at last in all that are left."""

_OWNER = bindparam("owner", type_=Id)
_COLUMNS = (search_documents.c.seq, search_documents.c.conversation_id)
# CROSS JOIN: the index of words first. SQLite would rather ask it once for each message of the owner.
_ON_SQLITE = text(
    """
    SELECT d.seq, d.conversation_id FROM search_fts CROSS JOIN search_documents d ON d.seq = search_fts.rowid
    WHERE search_fts MATCH :match AND search_fts.rowid < :below AND search_fts.rowid >= :floor AND d.owner_id = :owner
    ORDER BY search_fts.rowid DESC LIMIT :most
    """
)
_AMONG_NEWEST = text(
    """
    SELECT seq, conversation_id FROM (
        SELECT seq, conversation_id, search FROM search_documents
        WHERE owner_id = :owner AND seq < :below ORDER BY seq DESC LIMIT :newest) AS newest
    WHERE search @@ CAST(:match AS tsquery) LIMIT :most
    """
)
_BY_INDEX = text(
    f"SELECT seq, conversation_id FROM {SEARCH_FUNCTION.name}("
    "CAST(:match AS tsquery), CAST(:among AS tsquery), :below, :floor, :most) ORDER BY seq DESC"
)
HITS = Prepared(_ON_SQLITE.bindparams(_OWNER).columns(*_COLUMNS), on_postgresql=_BY_INDEX.columns(*_COLUMNS))
_RECENT_HITS = Prepared(  # SQLite, whose index has an order, is not asked this. It has no message 0.
    select(*_COLUMNS).where(search_documents.c.seq == text("0")),
    on_postgresql=_AMONG_NEWEST.bindparams(_OWNER).columns(*_COLUMNS),
)
_NEWEST = Prepared(
    select(search_documents.c.seq).where(of_owner(search_documents)).order_by(search_documents.c.seq.desc()).limit(1)
)

_LATER = select(*_COLUMNS, search_documents.c.words).where(
    # Not by their owner: that index would be read from here to the newest message.
    search_documents.c.conversation_id.in_(bindparam("ids", expanding=True)),
    search_documents.c.seq > bindparam("oldest"),
    search_documents.c.seq <= bindparam("until"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """Conversations, the latest match first. The next page is `below` a number; None when there is none."""

    conversations: Sequence[UUID]
    until: int
    below: int | None


def search_query(typed: str) -> tuple[str, ...]:
    """Return the words to find. Raises `InvalidInput` when there is none."""
    words = searched_words(typed)
    if not words:
        raise InvalidInput("there is nothing to find: give a word of letters or digits")
    if len(words) > MOST_WORDS:
        raise InvalidInput(f"give at most {MOST_WORDS} words to find")
    return tuple(words)


def found_in(uow: UnitOfWork, words: Sequence[str], until: int | None, below: int | None, limit: int) -> Found:
    """Return the owner's next conversations in which all these words stand in one message."""
    if uow.owner is None:
        raise RuntimeError("a search is of one owner's messages")
    first_page = until is None or below is None
    if until is None or below is None:
        until = _newest(uow)
        below = until + 1
    search = _Hits(uow, uow.owner, words, until, chunk=limit + limit // 4 + 1)
    for _ in range(MOST_CHUNKS):
        hits = search.hits(below)
        seen_before = frozenset[UUID]() if first_page else search.with_later_match(hits)
        for seq, conversation_id in hits:
            if len(search.found) == limit and conversation_id not in search.found:
                return Found(tuple(search.found), until, below)
            below = seq
            if conversation_id not in seen_before:
                search.found[conversation_id] = None
        if len(hits) < search.chunk:
            return Found(tuple(search.found), until, None)
    return Found(tuple(search.found), until, below)


@dataclass(slots=True)
class _Hits:
    """Reads the hits of one page."""

    uow: UnitOfWork
    owner: UUID
    words: Sequence[str]
    until: int
    chunk: int
    found: dict[UUID, None] = field(default_factory=dict)

    def hits(self, below: int) -> Sequence[tuple[int, UUID]]:
        """Return the next matching messages and their conversations, the newest first."""
        if self.uow.dialect == "postgresql":
            return self._hits_on_postgresql(below)
        match = " AND ".join(f'"{word}"' for word in (owner_word(self.owner), *self.words))
        found = self.uow.rows(HITS, match=match, owner=self.owner, below=below, floor=0, most=self.chunk)
        return [(seq, id_) for seq, id_ in found]

    def _hits_on_postgresql(self, below: int) -> Sequence[tuple[int, UUID]]:
        match = " & ".join(f"'{word}'" for word in self.words)
        found = self.uow.rows(_RECENT_HITS, owner=self.owner, most=self.chunk, match=match, below=below, newest=NEWEST)
        if len(found) == self.chunk:
            return sorted(((seq, id_) for seq, id_ in found), reverse=True)
        found = []
        for size in (*BUCKETS, None):
            last = (below - 1) // SEARCH_BUCKET
            first = 0 if size is None else max(0, last - size + 1)
            among, floor = None if size is None else _any_of(first, last), first * SEARCH_BUCKET
            found += self.uow.rows(HITS, match=match, among=among, below=below, floor=floor, most=self.chunk)
            if len(found) >= self.chunk or floor == 0:
                break
            below = floor
        return [(seq, id_) for seq, id_ in found[: self.chunk]]

    def with_later_match(self, hits: Sequence[tuple[int, UUID]]) -> frozenset[UUID]:
        """Return the conversations in which a later message matches too: they were on an earlier page."""
        latest: Mapping[UUID, int] = {id_: seq for seq, id_ in reversed(hits) if id_ not in self.found}
        if not latest:
            return frozenset()
        values = {"ids": list(latest), "oldest": min(latest.values()), "until": self.until}
        wanted = frozenset(self.words)
        return frozenset(
            id_
            for seq, id_, words in self.uow.execute(_LATER, values)
            if seq > latest[id_] and wanted <= set(words.split(" "))
        )


def _any_of(first: int, last: int) -> str:
    """Return the words of some groups of neighbours, of which one must stand in a document."""
    return " | ".join(f"'_{bucket}'" for bucket in range(first, last + 1))


def _newest(uow: UnitOfWork) -> int:
    rows = uow.rows(_NEWEST, owner=uow.owner)
    return int(rows[0][0]) if rows else 0
