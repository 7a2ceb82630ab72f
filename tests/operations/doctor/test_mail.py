"""The doctor goes to the mail server as far as a mail would, sends none, and names the variable to mend."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from recado.identity.mail.smtp import SmtpMailer
from recado.operations.doctor.findings import Finding
from recado.operations.doctor.mail import try_mail, without_mail
from tests.support.servers.mail import ELSEWHERE, MailServer, mail_server, make_certificate

SENDER: Final = "Recado <recado@example.com>"
SECRET: Final = "p@ss"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "mail.pem")


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def server(certificate: Path) -> Iterator[MailServer]:
    with mail_server(ELSEWHERE, certificate) as server:
        yield server


def url_of(server: MailServer, scheme: str = "smtp") -> str:
    return f"{scheme}://recado:p%40ss@{ELSEWHERE}:{server.port}"


def wrong(mailer: SmtpMailer) -> str:
    """Return what the doctor says of a server that takes no mails from us."""
    found = try_mail(mailer, 5)
    assert (found.name, found.ok) == ("mail", False)
    assert SECRET not in found.detail
    assert "RECADO_SMTP_URL" in found.detail
    return found.detail.removeprefix(f"the mail server {mailer.place} ")


class TestAServerThatWouldTakeAMail:
    def test_is_told_and_gets_none(self, server: MailServer, trusting: ssl.SSLContext) -> None:
        mailer = SmtpMailer(url_of(server), SENDER, trusting)
        said = f"the mail server {ELSEWHERE}:{server.port} lets us in; no mail was sent"
        assert try_mail(mailer) == Finding("mail", True, said)
        assert server.taken == []

    def test_may_begin_with_tls(self, certificate: Path, trusting: ssl.SSLContext) -> None:
        with mail_server(ELSEWHERE, certificate, implicit=True) as server:
            assert try_mail(SmtpMailer(url_of(server, "smtps"), SENDER, trusting)).ok

    def test_may_be_on_this_machine_and_ask_for_nothing(self, certificate: Path) -> None:
        with mail_server("127.0.0.1", certificate) as server:
            server.starttls = server.signs_in = False
            assert try_mail(SmtpMailer(f"smtp://127.0.0.1:{server.port}", SENDER)).ok


class TestAServerThatTakesNone:
    def test_for_the_password(self, server: MailServer, trusting: ssl.SSLContext) -> None:
        server.refuse_login = b"535 5.7.8 p@ss is not it"
        said = wrong(SmtpMailer(url_of(server), SENDER, trusting))
        assert said == "refuses the name and password of RECADO_SMTP_URL (535)"

    def test_because_it_knows_no_passwords(self, server: MailServer, trusting: ssl.SSLContext) -> None:
        server.signs_in = False
        said = wrong(SmtpMailer(url_of(server), SENDER, trusting))
        assert said == "takes no name and password: take them out of RECADO_SMTP_URL"

    def test_because_it_has_no_tls(self, server: MailServer, trusting: ssl.SSLContext) -> None:
        server.starttls = False
        assert wrong(SmtpMailer(url_of(server), SENDER, trusting)).startswith("offers no TLS")

    def test_because_tls_does_not_come_first(self, server: MailServer, trusting: ssl.SSLContext) -> None:
        assert wrong(SmtpMailer(url_of(server, "smtps"), SENDER, trusting)).startswith("does not begin with TLS")

    def test_because_no_one_vouches_for_its_certificate(self, server: MailServer) -> None:
        assert wrong(SmtpMailer(url_of(server), SENDER)).startswith("shows a certificate that does not hold (")

    def test_because_it_is_busy(self, server: MailServer, trusting: ssl.SSLContext) -> None:
        server.greeting = b"421 too many connections"
        assert wrong(SmtpMailer(url_of(server), SENDER, trusting)).startswith("answered 421: ")

    def test_because_nothing_is_there(self, certificate: Path) -> None:
        with mail_server("127.0.0.1", certificate) as server:
            port = server.port
        said = wrong(SmtpMailer(f"smtp://127.0.0.1:{port}", SENDER))
        assert said == "cannot be reached (Connection refused): look at host and port in RECADO_SMTP_URL"

    def test_because_its_name_leads_nowhere(self) -> None:
        said = wrong(SmtpMailer("smtp://mail.invalid", SENDER))
        assert said == "is not known to this machine: mend the host in RECADO_SMTP_URL"

    def test_because_it_is_another_server(self, server: MailServer, trusting: ssl.SSLContext) -> None:
        server.greeting = b"HTTP/1.1 400 Bad Request"
        said = wrong(SmtpMailer(url_of(server), SENDER, trusting))
        assert said == "does not speak SMTP: look at host and port in RECADO_SMTP_URL"

    def test_because_it_says_nothing(self) -> None:
        with listener() as port:
            found = try_mail(SmtpMailer(f"smtp://127.0.0.1:{port}", SENDER), 0.2)
        assert (found.ok, "did not let us in within 0.2 s" in found.detail) == (False, True)
        assert "smtps://" in found.detail


@contextmanager
def listener() -> Iterator[int]:
    """A port that takes connections and never speaks."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_without_a_server_it_says_what_happens_to_links() -> None:
    assert without_mail(None).detail.startswith("RECADO_SMTP_URL names no mail server, so `recado users invite`")
    said = "RECADO_SMTP_FROM is set, but no mail is sent without RECADO_SMTP_URL"
    assert without_mail(SENDER) == Finding("mail", True, said)
