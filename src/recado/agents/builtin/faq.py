"""Answers from the owner's own documents, and says so when they contain no answer.

It needs no model and no key, and costs nothing. It searches for the words of each question, and a passage answers only
when it covers enough of them. A wrong answer is worse than none, so the rest gets an honest "I don't know" and the
offer of a person.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from recado.agents.builtin.texts import in_any_language, text_for
from recado.agents.knowledge.words import content_words
from recado.agents.models import Passage
from recado.agents.registry import AgentSetup
from recado.agents.results import clean_text
from recado.conversation.ports import AgentResult, HandOff, Incoming, NoReply, Reply, TurnContext
from recado.core.unicode import words

ENOUGH = 0.6
"""The share of a question that a passage must cover. "Vocês abrem no feriado?" is not answered by opening hours without
a word about holidays: they cover half of it."""

MAX_QUESTIONS = 6
_CANDIDATES = 12
_MAX_QUOTE = 120

# All of these are folded: lower case, no accents, single spaces.
_GREETING_WORDS = """
    oi ola opa eai bom boa dia tarde noite tudo bem bao com voce voces vc vcs como vai alo e ai hola buenos buenas dias
    tardes noches que tal hi hello hey there good morning afternoon evening how are you
"""
_THANKING_WORDS = """
    obrigado obrigada obg brigado brigada valeu vlw muito muita grato grata agradeco gracias muchas thanks thank you thx
    very much ok okay certo beleza blz entendi perfeito otimo legal show tchau ate mais logo bye adios
"""
_AGREEING_WORDS = """
    sim quero claro pode ser por favor isso aceito ok yes please sure yep yeah si vale dale s uhum bora
"""
_DECLINING_WORDS = "nao no nope obrigado obrigada gracias thanks precisa nada deixa n"
_GREETINGS = frozenset(_GREETING_WORDS.split())
_THANKS = frozenset(_THANKING_WORDS.split())
_YES = frozenset(_AGREEING_WORDS.split())
_NO = frozenset(_DECLINING_WORDS.split())
_PERSON = re.compile(
    r"""\b(?:
        atendente | atendimento[ ]humano | humanos? | humana | gerente | pessoa[ ]de[ ]verdade | agente[ ]humano
        | (?:falar|conversar|falo|converso|fale)[ ]com[ ](?:uma?[ ]|o[ ]|a[ ]|alguma?[ ]|algum[ ])?
          (?:pessoa|alguem|gente|equipe|vendedor\w*|responsavel|dono|dona)
        | (?:quero|preciso[ ]de|chama\w*|me[ ]passa\w*[ ]para)[ ]uma?[ ](?:pessoa|alguem)
        | habla\w*[ ]con[ ](?:una?[ ])?(?:persona|alguien|agente|humano)
        | human | real[ ]person | live[ ]agent
        | (?:talk|speak)[ ](?:to|with)[ ](?:an?[ ]|some[ ]?)?(?:person|one|somebody|agent)
    )\b""",
    re.VERBOSE,
)
_NOT_WANTED = re.compile(r"\b(?:nao|no|not|dont|don t)\b(?: \w+){0,2} (?:quero|preciso|precisa|want|need|quiero)\b")
# Forms of questions whose words the answer rarely repeats: "que horas vocês abrem?" is answered by "abrimos às 7h".
_ASKING = re.compile(
    r"\b(?:(?:a )?que horas?|qual (?:e )?o (?:preco|valor)|quanto (?:e que )?(?:custam?|sai|saem|fica)|what time|"
    r"how much (?:is|are|does)|a que hora|cuanto (?:cuestan?|valen?|sale))\b"
)
_SPLIT = re.compile(r"(?<=[?!.;…])\s+|\n+")
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]{1,80}+\]")


@dataclass(slots=True)
class _FaqMatches:
    """The result for the questions of a turn."""

    answers: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)


class FaqAgent:
    """Searches for each question in the owner's documents."""

    cooperative = True

    def __init__(self, setup: AgentSetup) -> None:
        self._knowledge = setup.knowledge

    async def respond(self, turn: TurnContext) -> AgentResult:
        texts = [fold_spaces(message.text) for message in turn.messages]
        if any(_wants_person(text) for text in texts) or (_was_offered(turn) and _agrees(texts)):
            return HandOff("the customer asked for a person", text_for(turn.locale, "connecting"))
        if _was_offered(turn) and texts and all(_only(text, _NO) for text in texts):
            return Reply(text_for(turn.locale, "declined"))
        found = await self._look_up(turn)
        if found.answers or found.unanswered:
            return Reply(_composed(turn, found))
        return _small_talk(turn, texts)

    async def _look_up(self, turn: TurnContext) -> _FaqMatches:
        found = _FaqMatches()
        for question in _questions(turn.messages)[:MAX_QUESTIONS]:
            answer = _best(await self._knowledge.search(turn.owner_id, _essence(question), _CANDIDATES))
            if answer is None:
                found.unanswered.append(question)
            elif answer.text not in found.answers:
                found.answers.append(answer.text)
        return found


