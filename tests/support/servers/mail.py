"""A mail server of a test: it speaks SMTP on a port of this machine, with TLS or not, and keeps what it takes."""

import datetime
import ipaddress
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ELSEWHERE: Final = "127.0.0.2"
"""An address of this machine that counts as another host: only names and 127.0.0.1 are known to be here."""


@dataclass(frozen=True, slots=True)
class TakenMail:
    """A mail as it arrived."""

    sender: str
    to: list[str]
    message: EmailMessage
    by_tls: bool
    login: str | None


@dataclass
class MailServer:
    """What the server does, and what it has taken."""

    port: int = 0
    starttls: bool = True
    refuse: bytes | None = None
    """What it answers to every recipient, when it takes none."""
    refuse_login: bytes | None = None
    """What it answers to every name and password, when it takes none."""
    greeting: bytes = b"220 ready"
    signs_in: bool = True
    """Whether it takes names and passwords at all."""
    taken: list[TakenMail] = field(default_factory=list)


class _Conversation(socketserver.StreamRequestHandler):
    server: "_Server"

    def handle(self) -> None:
        mail, sender, to, login = self.server.mail, "", list[str](), None
        by_tls = self.server.implicit
        self._say(mail.greeting)
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                self._say(b"250-here\r\n250-AUTH PLAIN" if mail.signs_in else b"250-here")
                self._say(b"250 STARTTLS" if mail.starttls and not by_tls else b"250 8BITMIME")
            elif verb == b"STAR":
                self._say(b"220 go on")
                self._encrypt()
                by_tls = True
            elif verb == b"AUTH":
                login = line.split()[-1].decode()
                self._say(mail.refuse_login or b"235 welcome")
            elif verb == b"MAIL":
                sender = line.decode().strip()
                self._say(b"250 ok")
            elif verb == b"RCPT":
                to.append(line.decode().strip())
                self._say(mail.refuse or b"250 ok")
            elif verb == b"DATA":
                self._say(b"354 go on")
                parsed = message_from_bytes(self._text(), policy=policy.default)
                assert isinstance(parsed, EmailMessage)
                mail.taken.append(TakenMail(sender, to, parsed, by_tls, login))
                self._say(b"250 taken")
            elif verb == b"QUIT":
                self._say(b"221 bye")
                return
            else:
                self._say(b"250 ok")

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def _say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")

    def _text(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line)
        return b"".join(lines).replace(b"\r\n", b"\n")

    def _encrypt(self) -> None:
        self.connection = self.server.tls.wrap_socket(self.request, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, mail: MailServer, tls: ssl.SSLContext, *, implicit: bool) -> None:
        self.mail, self.tls, self.implicit = mail, tls, implicit
        super().__init__((host, 0), _Conversation)

    def finish_request(self, request: object, client_address: object) -> None:
        assert not isinstance(request, tuple)
        if self.implicit:
            request = self.tls.wrap_socket(request, server_side=True)  # type: ignore[arg-type]  # it is a socket
        self.RequestHandlerClass(request, client_address, self)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


@contextmanager
def mail_server(host: str, certificate: Path, *, implicit: bool = False) -> Iterator[MailServer]:
    """Run a server while the context is open. `certificate` is a file of `make_certificate`."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    mail = MailServer()
    server = _Server(host, mail, tls, implicit=implicit)
    mail.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield mail
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_certificate(path: Path) -> Path:
    """Write a key and a certificate for this machine, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail of a test")])
    now = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", ELSEWHERE)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now.replace(year=2100))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
