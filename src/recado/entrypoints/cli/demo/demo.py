"""`recado demo`: a sample bakery on this machine, to talk to as a customer.

It needs no account, no key and no server, and leaves nothing behind.
"""

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from recado.core.clock import SystemClock
from recado.core.errors import DomainError
from recado.core.processes.folders import private_folder, stop_on_signals
from recado.core.telemetry import configure_logging
from recado.emulator.phone.client import SeenMessage
from recado.entrypoints.cli.demo.script import Customer, Script, ScriptStep, missing, read_script
from recado.entrypoints.cli.demo.stage import NUMBER, Stage, staged
from recado.entrypoints.cli.texts.language import speaks_portuguese
from recado.operations.verify import VerificationReport

ANSWER_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 30.0
_CLEAR_LINE: Final = "\r\x1b[2K"
"""Takes the prompt away before an answer is printed; a new one follows it."""

_PT: Final[Mapping[str, str]] = {
    "starting": "Abrindo a padaria: servidor, worker e um Twilio de mentira …",
    "welcome": "Você é [b]{customer}[/b], cliente da [b]{business}[/b]. Escreva e tecle Enter; uma linha vazia sai.\n"
    "Pergunte pelo horário, pela entrega, por bolos … ou peça para falar com uma pessoa.\n"
    "Em outro terminal:\n"
    "[b]source {env}[/b]\n"
    "[b]recado conversations list --owner {owner}[/b]",
    "closing": "Fechando a padaria …",
    "llm": "OPENAI_API_KEY está definida. Para a padaria responder com um modelo, em outro terminal:\n"
    "[b]source {env}[/b]\n"
    "[b]recado agents set --owner {owner} --agent llm --model openai-chat:gpt-4.1-mini "
    "--api-key-env OPENAI_API_KEY[/b]",
    "late": "A resposta não chegou em {seconds:.0f} s.",
    "wrong_count": "Eram esperadas {expected} respostas e chegaram {found}.",
    "missing": "Faltou na resposta: {texts}",
    "held": "Cada mensagem aceita terminou em exatamente um desfecho.",
    "broken": "A promessa foi quebrada:",
    "unsettled": "{open} mensagens ainda sem desfecho depois de {seconds:.0f} s.",
    "outcome": "Desfecho",
    "messages": "Mensagens",
}
_EN: Final[Mapping[str, str]] = {
    "starting": "Opening the bakery: server, worker and a make-believe Twilio …",
    "welcome": "You are [b]{customer}[/b], a customer of [b]{business}[/b] (it speaks Portuguese). "
    "Type and press Enter; an empty line leaves.\n"
    "Ask for the opening hours ([i]que horas abrem?[/i]), delivery ([i]vocês entregam?[/i]), cakes "
    "([i]quanto custa o bolo?[/i]) … or for a person ([i]quero falar com uma pessoa[/i]).\n"
    "In another terminal:\n"
    "[b]source {env}[/b]\n"
    "[b]recado conversations list --owner {owner}[/b]",
    "closing": "Closing the bakery …",
    "llm": "OPENAI_API_KEY is set. To let a model answer for the bakery, in another terminal:\n"
    "[b]source {env}[/b]\n"
    "[b]recado agents set --owner {owner} --agent llm --model openai-chat:gpt-4.1-mini "
    "--api-key-env OPENAI_API_KEY[/b]",
    "late": "No answer came within {seconds:.0f} s.",
    "wrong_count": "{expected} answers were expected, and {found} came.",
    "missing": "The answer lacks: {texts}",
    "held": "Every accepted message ended in exactly one outcome.",
    "broken": "The promise was broken:",
    "unsettled": "{open} messages still have no outcome after {seconds:.0f} s.",
    "outcome": "Outcome",
    "messages": "Messages",
}


def demo(
    script: Annotated[
        Path | None, typer.Option("--script", help="Play this conversation (YAML), print it, verify it and end.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port of the server. By default a free one.")] = None,
) -> None:
    """Talk to a sample bakery on this machine: no account, no key, nothing to install."""
    configure_logging("warning", sys.stderr, SystemClock())
    console = Console(highlight=False)
    played = read_script(script) if script is not None else None
    somewhere = Path(tempfile.gettempdir())
    with (
        stop_on_signals((signal.SIGHUP, signal.SIGTERM)),
        private_folder(somewhere, prefix="recado-demo-", suffix=".tmp") as directory,
    ):
        words = _words()
        console.print(words["starting"], style="dim")
        with staged(directory, port) as stage:
            if played is None:
                _chat(stage, console, words)
                return
            passed = _ScriptRun(stage, console, words, played).run()
    raise typer.Exit(0 if passed else 1)


def _words() -> Mapping[str, str]:
    return _PT if speaks_portuguese() else _EN


# --- A script ---------------------------------------------------------------------------------------------------------