def fold_spaces(text: str) -> str:
    """Return the words of a text, folded, with single spaces between them."""
    return " ".join(words(text))


def _questions(messages: Sequence[Incoming]) -> list[str]:
    """Return each question once: sentences with words that carry meaning."""
    asked: dict[tuple[str, ...], str] = {}
    for message in messages:
        for sentence in _SPLIT.split(_PLACEHOLDER.sub(" ", message.text)):
            meant = tuple(word.text for word in content_words(sentence))
            if meant and not _is_small_talk(sentence):
                asked.setdefault(meant, sentence.strip())
    return list(asked.values())


def _essence(question: str) -> str:
    """Return the question without its form ("que horas …"), if anything is left then."""
    rest = _ASKING.sub(" ", fold_spaces(question))
    return rest if content_words(rest) else question


def _best(passages: Sequence[Passage]) -> Passage | None:
    """Return the passage that covers most of the question; among equals the first of the index."""
    best = max(passages, key=lambda passage: passage.coverage, default=None)
    return best if best is not None and best.coverage >= ENOUGH else None


def _composed(turn: TurnContext, found: _FaqMatches) -> str:
    """Return every answer, and for questions without one an honest sentence and the offer of a person."""
    # Beside an answer, remarks ("moro no centro") need no apology; questions do.
    missing = [text for text in found.unanswered if "?" in text] if found.answers else found.unanswered
    if not missing:
        return "\n\n".join(found.answers)
    if found.answers:
        parts = [text_for(turn.locale, "unknown_part", question=_quote(text)) for text in missing]
    else:
        parts = [text_for(turn.locale, "unknown")]
    return "\n\n".join([*found.answers, "\n".join(parts) + " " + text_for(turn.locale, "ask")])


def _small_talk(turn: TurnContext, texts: Sequence[str]) -> AgentResult:
    if any(_PLACEHOLDER.search(message.text) for message in turn.messages):
        return Reply(f"{text_for(turn.locale, 'unreadable')} {text_for(turn.locale, 'ask')}")
    if any(texts) and all(_only(text, _THANKS) for text in texts if text):
        return Reply(text_for(turn.locale, "thanks"))
    if any(texts):
        return Reply(text_for(turn.locale, "greeting"))
    # Only signs, such as a thumb up: an answer would start an endless exchange of courtesies.
    return NoReply("nothing was said in words")


def _is_small_talk(text: str) -> bool:
    return _only(text, _GREETINGS) or _only(text, _THANKS)


def _only(text: str, vocabulary: frozenset[str]) -> bool:
    said_words = words(text)
    return bool(said_words) and len(said_words) <= 8 and all(word in vocabulary for word in said_words)


def _wants_person(text: str) -> bool:
    return bool(_PERSON.search(text)) and not _NOT_WANTED.search(text)


def _agrees(texts: Sequence[str]) -> bool:
    return any(_only(text, _YES) and not _only(text, _NO) for text in texts)


def _was_offered(turn: TurnContext) -> bool:
    """Return whether our last message ended with the offer of a person."""
    ours = [entry.text for entry in turn.history if entry.author == "agent"][-1:]
    return bool(ours) and turn.history[-1].author == "agent" and ours[0].rstrip().endswith(in_any_language("ask"))


def _quote(text: str) -> str:
    text = clean_text(" ".join(text.split()))
    return text if len(text) <= _MAX_QUOTE else text[: _MAX_QUOTE - 1] + "…"
