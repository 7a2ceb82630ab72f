"""Mail goes out by TLS or not at all, and what went wrong names nobody."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from recado.identity.mail.letters import Delivered, Letter, NotDelivered
from recado.identity.mail.smtp import AT_ONCE, SmtpMailer
from tests.support.patience import PATIENCE
from tests.support.servers.mail import ELSEWHERE, mail_server, make_certificate

LETTER = Letter("ana@padaria.example", "Convite para Pão & Cia", "Olá!\n\nhttps://recado.example/links/abc\n")
SENDER = "Recado <recado@example.com>"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls") / "mail.pem")


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


async def test_a_mail_arrives_as_it_was_written(certificate: Path) -> None:
    with mail_server("127.0.0.1", certificate) as server:
        assert await SmtpMailer(f"smtp://127.0.0.1:{server.port}", SENDER).send(LETTER) == Delivered()
    [taken] = server.taken
    assert (taken.sender.upper().startswith("MAIL FROM:<RECADO@EXAMPLE.COM>"), len(taken.to)) == (True, 1)
    assert taken.to[0].upper().startswith("RCPT TO:<ANA@PADARIA.EXAMPLE>")
    assert (taken.message["From"], taken.message["To"]) == (SENDER, LETTER.to)
    assert (taken.message["Subject"], taken.message.get_content()) == (LETTER.subject, LETTER.body)
    assert taken.message["Auto-Submitted"] == "auto-generated"
    assert taken.login is None


async def test_to_another_host_it_goes_by_tls_with_name_and_password(
    certificate: Path, trusting: ssl.SSLContext
) -> None:
    with mail_server(ELSEWHERE, certificate) as server:
        url = f"smtp://recado:p%40ss@{ELSEWHERE}:{server.port}"
        assert await SmtpMailer(url, SENDER, trusting).send(LETTER) == Delivered()
    assert [(taken.by_tls, taken.login is not None) for taken in server.taken] == [(True, True)]


async def test_or_by_tls_from_the_first_byte_on(certificate: Path, trusting: ssl.SSLContext) -> None:
    with mail_server("127.0.0.1", certificate, implicit=True) as server:
        mailer = SmtpMailer(f"smtps://127.0.0.1:{server.port}", SENDER, trusting)
        assert await mailer.send(LETTER) == Delivered()
    assert [taken.by_tls for taken in server.taken] == [True]


async def test_nothing_goes_to_another_host_without_tls(certificate: Path, trusting: ssl.SSLContext) -> None:
    with mail_server(ELSEWHERE, certificate) as server:
        server.starttls = False
        sent = await SmtpMailer(f"smtp://u:p@{ELSEWHERE}:{server.port}", SENDER, trusting).send(LETTER)
    assert sent == NotDelivered("the mail could not be handed over (SMTPNotSupportedError)")
    assert server.taken == []


async def test_nothing_goes_to_a_host_that_nobody_vouches_for(certificate: Path) -> None:
    with mail_server(ELSEWHERE, certificate) as server:
        sent = await SmtpMailer(f"smtp://u:p@{ELSEWHERE}:{server.port}", SENDER).send(LETTER)
    assert sent == NotDelivered("the mail could not be handed over (SSLCertVerificationError)")
    assert server.taken == []


async def test_a_refusal_is_told_without_the_address(certificate: Path) -> None:
    with mail_server("127.0.0.1", certificate) as server:
        server.refuse = b"550 5.1.1 <ana@padaria.example> is nobody here"
        sent = await SmtpMailer(f"smtp://127.0.0.1:{server.port}", SENDER).send(LETTER)
    assert sent == NotDelivered("the mail could not be handed over (SMTPRecipientsRefused)")


async def test_a_server_that_is_not_there_is_told(certificate: Path) -> None:
    with mail_server("127.0.0.1", certificate) as server:
        port = server.port
    sent = await SmtpMailer(f"smtp://127.0.0.1:{port}", SENDER).send(LETTER)
    assert sent == NotDelivered("the mail could not be handed over (ConnectionRefusedError)")


@pytest.mark.parametrize(
    "to", ["a@b@c.example", "ana@pão.example", 'a"b@c.example', "a,b@c.example", "<ana@a.example>"]
)
async def test_an_address_that_no_mail_can_have_is_told(certificate: Path, to: str) -> None:
    with mail_server("127.0.0.1", certificate) as server:
        sent = await SmtpMailer(f"smtp://127.0.0.1:{server.port}", SENDER).send(Letter(to, "x", "y"))
    assert isinstance(sent, NotDelivered)
    assert to not in sent.why


def test_the_text_of_a_letter_is_shown_to_nobody_else() -> None:
    assert "links" not in repr(LETTER)


async def test_a_server_that_hangs_holds_up_no_other_work() -> None:
    """Every thread that the process shares would wait for it."""
    many = 40
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        mailer = SmtpMailer(f"smtp://127.0.0.1:{hanging.getsockname()[1]}", SENDER)
        sending = [asyncio.create_task(mailer.send(LETTER)) for _ in range(many)]
        async with asyncio.timeout(PATIENCE):
            held = [await asyncio.get_running_loop().run_in_executor(None, hanging.accept) for _ in range(AT_ONCE)]
            for connection, _ in held:
                connection.close()
    async with asyncio.timeout(PATIENCE):
        assert all(isinstance(each, NotDelivered) for each in await asyncio.gather(*sending))
