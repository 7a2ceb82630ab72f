"""The part of the language model agent that needs pydantic-ai; imported by `llm.py` when the first turn needs it.

One pydantic-ai agent serves every owner: model, instructions and owner come with each run, so a thousand owners cost a
thousand small model objects and nothing else. Tools take the owner from the turn; a model can name no other.
"""

import os

os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")  # Read by the import of pydantic-ai and by its first run.

import asyncio
import contextlib
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx2
from openai import AsyncOpenAI, OpenAIError
from pydantic import BaseModel, Field
from pydantic_ai import Agent, RunContext, RunUsage, ToolOutput, UsageLimits
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelHTTPError,
    ModelTimeoutError,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers import Provider, infer_provider_class
from pydantic_ai.providers.openai import OpenAIProvider

from recado.agents.knowledge.service import KnowledgeService
from recado.agents.prompts import person_began, person_ended, system_prompt, tagged
from recado.agents.registry import AgentSetup
from recado.agents.results import MAX_ANSWER, clean_text
from recado.conversation.errors import AgentFailed
from recado.conversation.ports import AgentResult, HandOff, HistoryEntry, Reply, TurnContext, Usage
from recado.core.outbound.dialling import AddressRefused
from recado.core.outbound.http_clients import CONNECT_SECONDS, READ_SECONDS, Reach

MAX_PASSAGES = 5
_RETRIES = 2
_TRY_AGAIN = frozenset({408, 409, 425, 429})
_NO_KEY = "none"
"""Sent when an owner set no key. Without it the client would send the operator's own OPENAI_API_KEY to the address."""

# The most that one turn may cost, with a runaway model or a customer who plays with it.
_LIMITS = UsageLimits(request_limit=6, tool_calls_limit=8, total_tokens_limit=120_000)

# The most common fault of such agents: the model says that it transfers the customer and calls no tool. We then hand
# the conversation over. Only announcements in the first person about the customer count, not "transferência por Pix".
_ANNOUNCED = re.compile(
    r"""\b(?:
        (?:vou|irei|estou|j[áa])\s+(?:te\s+|lhe\s+|o\s+|a\s+|voc[êe]\s+)?
            (?:transferir|transferindo|encaminhar|encaminhando|passar|passando)\s+(?:voc[êe]|seu\s+(?:atendimento|contato))
        | (?:vou|irei|estou)\s+(?:te|lhe)\s+(?:transferi\w+|encaminha\w+|passa\w+)\s+para
        | te\s+(?:transfiero|paso|comunico|conecto)\s+con
        | voy\s+a\s+(?:transferirte|pasarte|comunicarte|conectarte)
        | (?:transferring|connecting|forwarding)\s+you\s+(?:to|with)
        | (?:i'll|i\s+will|let\s+me)\s+(?:transfer|connect|forward)\s+you
    )""",
    re.IGNORECASE | re.VERBOSE,
)


class HandOffRequest(BaseModel):
    """A person of the team must take over."""

    reason: str = Field(description="For the team: why, in one short sentence.")
    notice: str | None = Field(default=None, description="What the customer reads meanwhile, in their language.")


@dataclass(frozen=True, slots=True)
class _Deps:
    turn: TurnContext
    knowledge: KnowledgeService


async def search_knowledge(context: RunContext[_Deps], query: str) -> str:
    """Look something up in the documents of the business: prices, hours, rules, products.

    Args:
        context: The turn; the model does not see it.
        query: A few words of what to look for, in the language of the documents.
    """
    deps = context.deps
    passages = await deps.knowledge.search(deps.turn.owner_id, query, MAX_PASSAGES)
    return "\n\n".join(f"{passage.heading}\n{passage.text}".strip() for passage in passages) or "Nothing was found."


_AGENT = Agent(
    deps_type=_Deps,
    output_type=[
        str,
        ToolOutput(
            HandOffRequest,
            name="hand_off",
            description="Hand the conversation to a person of the team; nothing more is said by you.",
        ),
    ],
    tools=[search_knowledge],
    retries=1,
)


