"""The meaning of Twilio's error codes, as data, and the result of a refused create call.

A call that was refused with a 4xx was never processed, so the only question is whether a retry can help. A 5xx proves
nothing. Decide by the code, not by the status: a 429 is a short overload (20429) or a used-up daily limit (63038).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Literal, TypeAlias

from recado.conversation.ports import NotProcessed, Refused, Unknown

Reason: TypeAlias = Literal["opt_out", "window_closed", "unreachable"]


class Where(Enum):
    """Where a code appears. Twilio is not strict about it: accept every code in every place."""

    SYNC = "in the answer to our call"
    ASYNC = "in a status callback or in the message itself"
    WEBHOOK = "in Twilio's debugger, about an endpoint of ours"


class Action(Enum):
    """What helps."""

    RETRY = "try again shortly"
    RETRY_LATER = "try again after a long pause"
    DROP = "this message cannot be sent"
    SUPPRESS = "stop writing to this recipient"
    PAUSE_ACCOUNT = "stop the account and tell the owner"
    FIX = "something of ours is set up wrong"
    RECONCILE = "look whether it was sent before doing anything"
    NONE = "nothing to do"


@dataclass(frozen=True, slots=True)
class TwilioError:
    """One row of the table. `retry_after` (seconds) is set only if an earlier retry is known to be useless."""

    code: int
    where: Where
    meaning: str
    action: Action
    reason: Reason = "unreachable"
    retry_after: float | None = None


_S, _A, _W = Where.SYNC, Where.ASYNC, Where.WEBHOOK
_MINUTES, _HOURS = 60.0, 3_600.0

_ROWS = (
    TwilioError(11200, _W, "our endpoint answered with an error", Action.FIX),
    TwilioError(11205, _W, "our endpoint could not be reached in time", Action.FIX),
    TwilioError(11210, _W, "the name of our endpoint could not be resolved", Action.FIX),
    TwilioError(11220, _W, "the TLS handshake with our endpoint failed", Action.FIX),
    TwilioError(11237, _W, "the certificate of our endpoint was not accepted", Action.FIX),
    TwilioError(11750, _W, "our answer was larger than 64 kB", Action.FIX),
    TwilioError(11751, _A, "a media file is larger than the channel allows", Action.DROP),
    TwilioError(12100, _W, "our answer was not valid XML", Action.FIX),
    TwilioError(12200, _W, "our answer did not fit the TwiML schema", Action.FIX),
    TwilioError(12300, _W, "our answer had a content type Twilio does not accept", Action.FIX),
    TwilioError(14107, _A, "too many answers to one pair in a short time: perhaps a bot on the other side",
                Action.RETRY_LATER, retry_after=1 * _MINUTES),
    TwilioError(20003, _S, "the credentials are wrong, or the account is suspended", Action.PAUSE_ACCOUNT),
    TwilioError(20005, _S, "the account is not active", Action.PAUSE_ACCOUNT),
    TwilioError(20006, _S, "access to the account was denied", Action.PAUSE_ACCOUNT),
    TwilioError(20008, _S, "test credentials cannot do this", Action.FIX),
    TwilioError(20403, _S, "the account is not allowed to do this", Action.PAUSE_ACCOUNT),
    TwilioError(20404, _S, "the account was not found, or these credentials belong to another", Action.FIX),
    TwilioError(20429, _S, "too many calls at the same time", Action.RETRY),
    TwilioError(20500, _S, "an internal error of Twilio", Action.RECONCILE),
    TwilioError(20503, _S, "Twilio is not available", Action.RECONCILE),
    TwilioError(21211, _S, "the recipient's address is not valid", Action.SUPPRESS),
    TwilioError(21212, _S, "the sender's address is not valid", Action.FIX),
    TwilioError(21408, _S, "the account may not send to that country", Action.DROP),
    TwilioError(21602, _S, "the message has no text", Action.FIX),
    TwilioError(21603, _S, "the message has no sender", Action.FIX),
    TwilioError(21604, _S, "the message has no recipient", Action.FIX),
    TwilioError(21606, _S, "the sender is not of this account or cannot send there", Action.FIX),
    TwilioError(21608, _S, "a trial account can only write to verified recipients", Action.DROP),
    TwilioError(21609, _S, "Twilio does not accept our callback address; set RECADO_PUBLIC_URL to a public host",
                Action.FIX),
    TwilioError(21610, _S, "the recipient opted out", Action.SUPPRESS, "opt_out"),
    TwilioError(21611, _S, "the sender's queue is full", Action.RETRY_LATER, retry_after=10 * _MINUTES),
    TwilioError(21612, _S, "the recipient cannot be reached from this sender", Action.DROP),
    TwilioError(21614, _S, "the recipient is not a mobile number", Action.SUPPRESS),
    TwilioError(21617, _S, "the text is longer than 1600 characters", Action.FIX),
    TwilioError(21619, _S, "the message has neither text nor media", Action.FIX),
    TwilioError(21620, _S, "a media address is not valid", Action.FIX),
    TwilioError(21623, _S, "the message has more than ten media files", Action.FIX),
    TwilioError(21654, _S, "the template is missing", Action.FIX),
    TwilioError(21655, _S, "the template is not valid", Action.FIX),
    TwilioError(21656, _S, "the template's variables are not valid", Action.FIX),
    TwilioError(21703, _S, "the messaging service has no sender that can send this", Action.FIX),
    TwilioError(21704, _S, "the messaging service has no sender", Action.FIX),
    TwilioError(21705, _S, "the messaging service is not valid", Action.FIX),
    TwilioError(21910, _S, "sender and recipient are on different channels", Action.FIX),
    TwilioError(30001, _A, "the queue is full", Action.RETRY_LATER, retry_after=10 * _MINUTES),
    TwilioError(30002, _A, "the account was suspended after the message was queued", Action.PAUSE_ACCOUNT),
    TwilioError(30003, _A, "the recipient's phone is off or out of reach", Action.RETRY_LATER, retry_after=2 * _HOURS),
    TwilioError(30004, _A, "the message was blocked on the recipient's side", Action.SUPPRESS),
    TwilioError(30005, _A, "the recipient's number is unknown or inactive", Action.SUPPRESS),
    TwilioError(30006, _A, "the recipient is a landline or its carrier cannot be reached", Action.SUPPRESS),
    TwilioError(30007, _A, "the message was filtered for its content or the sender's reputation", Action.DROP),
    TwilioError(30008, _A, "the carrier failed for an unknown reason", Action.RETRY_LATER, retry_after=5 * _MINUTES),
    TwilioError(30009, _A, "a segment of an incoming message is missing", Action.NONE),
    TwilioError(30010, _A, "the message costs more than allowed", Action.FIX),
    TwilioError(30017, _A, "the carrier is congested", Action.RETRY_LATER, retry_after=5 * _MINUTES),
    TwilioError(30022, _A, "the campaign's rate was exceeded", Action.RETRY_LATER, retry_after=5 * _MINUTES),
    TwilioError(30023, _A, "the carrier's daily cap is used up", Action.RETRY_LATER, retry_after=6 * _HOURS),
    TwilioError(30027, _A, "the carrier's daily cap is used up", Action.RETRY_LATER, retry_after=6 * _HOURS),
    TwilioError(30032, _A, "the toll-free number is not verified", Action.FIX),
    TwilioError(30033, _A, "the campaign is suspended", Action.FIX),
    TwilioError(30034, _A, "the number is not registered to a campaign", Action.FIX),
    TwilioError(30035, _A, "the number is still being set up for a campaign", Action.RETRY_LATER,
                retry_after=2 * _HOURS),
    TwilioError(30409, _S, "the message is already in a final state", Action.NONE),
    TwilioError(30410, _A, "the provider did not answer in time; Twilio gave up to avoid sending twice",
                Action.RECONCILE),
    TwilioError(35111, _S, "the scheduling parameters are not valid", Action.FIX),
    TwilioError(35114, _S, "the scheduled time is out of range", Action.FIX),
    TwilioError(35118, _S, "scheduling needs a messaging service", Action.FIX),
    TwilioError(63001, _A, "the channel refused the sender's credentials", Action.FIX),
    TwilioError(63003, _A, "the recipient was not found on the channel", Action.SUPPRESS),
    TwilioError(63005, _A, "the channel refused the content", Action.DROP),
    TwilioError(63007, _S, "the account has no such sender on the channel", Action.FIX),
    TwilioError(63012, _A, "the channel had an internal error", Action.RETRY_LATER, retry_after=5 * _MINUTES),
    TwilioError(63013, _A, "the content breaks the channel's policy", Action.DROP),
    TwilioError(63015, _A, "the recipient has not joined the sandbox", Action.DROP),
    TwilioError(63016, _A, "the 24-hour window is closed; only a template may be sent", Action.DROP, "window_closed"),
    TwilioError(63017, _A, "the account's total rate was exceeded", Action.RETRY_LATER, retry_after=1 * _MINUTES),
    TwilioError(63018, _A, "the sender's rate or messaging limit was exceeded", Action.RETRY_LATER,
                retry_after=1 * _MINUTES),
    TwilioError(63019, _A, "Twilio could not download our media", Action.FIX),
    TwilioError(63020, _A, "the business manager invitation was not accepted", Action.FIX),
    TwilioError(63021, _A, "the content is not supported or too long", Action.DROP),
    TwilioError(63024, _A, "the recipient cannot receive messages of this channel", Action.SUPPRESS),
    TwilioError(63027, _A, "the template does not exist in this language", Action.FIX),
    TwilioError(63028, _A, "the template has another number of variables", Action.FIX),
    TwilioError(63030, _A, "a parameter does not go with this type of message", Action.FIX),
    TwilioError(63032, _A, "the channel does not deliver to this user at present", Action.DROP),
    TwilioError(63033, _A, "the recipient blocked us or declined marketing", Action.SUPPRESS),
    TwilioError(63034, _A, "the media file is too large", Action.DROP),
    TwilioError(63038, _S, "the account's daily cap is used up", Action.PAUSE_ACCOUNT, retry_after=1 * _HOURS),
    TwilioError(63040, _A, "the template was rejected", Action.FIX),
    TwilioError(63041, _A, "the template is paused", Action.FIX),
    TwilioError(63042, _A, "the template is disabled", Action.FIX),
    TwilioError(63049, _A, "the channel declined a marketing template", Action.DROP),
    TwilioError(63051, _A, "the sender or its business account is locked", Action.FIX),
    TwilioError(63112, _A, "the business account was disabled", Action.FIX),
    TwilioError(92002, _S, "the template has too many variables", Action.FIX),
    TwilioError(92007, _S, "the template's variables are not valid", Action.FIX),
)  # fmt: skip

ERRORS: Mapping[int, TwilioError] = MappingProxyType({row.code: row for row in _ROWS})
"""Every known code, by its number."""

_PAUSED_RETRY = 15 * _MINUTES
"""A person must correct wrong credentials, so frequent retries help nobody."""


def known(code: int | str | None) -> TwilioError | None:
    """Return the row of a code, written as in Twilio's JSON (a number) or in its forms (digits)."""
    text = str(code)
    return ERRORS.get(int(text)) if text.isascii() and text.isdecimal() and len(text) <= 6 else None


