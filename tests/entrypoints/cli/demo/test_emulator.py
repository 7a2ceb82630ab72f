import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from recado.emulator.phone.client import EmulatorClient
from tests.entrypoints.cli.conftest import Recado
from tests.support.patience import PATIENCE
from tests.world import ACCOUNT, ANA, OURS

BASE = ["emulator", "send", "--from", ANA.value, "--to", OURS.value]


@pytest.fixture(scope="module")
def process() -> Iterator["subprocess.Popen[str]"]:
    words = ["emulator", "--port", "0", "--account-sid", ACCOUNT.value, "--number", OURS.value, "--seed", "7", "--json"]
    started = subprocess.Popen(
        [sys.executable, "-m", "recado", *words],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield started
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=PATIENCE)
    assert (started.returncode, errors) == (0, "")


@pytest.fixture(scope="module")
def url(process: "subprocess.Popen[str]") -> str:
    """Return the URL that it prints when it is ready."""
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert told["account_sid"] == ACCOUNT.value
    return str(told["url"])


@pytest.fixture
def heard(url: str) -> Iterator[None]:
    """Something is told of messages to our number, but answers with none."""
    client = EmulatorClient(url)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        client.configure_number(OURS.value, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        yield
    client.configure_number(OURS.value, None)


@pytest.mark.usefixtures("heard")
def test_a_customer_writes_to_a_running_emulator(recado: Recado, url: str) -> None:
    sent = recado.one(*BASE, "--body", "oi", "--button", "yes", "--name", "Ana", "--url", url)
    assert (str(sent["message_sid"])[:2], sent["status"], sent["answers"]) == ("SM", "received", [])


def test_a_message_to_nobodys_number_says_so_and_waits_for_no_answer(recado: Recado, url: str) -> None:
    words = ["emulator", "send", "--from", ANA.value, "--to", "whatsapp:+14150000000", "--wait", "600", "--url", url]
    ended = recado(*words)
    assert ended.exit_code == 0
    assert "Warning: whatsapp:+14150000000 is not the emulator's, so no webhook was called" in ended.stderr
    assert f"(its numbers: {OURS})" in ended.stderr
    assert len(json.loads(recado(*words, "--json").stdout)["warnings"]) == 1


def test_a_number_without_a_webhook_says_so(recado: Recado, url: str) -> None:
    assert f"Warning: the emulator has no webhook for {OURS}" in recado(*BASE, "--url", url).stderr


@pytest.mark.usefixtures("heard")
def test_no_answer_within_the_time_is_no_error(recado: Recado, url: str) -> None:
    assert "No answer within 0.01 s." in recado.says(*BASE, "--body", "oi", "--wait", "0.01", "--url", url)


def test_the_port_it_holds_cannot_be_taken_twice(recado: Recado, url: str) -> None:
    port = url.rpartition(":")[2]
    assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in recado.refuses(
        "emulator", "--port", port
    )


def test_an_address_without_a_server_gets_a_sentence(recado: Recado) -> None:
    sentence = recado.refuses(*BASE, "--url", "http://127.0.0.1:1")
    assert sentence.startswith("Error: no emulator answers at http://127.0.0.1:1")


def test_a_webhook_needs_a_number(recado: Recado) -> None:
    assert "--webhook needs a --number" in recado.refuses("emulator", "--webhook", "http://127.0.0.1:1/")