class Engine:
    """One owner's model."""

    def __init__(self, setup: AgentSetup, model: Model | None = None) -> None:
        self._setup = setup
        self._given = model
        self._built: tuple[asyncio.AbstractEventLoop, Model] | None = None
        self._leaves_through_us = False

    async def respond(self, turn: TurnContext) -> AgentResult:
        settings = self._setup.settings
        history = turn.history[-settings.history_limit :] if settings.history_limit else ()
        earlier, person_is_on = _history_messages(history, turn.locale)
        model, used = self.model(), RunUsage()
        try:
            async with self._setup.http.preparation_slot() if self._leaves_through_us else contextlib.nullcontext():
                run = await _AGENT.run(
                    self._present(turn, person_was_on=person_is_on),
                    model=model,
                    message_history=earlier,
                    instructions=system_prompt(turn.locale, settings.prompt),
                    deps=_Deps(turn, self._setup.knowledge),
                    usage=used,
                    usage_limits=_LIMITS,
                    infer_name=False,
                )
        except (AgentRunError, UserError) as error:
            raise _as_failure(error) from None
        finally:  # Also after a failure or a cancellation.
            turn.consumption.report(self._usage(used))
        return _result(run.output, self._usage(used))

    def _usage(self, used: RunUsage) -> Usage:
        return Usage((self._setup.settings.model or "")[:200], used.input_tokens, used.output_tokens)

    def _present(self, turn: TurnContext, *, person_was_on: bool) -> str:
        """Return the text that needs an answer now."""
        now = self._setup.clock.now()
        lines = [person_ended(turn.locale)] if person_was_on else []
        lines.append(tagged("now", f"{now:%A %Y-%m-%d %H:%M} UTC"))
        if turn.contact_name:
            lines.append(tagged("profile-name", turn.contact_name))
        return "\n".join([*lines, *(tagged("customer", message.text) for message in turn.messages)])

    def model(self) -> Model:
        """Return the model object. It is kept while the event loop of its connections stays the same."""
        loop = asyncio.get_running_loop()
        if self._given is not None:
            return self._given
        if self._built is None or self._built[0] is not loop:
            self._built = (loop, self._new_model())
        return self._built[1]

    def problem(self) -> str | None:
        """Return why no model can be built; None when one can, whether its server answers or not."""
        try:
            self.model()
        except AgentFailed as failure:
            return failure.reason
        except (UserError, OpenAIError):  # What they say of it: the variable with the provider's key is not set.
            provider = (self._setup.settings.model or "").partition(":")[0]
            return f"the provider {provider[:60]!r} is not set up here: give an API key, or set its own variables"
        except ImportError:
            return "the model's provider needs a package that is not installed"
        return None

    def _new_model(self) -> Model:
        settings, key = self._setup.settings, self._setup.credentials.api_key
        if settings.base_url is None:
            return infer_model(settings.model or "", self._provider)
        self._leaves_through_us = True
        reach: Reach = "anywhere" if settings.allow_private else "public"
        client = AsyncOpenAI(
            base_url=settings.base_url,
            api_key=key or _NO_KEY,
            http_client=self._setup.http.client(reach),
            timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None),
            max_retries=_RETRIES,  # The deadline of the turn, enforced in `llm.py`, ends these too.
        )
        return OpenAIChatModel(settings.model or "", provider=OpenAIProvider(openai_client=client))

    def _provider(self, name: str) -> Provider[object]:
        """Return a provider with the owner's key.

        Without one it reads the operator's environment, as the service allowed.
        """
        key = self._setup.credentials.api_key
        try:
            make: Callable[..., Provider[object]] = infer_provider_class(name)
        except ImportError:
            raise AgentFailed(
                f"the provider {name[:60]!r} needs a package that is not installed", retryable=False
            ) from None
        except ValueError:
            raise AgentFailed(f"there is no provider called {name[:60]!r}", retryable=False) from None
        takes = inspect.signature(make).parameters
        if key is not None and "api_key" not in takes:
            raise AgentFailed(f"the provider {name[:60]!r} takes no API key", retryable=False)
        given: dict[str, object] = {} if key is None else {"api_key": key}
        if "http_client" in takes:
            self._leaves_through_us = True
            given["http_client"] = self._setup.http.client("provider")
        return make(**given)


# --- What the model reads ---------------------------------------------------------------------------------------------


def _history_messages(history: Sequence[HistoryEntry], locale: str) -> tuple[list[ModelMessage], bool]:
    """Return the earlier messages in the model's roles, and whether a person was speaking at their end.

    A model that learns when a person took over but not when the person left stays silent for ever, so both are marked.
    """
    messages: list[ModelMessage] = []
    lines: list[str] = []
    person_is_on = False
    for entry in history:
        if entry.author == "agent":
            lines += [person_ended(locale)] * person_is_on
            person_is_on = False
            _close(messages, lines)
            _add_user_text(messages, entry.text)
        else:
            if entry.author == "person" and not person_is_on:
                lines.append(person_began(locale))
                person_is_on = True
            lines.append(tagged(entry.author, entry.text))
    _close(messages, lines)
    return messages, person_is_on


def _close(messages: list[ModelMessage], lines: list[str]) -> None:
    if lines:
        messages.append(ModelRequest(parts=[UserPromptPart("\n".join(lines))]))
        lines.clear()


def _add_user_text(messages: list[ModelMessage], text: str) -> None:
    """Add a message of the agent. Two in a row become one, because some models require alternating roles."""
    last = messages[-1] if messages else None
    if isinstance(last, ModelResponse):
        messages[-1] = ModelResponse(parts=[*last.parts, TextPart(text)])
    else:
        messages.append(ModelResponse(parts=[TextPart(text)]))


# --- What the model says ----------------------------------------------------------------------------------------------


def _result(output: str | HandOffRequest, usage: Usage) -> AgentResult:
    if isinstance(output, HandOffRequest):
        notice = clean_text(output.notice or "").strip()[:MAX_ANSWER]
        return HandOff(clean_text(output.reason).strip()[:500], notice or None, usage)
    text = clean_text(output).strip()
    if _ANNOUNCED.search(text):
        return HandOff("the agent announced a person", text, usage)
    return Reply(text, usage)


_FAILURES: tuple[tuple[type[Exception], str, bool], ...] = (
    (ModelTimeoutError, "the model took too long", True),
    (ModelAPIError, "the model's server could not be reached", True),
    (UsageLimitExceeded, "the model used more than a turn may cost", False),
    (UnexpectedModelBehavior, "the model's answer cannot be used", True),
    (UserError, "the model cannot be used as it is set; set it again", False),
)


def _as_failure(error: Exception) -> AgentFailed:
    """Return the failure in our words: the library's may quote the conversation."""
    if _was_refused(error):
        return AgentFailed("the model's URL leads to an address that is not public", retryable=False)
    if isinstance(error, ModelHTTPError):
        status = error.status_code
        return AgentFailed(f"the model's server answered {status}", retryable=status >= 500 or status in _TRY_AGAIN)
    for kind, reason, retryable in _FAILURES:
        if isinstance(error, kind):
            return AgentFailed(reason, retryable=retryable)
    return AgentFailed(f"the model failed ({type(error).__name__})")


def _was_refused(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AddressRefused):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
