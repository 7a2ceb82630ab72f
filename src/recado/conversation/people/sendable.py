"""What a person or a program may send, asked before it is stored.

The same is asked again before each attempt. Asked here, the writer learns at once why it cannot be sent.
"""

from recado.conversation.errors import CannotSend, ContactBlocked, OptedOut, OwnerClosed, WindowClosed
from recado.conversation.models import Answer, Conversation, Suppression
from recado.conversation.sending.policy import why_not
from recado.conversation.sending.results import SendRules
from recado.core.errors import InvalidInput
from recado.core.queue.transactions import Transaction

MAX_TEXT_LENGTH = 20_000
"""Characters of one message, which is as much as an agent may say."""

_REFUSALS: dict[Suppression, type[CannotSend]] = {
    "closed_account": OwnerClosed,
    "opt_out": OptedOut,
    "blocked": ContactBlocked,
    "window_closed": WindowClosed,
}


def checked_text(text: str) -> str:
    """Return a text that can be sent. Raises `InvalidInput`."""
    if not text.strip():
        raise InvalidInput("there is nothing to say: the text is empty")
    if len(text) > MAX_TEXT_LENGTH:
        raise InvalidInput(f"the text has {len(text):,} characters; {MAX_TEXT_LENGTH:,} at most")
    return text


def nothing_more(_tx: Transaction, _answer: Answer) -> None:
    """Do nothing at the end of a transaction."""


def require_sendable(tx: Transaction, answer: Answer, conversation: Conversation, rules: SendRules) -> None:
    """Raise `CannotSend` when an answer that was just stored could not be sent now; the transaction undoes it."""
    account = rules.accounts.behind(tx.uow, answer.address_id)
    reason = why_not(tx.uow, answer, conversation, tx.now, rules.of(account, answer))
    if reason is not None:
        raise _REFUSALS.get(reason, CannotSend)()
