"""The agent that answers from the owner's documents, and admits it when they hold no answer."""

from uuid import UUID

import pytest

from recado.agents.builtin.faq import FaqAgent
from recado.agents.knowledge.service import KnowledgeService
from recado.agents.models import AgentForm
from recado.agents.registry import AgentSetup
from recado.agents.runner import AgentRunner
from recado.agents.service import AgentService
from recado.conversation.ports import Agent, AgentResult, HandOff, HistoryEntry, NoReply, Reply
from recado.core.clock import FrozenClock
from tests.agents.conftest import Turns
from tests.agents.fakes import setup_of
from tests.agents.knowledge.test_service import BAKERY
from tests.support.callers import admin_of

HOURS = "Abrimos de segunda a sábado, das 7h às 19h.\nAos domingos e feriados, das 7h às 13h."
DELIVERY = "Fazemos entregas no centro e na Vila Nova, das 9h às 17h. A taxa é de R$ 8."
CARDS = "Sim: débito, crédito e Pix."
OFFER = "Quer falar com uma pessoa da equipe?"
UNKNOWN = f"Desculpe, não encontrei essa informação. {OFFER}"


@pytest.fixture
async def faq(knowledge: KnowledgeService, service: AgentService, runner: AgentRunner, owner: UUID) -> Agent:
    await knowledge.add(admin_of(owner), "padaria.md", BAKERY)
    await service.set(admin_of(owner), AgentForm("faq"))
    return FaqAgent(await setup_of(runner, service, owner))


def after(clock: FrozenClock, text: str, author: str = "agent") -> tuple[HistoryEntry, ...]:
    return (HistoryEntry("customer", "vocês vendem pneus?", clock.now()), HistoryEntry(author, text, clock.now()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Que horas vocês abrem?", HOURS),
        ("quanto custa a entrega?", DELIVERY),
        ("Que horas são?", None),
        ("vocês abrem domingo?", HOURS),
        ("Vocês abrem aos domingos e feriados??", HOURS),
        ("e entregam?", DELIVERY),
        ("qual a taxa de entrega?", DELIVERY),
        ("Aceita cartão?", CARDS),
        ("aceitam cartões de crédito", CARDS),
        ("tem estacionamento", "Temos duas vagas em frente à loja."),
        ("vocês vendem pneus?", None),
        ("aceitam bitcoin?", None),
        ("Vocês abrem de madrugada?", None),
        ("Qual é a capital da França?", None),
    ],
)
async def test_answers_what_the_documents_say_and_nothing_else(
    faq: Agent, turn_of: Turns, question: str, answer: str | None
) -> None:
    assert await faq.respond(turn_of(question)) == Reply(UNKNOWN if answer is None else answer)


async def test_a_burst_is_answered_once_with_every_answer(faq: Agent, turn_of: Turns) -> None:
    burst = turn_of("oi", "vocês abrem domingo?", "e entregam?")
    assert await faq.respond(burst) == Reply(f"{HOURS}\n\n{DELIVERY}")


async def test_two_questions_in_one_message_get_both_answers(faq: Agent, turn_of: Turns) -> None:
    assert await faq.respond(turn_of("Bom dia! Aceita cartão? E entregam?")) == Reply(f"{CARDS}\n\n{DELIVERY}")


async def test_the_same_answer_is_given_once(faq: Agent, turn_of: Turns) -> None:
    assert await faq.respond(turn_of("abrem domingo?", "abrem feriado?", "abrem domingo?")) == Reply(HOURS)


async def test_what_has_no_answer_is_named_beside_what_has_one(faq: Agent, turn_of: Turns) -> None:
    answer = await faq.respond(turn_of("Aceita cartão?", "vocês vendem pneus?", "moro perto"))
    assert answer == Reply(f"{CARDS}\n\nSobre “vocês vendem pneus?”, não encontrei a informação. {OFFER}")


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        ("pt-BR", "Desculpe, não encontrei essa informação. Quer falar com uma pessoa da equipe?"),
        ("en", "Sorry, I could not find that information. Would you like to talk to a person of the team?"),
        ("es", "Lo siento, no encontré esa información. ¿Quieres hablar con una persona del equipo?"),
        ("fr", "Desculpe, não encontrei essa informação. Quer falar com uma pessoa da equipe?"),
    ],
)
async def test_says_so_in_the_owners_language(faq: Agent, turn_of: Turns, locale: str, said: str) -> None:
    assert await faq.respond(turn_of("bitcoin?", locale=locale)) == Reply(said)


