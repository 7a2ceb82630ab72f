"""Documents go in whole, come out as passages, and never cross from one owner to another."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from recado.agents.errors import DocumentContended, DocumentRefused
from recado.agents.knowledge.service import STEP_ROWS, Added, KnowledgeService
from recado.core.database.engine import Database
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.unit_of_work import UnitOfWork
from tests.support.callers import admin_of

ON_BOTH_DATABASES = True

BAKERY = """\
# Padaria Sol

## Horário de funcionamento
Abrimos de segunda a sábado, das 7h às 19h.
Aos domingos e feriados, das 7h às 13h.

## Entregas
Fazemos entregas no centro e na Vila Nova, das 9h às 17h. A taxa é de R$ 8.

## Perguntas frequentes
**Vocês aceitam cartões?**
Sim: débito, crédito e Pix.

P: Tem estacionamento?
R: Temos duas vagas em frente à loja.

- Vocês fazem bolos de aniversário?
Sim, com três dias de antecedência. Situações especiais são combinadas por telefone.
"""
OTHER = UUID(int=77)


async def found(knowledge: KnowledgeService, owner: UUID, query: str) -> list[str]:
    return [passage.text for passage in await knowledge.search(owner, query)]


async def rows(database: Database, sql: str) -> int:
    def count(uow: UnitOfWork) -> int:
        return int(uow.execute(text(sql)).scalar_one())

    return await database.read(count, owner=None)


class TestSearch:
    @pytest.fixture(autouse=True)
    async def bakery(self, knowledge: KnowledgeService, owner: UUID) -> None:
        added = await knowledge.add(admin_of(owner), "padaria.md", BAKERY)
        assert (added.documents, added.chunks) == (1, 5)

    @pytest.mark.parametrize(
        ("query", "start"),
        [
            ("situacao especial", "Sim, com três dias"),
            ("SITUAÇÕES", "Sim, com três dias"),
            ("aceita cartao?", "Sim: débito"),
            ("cartões de credito", "Sim: débito"),
            ("vocês abrem domingo?", "Abrimos de segunda"),
            ("e entregam?", "Fazemos entregas"),
            ("estacionamentos", "Temos duas vagas"),
            ("taxa de entrega na vila nova", "Fazemos entregas"),
            ("bolo de aniversario", "Sim, com três dias"),
        ],
    )
    async def test_finds_across_accents_plurals_and_endings(
        self, knowledge: KnowledgeService, owner: UUID, query: str, start: str
    ) -> None:
        assert (await found(knowledge, owner, query))[0].startswith(start)

    async def test_tells_where_a_passage_stood(self, knowledge: KnowledgeService, owner: UUID) -> None:
        best = (await knowledge.search(owner, "estacionamento"))[0]
        assert best.document == "padaria.md"
        assert best.heading == "Padaria Sol › Perguntas frequentes › Tem estacionamento?"
        assert best.score > 0
        assert best.coverage == 1

    async def test_never_crosses_to_another_owner(self, knowledge: KnowledgeService, owner: UUID) -> None:
        await knowledge.add(admin_of(OTHER), "outra.md", "Nosso estacionamento fica nos fundos.")
        assert await found(knowledge, OTHER, "estacionamento") == ["Nosso estacionamento fica nos fundos."]
        assert await found(knowledge, owner, "fundos") == []
        assert await found(knowledge, owner, f"o{OTHER.hex}") == []

    async def test_of_words_that_mean_nothing_finds_nothing(self, knowledge: KnowledgeService, owner: UUID) -> None:
        assert await found(knowledge, owner, "oi, tudo bem com vocês?") == []
        assert await knowledge.search(owner, "estacionamento", 0) == []

    @pytest.mark.parametrize(
        "query",
        [
            '"',
            "'",
            "a OR",
            "NEAR(",
            "owner : x",
            "{heading} : *",
            "^ab*",
            "-- ;",
            "a\x00b",
            "\ud800",
            "*",
            "AND",
            "(",
            'ção*"',
        ],
    )
    async def test_takes_the_index_language_as_words(
        self, knowledge: KnowledgeService, owner: UUID, query: str
    ) -> None:
        assert isinstance(await knowledge.search(owner, query), list)

    @pytest.mark.sqlite_only(reason="hypothesis wants one executor")
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(query=st.text(max_size=80) | st.text(alphabet="aé\"'*():^-{}+,ORAND \x00", max_size=40))
    async def test_never_fails_whatever_is_asked(self, knowledge: KnowledgeService, owner: UUID, query: str) -> None:
        assert len(await knowledge.search(owner, query, 3)) <= 3

    async def test_of_a_very_long_question_is_bounded(self, knowledge: KnowledgeService, owner: UUID) -> None:
        assert len(await knowledge.search(owner, "estacionamento bolo " * 50_000, 5)) == 2


class TestReplacing:
    @pytest.mark.sqlite_only(reason="it reads FTS5's own table")
    async def test_leaves_nothing_of_the_old_document(
        self, knowledge: KnowledgeService, database: Database, owner: UUID
    ) -> None:
        await knowledge.add(admin_of(owner), "preços.txt", "O bolo de milho custa R$ 30.\n\nO pudim custa R$ 20.")
        await knowledge.add(admin_of(owner), "preços.txt", "O bolo de milho custa R$ 35.")
        assert await found(knowledge, owner, "bolo de milho") == ["O bolo de milho custa R$ 35."]
        assert await found(knowledge, owner, "pudim") == []
        assert await rows(database, "SELECT count(*) FROM knowledge_chunks") == 1
        assert await rows(database, "SELECT count(*) FROM knowledge_fts") == 1

    async def test_with_the_same_text_changes_nothing(self, knowledge: KnowledgeService, owner: UUID) -> None:
        await knowledge.add(admin_of(owner), "a.txt", "O pudim custa R$ 20.")
        before = await knowledge.documents(owner)
        again = await knowledge.add(admin_of(owner), "a.txt", "O pudim custa R$ 20.")
        assert (again.documents, again.chunks, again.document_id) == (1, 1, before[0].id)
        assert await knowledge.documents(owner) == before

    @pytest.mark.sqlite_only(reason="it reads FTS5's own table")
    async def test_of_thousands_of_passages_shows_them_all_at_once(
        self, knowledge: KnowledgeService, database: Database, owner: UUID
    ) -> None:
        many = 2 * STEP_ROWS + 7
        await knowledge.add(admin_of(owner), "a.txt", "\n\n".join(f"Produto {n} velho" for n in range(many)))
        added = await knowledge.add(admin_of(owner), "a.txt", "\n\n".join(f"Produto {n} novo" for n in range(many)))
        assert (added.documents, added.chunks) == (1, many)
        assert await found(knowledge, owner, "velho") == []
        assert await rows(database, "SELECT count(*) FROM knowledge_fts") == many

    async def test_from_two_places_lets_one_win_whole(self, knowledge: KnowledgeService, owner: UUID) -> None:
        texts = ["\n\n".join(f"{word} {n}" for n in range(STEP_ROWS + 1)) for word in ("Alfa", "Beta")]
        adding = (knowledge.add(admin_of(owner), "a.txt", one) for one in texts)
        ends = await asyncio.gather(*adding, return_exceptions=True)
        assert all(isinstance(end, Added | DocumentContended) for end in ends)
        counts = [len(await knowledge.search(owner, word, 1_000)) for word in ("alfa", "beta")]
        assert sorted(counts) in ([0, STEP_ROWS + 1], [0, 0])


class TestRemoving:
    @pytest.mark.sqlite_only(reason="it reads FTS5's own table")
    async def test_forgets_a_document(self, knowledge: KnowledgeService, database: Database, owner: UUID) -> None:
        await knowledge.add(admin_of(owner), "a.txt", "O pudim custa R$ 20.")
        assert await knowledge.remove(admin_of(OTHER), "a.txt") is False
        assert await knowledge.remove(admin_of(owner), "a.txt") is True
        assert await found(knowledge, owner, "pudim") == []
        assert await rows(database, "SELECT count(*) FROM knowledge_fts") == 0

    @pytest.mark.sqlite_only(reason="it reads FTS5's own table")
    async def test_of_rows_by_anybody_empties_the_index(
        self, knowledge: KnowledgeService, database: Database, owner: UUID
    ) -> None:
        await knowledge.add(admin_of(owner), "a.txt", "O pudim custa R$ 20.")
        await database.write(lambda uow: uow.changed(text("DELETE FROM knowledge_chunks")), owner=None)
        assert await rows(database, "SELECT count(*) FROM knowledge_fts WHERE knowledge_fts MATCH 'pudim'") == 0


class TestWhatIsNoDocument:
    @pytest.mark.parametrize(
        ("name", "content", "why"),
        [
            ("a.png", b"\x89PNG\r\n\x1a\n\x00\x00", "not a text file"),
            ("a.pdf", b"%PDF-1.7\n\x00\x01\xe2", "not a text file"),
            ("a.txt", "a\x00b", "not a text file"),
            ("a.txt", "half \ud83d", "not a text file"),
            ("a.txt", b"\xff\xfe\x00", "not a text file"),
            ("a.txt", "x" * (2 * 1024 * 1024 + 1), "larger than 2 MB"),
            ("a.txt", "x\n\n" * 5_001, "more than 5000 passages"),
            ("a.txt", " \n\n ", "no text"),
            ("a.md", "# Only\n## Headings", "no text"),
            ("", "text", "needs a name"),
            ("a\nb", "text", "needs a name"),
            ("x" * 201, "text", "needs a name"),
        ],
        ids=range(12),
    )
    async def test_is_refused_with_the_reason(
        self, knowledge: KnowledgeService, owner: UUID, name: str, content: str | bytes, why: str
    ) -> None:
        with pytest.raises(DocumentRefused, match=why):
            await knowledge.add(admin_of(owner), name, content)
        assert await knowledge.documents(owner) == []


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
async def test_files_of_every_usual_editor_are_read(knowledge: KnowledgeService, owner: UUID, codec: str) -> None:
    await knowledge.add(admin_of(owner), "a.txt", "Promoção de pães\r\nàs terças".encode(codec))
    assert await found(knowledge, owner, "promoções") == ["Promoção de pães\nàs terças"]


def test_the_index_is_part_of_the_driver_in_use() -> None:
    options = sqlite_module().connect(":memory:").execute("PRAGMA compile_options").fetchall()
    assert ("ENABLE_FTS5",) in options