class _ScriptRun:
    """Plays a script and checks the answers."""

    def __init__(self, stage: Stage, console: Console, words: Mapping[str, str], script: Script) -> None:
        self._stage = stage
        self._console = console
        self._words = words
        self._script = script
        self._cursor = 0
        self._problems: list[str] = []

    def run(self) -> bool:
        for step in self._script.steps:
            self._step(step)
        report = self._settled()
        self._late_answers()
        self._show(report)
        return not self._problems and not report.violations

    def _step(self, step: ScriptStep) -> None:
        customer = self._script.customer
        for text in step.say:
            self._stage.twilio.send(customer.address, NUMBER, text, profile_name=customer.name)
            _say(self._console, customer.name, text, "cyan")
        answers = self._answers(step.answers)
        for answer in answers:
            _say(self._console, self._stage.business, answer.body, "green")
        if len(answers) < step.answers:
            self._fail("late", seconds=ANSWER_SECONDS)
        lacking = missing(step.expect, [answer.body for answer in answers])
        if lacking:
            self._fail("missing", texts=", ".join(repr(text) for text in lacking))

    def _answers(self, count: int) -> list[SeenMessage]:
        found: list[SeenMessage] = []
        give_up = time.monotonic() + ANSWER_SECONDS
        while len(found) < count and time.monotonic() < give_up:
            self._stage.check()
            found += self._seen(wait=1.0)
        return found

    def _seen(self, wait: float) -> list[SeenMessage]:
        address = self._script.customer.address
        seen = self._stage.twilio.messages(self._cursor, wait, to=address, direction="outbound-api")
        self._cursor = max([self._cursor, *(message.seq for message in seen)])
        return seen

    def _settled(self) -> VerificationReport:
        """Wait until no message is open, and return the report."""
        give_up = time.monotonic() + SETTLE_SECONDS
        report = self._stage.verify()
        while report.open and time.monotonic() < give_up:
            self._stage.check()
            time.sleep(0.1)
            report = self._stage.verify()
        if report.open:
            self._fail("unsettled", open=report.open, seconds=SETTLE_SECONDS)
        return report

    def _late_answers(self) -> None:
        """Report answers that arrived after their step as surplus."""
        surplus = self._seen(wait=0.0)
        for answer in surplus:
            _say(self._console, self._stage.business, answer.body, "red")
        if surplus:
            expected = sum(step.answers for step in self._script.steps)
            self._fail("wrong_count", expected=expected, found=expected + len(surplus))

    def _fail(self, key: str, **values: object) -> None:
        sentence = self._words[key].format(**values)
        self._problems.append(sentence)
        self._console.print(f"✗ {escape(sentence)}", style="bold red")

    def _show(self, report: VerificationReport) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column(self._words["outcome"])
        table.add_column(self._words["messages"], justify="right")
        for outcome, count in report.outcomes.items():
            if count:
                table.add_row(outcome, str(count))
            if outcome == "suppressed":
                for reason, of_it in report.suppressed.items():
                    table.add_row(f"  {reason}", str(of_it))
        self._console.print()
        self._console.print(table)
        if report.violations:
            self._console.print(f"✗ {self._words['broken']}", style="bold red")
            for violation in report.violations:
                self._console.print(f"  {violation.message_sid}: {escape(violation.why)}")
        elif not self._problems:
            self._console.print(f"✓ {self._words['held']}", style="bold green")


# --- A chat -----------------------------------------------------------------------------------------------------------


def _chat(stage: Stage, console: Console, words: Mapping[str, str]) -> None:
    """Send the lines of this terminal as the customer's messages, and show answers when they arrive."""
    customer = Customer()
    names = {"customer": customer.name, "business": stage.business, "env": stage.env_file, "owner": stage.owner_id}
    console.print(Panel(words["welcome"].format(**names), border_style="dim"))
    if os.environ.get("OPENAI_API_KEY"):
        console.print(Panel(words["llm"].format(**names), border_style="dim"))
    stopping = threading.Event()
    listener = threading.Thread(target=_listen, args=(stage, console, customer, stopping), daemon=True)
    listener.start()
    with suppress(KeyboardInterrupt, EOFError):
        while text := console.input("[cyan]› [/cyan]").strip():
            stage.check()
            stage.twilio.send(customer.address, NUMBER, text, profile_name=customer.name)
    stopping.set()
    console.print(words["closing"], style="dim")


def _listen(stage: Stage, console: Console, customer: Customer, stopping: threading.Event) -> None:
    cursor = 0
    while not stopping.is_set():
        try:
            seen = stage.twilio.messages(cursor, 1.0, to=customer.address, direction="outbound-api")
        except (OSError, DomainError):
            return
        for message in seen:
            cursor = max(cursor, message.seq)
            if console.is_terminal:
                console.file.write(_CLEAR_LINE)
            _say(console, stage.business, message.body, "green")
        if seen and not stopping.is_set():
            console.print("[cyan]› [/cyan]", end="")


def _say(console: Console, who: str, text: str, colour: str) -> None:
    console.print(f"[bold {colour}]{escape(who)}[/bold {colour}]  {escape(text)}")