def meaning_of(code: str) -> str | None:
    """Return what a code means, as a sentence for people; None for a code that is not in the table."""
    found = known(code)
    return None if found is None else found.meaning


def is_opt_out(code: int | str | None) -> bool:
    """Return whether a code says that the recipient opted out."""
    row = known(code)
    return row is not None and row.reason == "opt_out"


def classify_refusal(
    status: int, code: int | str | None, message: str = "", *, retry_after: float | None = None
) -> Refused | NotProcessed | Unknown:
    """Return the result of a create call that was answered with an error.

    `message` is shown for codes that are not in the table and must not contain a whole phone number. `retry_after` is
    the value of the answer's header, if any.
    """
    row = known(code)
    name = str(code) if code is not None else f"http_{status}"
    detail = row.meaning if row else message
    if status == 408 or not 400 <= status < 500:
        # A 408 may come from a proxy that had already passed the request on.
        return Unknown(name, detail)
    if row and row.action is Action.RECONCILE:
        return Unknown(name, detail)
    if row is None:
        return _unknown_code(status, name, detail, retry_after)
    if row.action is Action.PAUSE_ACCOUNT:
        wait = retry_after or row.retry_after or _PAUSED_RETRY
        return NotProcessed(name, detail, retry_after=wait, pause_account=True)
    if row.action in (Action.RETRY, Action.RETRY_LATER):
        return NotProcessed(name, detail, retry_after=retry_after or row.retry_after)
    return Refused(name, detail, row.reason)


def _unknown_code(status: int, name: str, detail: str, retry_after: float | None) -> Refused | NotProcessed:
    if status == 401:
        return NotProcessed(name, detail, retry_after=retry_after or _PAUSED_RETRY, pause_account=True)
    if status == 429:
        return NotProcessed(name, detail, retry_after=retry_after)
    return Refused(name, detail, "unreachable")
