"""Why Twilio refuses, at once (an HTTP answer) or later (the error code of a failed message)."""

from dataclasses import dataclass

from recado.emulator.messages import JsonObject

_TEXTS = {
    11200: "The URL answered with an error.",
    11205: "The URL could not be reached in time.",
    12100: "The TwiML could not be parsed.",
    12300: "The answer has a content type that is not understood.",
    20001: "A parameter is missing or invalid.",
    20003: "Authenticate",
    20004: "The method is not allowed here.",
    20009: "The message is still being processed.",
    20404: "The requested resource was not found.",
    20429: "Too many requests.",
    20500: "Internal server error.",
    21211: "The 'To' address is not valid.",
    21212: "The 'From' address is not valid.",
    21408: "Sending to this region is not enabled.",
    21602: "A message needs a body.",
    21603: "A 'From' address or a messaging service is required.",
    21604: "A 'To' address is required.",
    21606: "The 'From' number cannot send messages for this account.",
    21609: "The 'StatusCallback' URL is not valid.",
    21610: "The recipient has opted out.",
    21611: "The queue of this 'From' number is full.",
    21612: "The 'To' number cannot be reached from this 'From' number.",
    21614: "The 'To' number is not a mobile number.",
    21617: "The message body is longer than 1600 characters.",
    21620: "A media URL is not valid.",
    21623: "A message takes at most ten media URLs.",
    21656: "The content variables are not a JSON object.",
    21703: "The messaging service has no sender for this message.",
    21910: "'From' and 'To' are of different channels.",
    30003: "The handset cannot be reached.",
    30007: "The message was filtered.",
    30008: "Unknown error.",
    30409: "The message can no longer be cancelled.",
    35114: "'SendAt' must be 15 minutes to 35 days ahead.",
    35118: "Scheduling needs a messaging service.",
    63007: "No channel of this account has the 'From' address.",
    63016: "A free-form message was sent outside the allowed window.",
    63038: "The account has reached its daily limit of messages.",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    code: int
    status: int = 400

    @property
    def text(self) -> str:
        return text_of(self.code)

    def resource(self) -> JsonObject:
        return {
            "code": self.code,
            "message": self.text,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }


def text_of(code: int) -> str:
    return _TEXTS.get(code, f"Error {code}.")


UNAUTHENTICATED = Refusal(20003, 401)
NOT_FOUND = Refusal(20404, 404)
NOT_ALLOWED = Refusal(20004, 405)
THROTTLED = Refusal(20429, 429)
DAILY_CAP = Refusal(63038, 429)
BROKEN = Refusal(20500, 500)
