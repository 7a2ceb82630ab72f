"""Twilio's own library, aimed at an emulator; its types are wrapped once here because it publishes none."""

from urllib.parse import urlsplit

from twilio.base import values
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from tests.emulator.application import Received
from tests.emulator.world import BAKERY, SHOP, SID, TOKEN


class RebasedHttpClient(TwilioHttpClient):
    """Sends what the real client would send to Twilio to an emulator."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url

    def request(
        self,
        method: str,
        url: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        parts = urlsplit(url)
        target = self._base_url + parts.path + (f"?{parts.query}" if parts.query else "")
        return super().request(method, target, params, data, headers, auth, timeout, allow_redirects)

    def close(self) -> None:
        if self.session is not None:
            self.session.close()


def client_over(http: RebasedHttpClient) -> Client:
    return Client(SID, TOKEN, http_client=http)  # type: ignore[no-untyped-call]


def create(twilio: Client, to: str, body: str, callback: str | None = None) -> str:
    """The SID of a message from the number of that channel."""
    sender = BAKERY if to.startswith("whatsapp:") else SHOP
    created = twilio.messages.create(to=to, from_=sender, body=body, status_callback=callback or values.unset)
    return str(created.sid)


def is_signed(request: Received, url: str, token: str = TOKEN) -> bool:
    validator = RequestValidator(token)  # type: ignore[no-untyped-call]
    return bool(validator.validate(url, request.form, request.headers["X-Twilio-Signature"]))  # type: ignore[no-untyped-call]
