"""Send mail through an SMTP server, by TLS from the first byte on.

`smtps://` begins with TLS, `smtp://` changes to it (STARTTLS) and sends nothing where that is not possible; only a
server on this machine may do without. The library is synchronous, so it runs in threads: a few of its own, for a
server that hangs would take all of those that others share.
"""

import asyncio
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Final
from urllib.parse import unquote, urlsplit

from recado.identity.mail.letters import Delivered, Letter, NotDelivered

TIMEOUT_SECONDS: Final = 15.0
"""Of each step of the conversation with the server."""
AT_ONCE: Final = 2
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class SmtpMailer:
    """Sends mails through the server of `RECADO_SMTP_URL`."""

    def __init__(self, url: str, sender: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._implicit = parts.scheme == "smtps"
        self._port = parts.port or (465 if self._implicit else 587)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._sender = sender
        self._tls = tls
        self._threads = ThreadPoolExecutor(AT_ONCE, "recado-mail")

    async def send(self, letter: Letter) -> Delivered | NotDelivered:
        """Send one mail, on a connection of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._send, letter)

    def _send(self, letter: Letter) -> Delivered | NotDelivered:
        try:
            message = _message(letter, self._sender)
            with self.enter() as server:
                server.send_message(message)
        except smtplib.SMTPResponseException as error:
            return NotDelivered(f"the mail server answered {error.smtp_code} ({type(error).__name__})")
        except (smtplib.SMTPException, OSError, ValueError, MessageError) as error:
            # Their texts may hold the address.
            return NotDelivered(f"the mail could not be handed over ({type(error).__name__})")
        return Delivered()

    @property
    def place(self) -> str:
        """Return host and port of the server."""
        return f"{self._host}:{self._port}"

    def enter(self) -> smtplib.SMTP:
        """Return a connection that may hand over mails, and has not yet. Raises `SMTPException` and `OSError`."""
        server = self._connected()
        try:
            server.ehlo_or_helo_if_needed()
            if self._user:
                server.login(self._user, self._password)
        except (smtplib.SMTPException, OSError):
            server.close()
            raise
        return server

    def _connected(self) -> smtplib.SMTP:
        context = self._tls or ssl.create_default_context()
        if self._implicit:
            return smtplib.SMTP_SSL(self._host, self._port, timeout=TIMEOUT_SECONDS, context=context)
        server = smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_SECONDS)
        try:
            if self._host not in _LOOPBACK:
                server.starttls(context=context)
        except (smtplib.SMTPException, OSError):
            server.close()
            raise
        return server


def _message(letter: Letter, sender: str) -> EmailMessage:
    name, address = parseaddr(sender)
    message = EmailMessage()
    message["From"] = Address(name, addr_spec=address)
    message["To"] = Address(addr_spec=letter.to)
    message["Subject"] = letter.subject
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.body)
    return message