@pytest.mark.parametrize("text", ["oi", "Olá!", "Bom dia, tudo bem?", "oi 👋", "Boa noite"])
async def test_greets_back(faq: Agent, turn_of: Turns, text: str) -> None:
    assert await faq.respond(turn_of(text)) == Reply("Olá! Como posso ajudar?")


@pytest.mark.parametrize("text", ["obrigado!", "Muito obrigada", "valeu", "ok, obrigado"])
async def test_takes_thanks(faq: Agent, turn_of: Turns, text: str) -> None:
    assert await faq.respond(turn_of(text)) == Reply("De nada! Se precisar de mais alguma coisa, é só escrever.")


async def test_a_bare_sign_needs_no_answer(faq: Agent, turn_of: Turns) -> None:
    assert isinstance(await faq.respond(turn_of("👍")), NoReply)


async def test_says_that_it_reads_text_only(faq: Agent, turn_of: Turns) -> None:
    answer = await faq.respond(turn_of("[image]"))
    assert isinstance(answer, Reply)
    assert answer.text.startswith("Recebi o que você enviou")
    assert answer.text.endswith(OFFER)


class TestAskingForAPerson:
    @pytest.mark.parametrize(
        "text",
        [
            "quero falar com uma pessoa",
            "Quero falar com alguém, por favor",
            "atendente",
            "me passa para um atendente",
            "posso falar com um vendedor?",
            "atendimento humano",
            "human",
            "I want to talk to a person",
            "can I speak to someone",
            "quiero hablar con una persona",
        ],
    )
    async def test_hands_over(self, faq: Agent, turn_of: Turns, text: str) -> None:
        assert is_hand_off(await faq.respond(turn_of(text)))

    @pytest.mark.parametrize("text", ["sim", "Sim, por favor", "quero", "claro!", "yes please", "pode ser"])
    @pytest.mark.parametrize(
        "offer", [f"Desculpe, não sei. {OFFER}", "Sorry. Would you like to talk to a person of the team?"]
    )
    async def test_by_agreeing_to_the_offer_hands_over(
        self, faq: Agent, turn_of: Turns, clock: FrozenClock, text: str, offer: str
    ) -> None:
        assert is_hand_off(await faq.respond(turn_of(text, history=after(clock, offer))))

    async def test_needs_an_offer_to_agree_to(self, faq: Agent, turn_of: Turns, clock: FrozenClock) -> None:
        assert not is_hand_off(await faq.respond(turn_of("sim")))
        assert not is_hand_off(await faq.respond(turn_of("sim", history=after(clock, CARDS))))
        assert not is_hand_off(await faq.respond(turn_of("sim", history=after(clock, OFFER, "person"))))

    @pytest.mark.parametrize("text", ["não", "Não, obrigado", "no thanks"])
    async def test_can_be_declined(self, faq: Agent, turn_of: Turns, clock: FrozenClock, text: str) -> None:
        answer = await faq.respond(turn_of(text, history=after(clock, OFFER)))
        assert answer == Reply("Tudo bem! Se precisar, é só escrever.")

    async def test_is_not_read_into_its_refusal(self, faq: Agent, turn_of: Turns) -> None:
        assert not is_hand_off(await faq.respond(turn_of("não quero falar com atendente")))

    async def test_goes_before_every_answer(self, faq: Agent, turn_of: Turns) -> None:
        assert is_hand_off(await faq.respond(turn_of("aceita cartão?", "quero falar com um atendente")))

    async def test_tells_the_customer_in_the_owners_language(self, faq: Agent, turn_of: Turns) -> None:
        answer = await faq.respond(turn_of("human", locale="en"))
        assert isinstance(answer, HandOff)
        assert (answer.notice or "").startswith("All right!")


async def test_an_owner_without_documents_gets_the_honest_word(
    runner: AgentRunner, service: AgentService, turn_of: Turns, owner: UUID
) -> None:
    await service.set(admin_of(owner), AgentForm("faq"))
    setup: AgentSetup = await setup_of(runner, service, owner)
    assert await FaqAgent(setup).respond(turn_of("aceita cartão?")) == Reply(UNKNOWN)


def is_hand_off(answer: AgentResult) -> bool:
    return isinstance(answer, HandOff)
