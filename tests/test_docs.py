"""The documentation says what there is: every setting, command, route, table and fault, and no link leads nowhere."""

import contextlib
import http.server
import importlib.util
import itertools
import json
import re
import shlex
import textwrap
import threading
import tokenize
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, get_args

import httpx2
import pytest
import typer
import yaml
from typer.core import TyperGroup
from typer.main import get_command

from recado.agents.builtin.http import signature
from recado.bootstrap import Container, metadata
from recado.channels.twilio.webhook.routes import MESSAGES_PATH, STATUS_PREFIX, WEBHOOK, TwilioWebhooks
from recado.conversation import models
from recado.core import tracing
from recado.core.clock import SystemClock
from recado.core.queue.job import Status
from recado.emulator.app import build_app as build_emulator
from recado.emulator.rules import faults
from recado.emulator.settings import EmulatorSettings, Policies
from recado.entrypoints.api.app import build_app, described_api
from recado.entrypoints.api.links import PATH as LINK_PATH
from recado.entrypoints.api.reference.markdown import markdown
from recado.entrypoints.api.reference.outline import outline_of
from recado.entrypoints.cli.demo.script import Customer, Script, ScriptStep, read_script
from recado.entrypoints.cli.main import LazyGroup, app
from recado.events.wire.signing import new_secret, signed_headers
from recado.settings import load_settings, variables

if TYPE_CHECKING:
    from typer._click import Command, Context

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
PAGES: Final = (*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")))


@cache
def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def without_a_row(names: Sequence[str], name: str) -> list[str]:
    """The names that begin no row of a table on a page; a row may begin with several."""
    firsts = " ".join(line.split(" | ")[0] for line in page(name).splitlines() if line.startswith("| "))
    return [each for each in names if f"`{each}`" not in firsts]


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_every_setting_is_documented() -> None:
    assert without_a_row(list(variables()), "reference/settings.md") == []


def test_every_setting_in_the_documentation_exists() -> None:
    named = {name for path in PAGES for name in re.findall(r"\bRECADO_[A-Z_]*[A-Z]\b", path.read_text("utf-8"))}
    assert named - set(variables()) == set()


# --- Commands ---------------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, "Command"]]:
    """Every command under the words that are typed for it."""
    root = get_command(app)
    assert isinstance(root, LazyGroup)
    context = root.make_context("recado", ["--help"], resilient_parsing=True)
    yield "recado", root
    for name in root.list_commands(context):
        _, found, _ = root.resolve_command(context, [name])
        assert found is not None
        yield from family(name, found)


def family(words: str, command: "Command") -> Iterator[tuple[str, "Command"]]:
    yield words, command
    for name, member in getattr(command, "commands", {}).items():
        yield from family(f"{words} {name}", member)


def sections(name: str) -> dict[str, str]:
    """What stands under each heading of a page."""
    parts = re.split(r"^#+ (.+)$", page(name), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(
    ("words", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_and_option_is_documented(words: str, command: "Command") -> None:
    section = sections("reference/cli.md")[words]
    named = set(re.findall(r"`(--[a-z-]+)", section))
    options = {name for each in command.params if not getattr(each, "hidden", False) for name in every_name(each)}
    assert options - named == set()


def every_name(parameter: object) -> list[str]:
    names = [*getattr(parameter, "opts", []), *getattr(parameter, "secondary_opts", [])]
    return [name for name in names if name.startswith("--") and name != "--help"]


# --- What is typed ----------------------------------------------------------------------------------------------------

_PLACEHOLDER_ID: Final = "01a203d3-d0be-7000-95bc-8269c3611314"


def typed_in_blocks(text: str) -> Iterator[list[str]]:
    """The words of every `recado` command in the code blocks of a page."""
    for block in re.findall(r"^ *```(?:sh|bash)\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            yield from typed_in_line(line)


def typed_in_line(line: str) -> Iterator[list[str]]:
    """A line may hold several commands: after a pipe, after `&&`, in `$(…)`."""
    words = shlex.shlex(line.replace("$(", " ( "), posix=True, punctuation_chars="();<>|&")
    words.whitespace_split = True
    command: list[str] = []
    for word in (*words, ";"):
        if set(word) <= set("();<>|&"):
            command = (
                command[command.index("--") + 1 :] if "--" in command else command
            )  # `runuser -u recado -- recado …`
            if command and command[0].rpartition("/")[2] == "recado":
                yield [_PLACEHOLDER_ID if each == "$OWNER" else each for each in command[1:]]
            command = []
        elif command or not re.match(r"\w+=", word):
            command.append(word)


def named_in_text(text: str) -> Iterator[list[str]]:
    """Likewise, between backticks in running text, where values may be left out."""
    for span in re.findall(r"`(?:python -m )?recado ([^`]+)`", text):
        yield re.split(r"[\s()|=\[\]]+", span.replace("$OWNER", _PLACEHOLDER_ID).strip())


def parsed(words: Sequence[str]) -> None:
    """Raises unless the command line can be understood; runs nothing."""
    command, context, rest = entered(words)
    with contextlib.suppress(typer.Exit):  # `--version` ends the parsing.
        command.make_context(context.info_name, rest, parent=context.parent)


def entered(words: Sequence[str]) -> tuple["Command", "Context", list[str]]:
    """The command that the first words name, and what is left of them."""
    root = get_command(app)
    context, command, rest = root.make_context("recado", ["--help"], resilient_parsing=True), root, list(words)
    while rest and not rest[0].startswith("-") and isinstance(command, TyperGroup):
        if command.invoke_without_command and rest[0] not in command.list_commands(context):
            break
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None, f"there is no {' '.join(words)}"
        context = found.make_context(name, ["--help"], parent=context, resilient_parsing=True)
        command = found
    return command, context, rest


COMMAND_LINES: Final = sorted({tuple(words) for path in PAGES for words in typed_in_blocks(path.read_text("utf-8"))})
NAMED: Final = sorted({tuple(words) for path in PAGES for words in named_in_text(path.read_text("utf-8"))})


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_every_command_line_in_a_block_is_understood(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for word in words:
        if re.fullmatch(r"\w+\.(md|txt|yaml)", word):  # What the reader has written before.
            Path(word).touch()
    parsed(words)


@pytest.mark.parametrize("words", NAMED, ids=" ".join)
def test_every_command_named_in_the_text_has_those_options(words: tuple[str, ...]) -> None:
    command, _, rest = entered(words)
    options = {name for each in command.params for name in every_name(each)} | {"--help"}
    assert {word for word in rest if word.startswith("--")} - options == set()


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    named = {
        word for path in PAGES for word in re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert named
    assert named - targets == set()


def test_what_is_installed_is_what_a_checkout_has() -> None:
    """The package is on no index: `pip install recado` would fetch nothing, or a stranger's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    installs = [
        words
        for path in PAGES
        for line in re.findall(r"pip install ([^`\n]+)", path.read_text("utf-8"))
        for words in shlex.split(line.partition("#")[0])
        if not words.startswith("-")
    ]
    assert [word for word in installs if re.match(r"recado\b", word)] == []
    said = [
        path
        for path in sorted((ROOT / "src").rglob("*.py"))
        if re.search(r"pip install '?recado\b", path.read_text("utf-8"))
    ]
    assert said == []
    extras = {extra for word in installs for found in re.findall(r"\[(.+)\]", word) for extra in found.split(",")}
    assert extras
    assert extras - set(project["optional-dependencies"]) == set()


def test_every_file_of_the_checkout_that_is_named_exists() -> None:
    kept = r"(?<![\w/.])((?:bench|deploy|docs|examples|requirements|src/recado|tests)/[\w./@-]*\w|\.ci/\w+)"
    named = {(path.name, name) for path in PAGES for name in re.findall(kept, path.read_text("utf-8"))}
    assert named
    assert [each for each in sorted(named) if not (ROOT / each[1]).exists()] == []


# --- HTTP -------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def routes(tmp_path: Path) -> list[str]:
    """What `serve` answers."""
    environment = {
        "RECADO_DATABASE_URL": f"sqlite:///{tmp_path / 'docs.db'}",
        "RECADO_PUBLIC_URL": "https://recado.example.com",
        "RECADO_SECRET_KEY": "A" * 43,
    }
    container = Container(settings=load_settings(environment, purpose="serve"))
    served = build_app(container)
    assert isinstance(served, TwilioWebhooks)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(served), base_url="http://recado") as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert (await client.get("/docs")).status_code == 200
    await container.database().close()
    return [*paths, MESSAGES_PATH, STATUS_PREFIX, "/openapi.json", "/docs", LINK_PATH]


def test_every_route_is_documented(routes: list[str]) -> None:
    below = [path for path in routes if not path.startswith("/api/v1/")]
    assert [path for path in below if f" {path}" not in page("reference/http.md")] == []


def test_the_reference_of_the_api_is_made_from_its_routes() -> None:
    settings = load_settings({"RECADO_SECRET_KEY": "A" * 43}, purpose="cli")
    made = markdown(outline_of(described_api(Container(settings=settings))))
    assert page("reference/api.md") == made, "make api-reference"


_OTHERS: Final = (
    "/docs/",
    "/links/",
    "/2010-04-01/",
    "/Messages",
    "/IncomingPhoneNumbers",
    "/v2/",
    "/v3/",
    "/_emulator",
    "/turn",
    "/var/",
    "/prod",
    "/proc",
)
"""Paths of Twilio's documentation and API, of the emulator (see below), of examples, file systems and mailed links."""


def test_every_route_that_is_named_exists(routes: list[str]) -> None:
    """A path that ends with a slash stands for all that begin with it."""
    spans = (
        r"`(?:[A-Z]+ )?(/[^`\s?#]*)|(?:GET|POST|PUT|DELETE) (/[^`\s?#,|]+)|"
        r"(?:https://recado\.example\.com|http://127\.0\.0\.1:8000)(/[^`\s?#'\"){]+)"
    )
    named = {
        (path.name, found)
        for path in PAGES
        for groups in re.findall(spans, path.read_text("utf-8"))
        for found in groups
        if found and not found.startswith(_OTHERS)
    }
    assert [each for each in sorted(named) if not any(is_route(each[1], route) for route in routes)] == []


def is_route(named: str, route: str) -> bool:
    named = named.removesuffix("…")
    if named.endswith("/"):
        return route.startswith(named)
    shape = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(route))
    return re.fullmatch(shape, named) is not None or named.startswith(STATUS_PREFIX)


# --- Tables and states ------------------------------------------------------------------------------------------------


def test_every_span_is_documented() -> None:
    spans = [value for name, value in vars(tracing).items() if name.isupper() and isinstance(value, str)]
    assert len(spans) == 4
    assert [
        name
        for name in (WEBHOOK, *spans)
        if not re.search(rf"`{re.escape(name)}( [a-z._]+)?`", page("reference/traces.md"))
    ] == []


def test_every_table_is_documented() -> None:
    assert without_a_row(sorted(metadata().tables), "reference/tables.md") == []


@pytest.mark.parametrize(
    "states",
    [
        get_args(models.Outcome),
        get_args(models.Suppression),
        get_args(models.Author),
        get_args(models.AnswerState),
        get_args(models.AttemptState),
        get_args(Status),
    ],
)
def test_every_state_and_reason_is_documented(states: Sequence[str]) -> None:
    assert without_a_row(states, "reference/tables.md") == []


def test_every_status_and_holder_of_a_conversation_is_documented() -> None:
    names = (*get_args(models.ConversationStatus), *get_args(models.Holder))
    assert without_a_row(names, "explanation/conversations.md") == []


def test_the_import_rules_are_documented_as_they_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    assert "```\n" + "\n".join(contracts[0]["layers"]) + "\n```" in page("explanation/architecture.md")


# --- Logs -------------------------------------------------------------------------------------------------------------


def test_every_event_that_is_named_is_logged() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    events = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", page("how-to/run-in-production.md"), re.MULTILINE)
    events += re.findall(r"`([a-z]+\.[a-z_]+)`", (ROOT / "deploy/prometheus/alerts.yaml").read_text("utf-8"))
    assert events
    assert [event for event in events if f'"{event}"' not in code] == []


# --- Demo and emulator ------------------------------------------------------------------------------------------------


def test_every_key_of_a_demo_script_is_documented() -> None:
    keys = [name for model in (Script, Customer, ScriptStep) for name in model.model_fields]
    assert without_a_row(keys, "reference/demo-scripts.md") == []


@pytest.mark.parametrize("name", ["README.md", "README.pt-BR.md"])
def test_the_transcript_is_of_the_example(name: str) -> None:
    script = yaml.safe_load((ROOT / "examples" / "bakery.yaml").read_text("utf-8"))
    said = [
        text for step in script["steps"] for text in ([step["say"]] if isinstance(step["say"], str) else step["say"])
    ]
    transcript = (ROOT / name).read_text("utf-8")
    assert [text for text in said if f"Ana  {text}\n" not in transcript] == []


def test_every_fault_of_the_emulator_is_documented() -> None:
    assert without_a_row(sorted(faults.KINDS), "reference/emulator.md") == []


def test_every_policy_of_the_emulator_is_documented() -> None:
    assert without_a_row([policy.name for policy in fields(Policies)], "reference/emulator.md") == []


def test_every_control_of_the_emulator_is_documented() -> None:
    paths = {str(getattr(route, "path", "")) for route in build_emulator(EmulatorSettings(accounts={})).routes}
    controls = {path for path in paths if path.startswith("/_emulator/")}
    assert controls
    assert [path for path in sorted(controls) if f" {path}`" not in page("reference/emulator.md")] == []


# --- Agents over HTTP -------------------------------------------------------------------------------------------------


def loaded(code: str, folder: Path) -> ModuleType:
    """Return a block of Python as a module."""
    (folder / "receiver.py").write_text(code, "utf-8")
    spec = importlib.util.spec_from_file_location("receiver", folder / "receiver.py")
    assert spec is not None
    assert spec.loader is not None
    receiver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(receiver)
    return receiver


def test_the_documented_receiver_knows_our_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = [block for block in blocks("python", "how-to/write-an-agent.md") if "def is_from_recado" in block]
    monkeypatch.setenv("AGENT_SECRET", "whsec_made_up")
    receiver = loaded(code, tmp_path)
    signed = signature(b"whsec_made_up", 1_000, b"{}")
    assert receiver.is_from_recado(b"whsec_made_up", signed, b"{}", 1_010.0)
    assert not receiver.is_from_recado(b"whsec_made_up", signed, b"[]", 1_010.0)
    assert not receiver.is_from_recado(b"whsec_made_up", signed, b"{}", 9_000.0)


def test_the_documented_receiver_of_events_knows_our_signature(tmp_path: Path) -> None:
    [code] = [block for block in blocks("python", "how-to/receive-events.md") if "def verified" in block]
    secret, now = new_secret(), int(SystemClock().now().timestamp())
    verified = loaded(code.replace("whsec_…", secret), tmp_path).verified
    good = signed_headers("1", now, b'{"id": 1}', [new_secret(), secret])
    assert verified(good, b'{"id": 1}') == {"id": 1}
    assert verified(good, b'{"id": 2}') is None
    assert verified(signed_headers("1", now - 600, b"{}", [secret]), b"{}") is None
    for name, value in itertools.product(good, ["é", "", "x" * 1_000, "1e999", "v1,", "-1"]):
        assert verified({**good, name: value}, b'{"id": 1}') is None, "what a stranger sends is no fault of ours"
    for name in good:
        assert verified({key: value for key, value in good.items() if key != name}, b'{"id": 1}') is None


def test_the_documented_listener_ends_when_it_may_not_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = [block for block in blocks("python", "how-to/receive-events.md") if "def events" in block]
    monkeypatch.setenv("API_KEY", "rcd_revoked")
    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        listener = loaded(code.replace("https://recado.example", address), tmp_path)
        with pytest.raises(httpx2.HTTPStatusError, match="401"):
            next(listener.events())
        server.shutdown()


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers as to a key that was revoked."""

    def do_GET(self) -> None:
        self.send_error(401)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def blocks(language: str, name: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page(name), flags=re.MULTILINE | re.DOTALL)


# --- Blocks -----------------------------------------------------------------------------------------------------------


def one_or_one_a_line(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "json": one_or_one_a_line,
    "python": lambda text: compile(text, "a block", "exec"),
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
}
_BLOCKS: Final = [
    (f"{path.relative_to(ROOT)}-{number}", language, textwrap.dedent(text))
    for path in PAGES
    for number, (language, text) in enumerate(
        re.findall(r"^ *```(\w+)\n(.*?)^ *```$", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    )
    if language in _READERS
]


@pytest.mark.parametrize(("language", "text"), [block[1:] for block in _BLOCKS], ids=[block[0] for block in _BLOCKS])
def test_what_a_block_holds_is_written_as_it_says(language: str, text: str) -> None:
    assert _READERS[language](text)


def test_the_demo_script_of_the_reference_is_one(tmp_path: Path) -> None:
    [script] = blocks("yaml", "reference/demo-scripts.md")
    (tmp_path / "script.yaml").write_text(script, "utf-8")
    assert [len(step.say) for step in read_script(tmp_path / "script.yaml").steps] == [1, 3]


def test_the_readmes_say_the_same_in_two_languages() -> None:
    english, portuguese = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.pt-BR.md"))

    def skeleton(text: str) -> list[str]:
        """Its headings' depths, links, and what is typed or drawn without the words."""
        typed = re.findall(r"^(#+) |\]\(([^)]+)\)|^(make \w+)|^ +(\w+(?:\[| -|--|==|\b))|`(\w+)`", text, re.MULTILINE)
        return ["".join(found) for found in typed if "README" not in found[1]]

    assert skeleton(portuguese) == skeleton(english)


# --- Links ------------------------------------------------------------------------------------------------------------

_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(path: Path) -> set[str]:
    """The fragments that headings of a page become on GitHub."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_broken(path: Path, link: str) -> bool:
    target, _, fragment = link.partition("#")
    if "://" in target:
        return False
    found = (path.parent / target).resolve() if target else path
    return not found.exists() or (bool(fragment) and fragment not in anchors(found))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_is_broken(path: Path) -> None:
    assert [link for link in _LINK.findall(path.read_text("utf-8")) if is_broken(path, link)] == []


def test_every_page_is_linked_from_an_index() -> None:
    indexes = [DOCS / "README.md", DOCS / "explanation" / "decisions" / "README.md"]
    linked = {(index.parent / link).resolve() for index in indexes for link in _LINK.findall(index.read_text("utf-8"))}
    assert [path for path in DOCS.rglob("*.md") if path not in linked and path not in indexes] == []


@pytest.mark.parametrize("name", ["explanation/architecture.md", "explanation/glossary.md"])
def test_no_page_names_a_file_that_is_not_there(name: str) -> None:
    named = re.findall(r"`([a-z_]+/[a-z_/]+(?:\.py|/))`", page(name))
    assert named
    assert [
        path for path in named if not (ROOT / "src" / "recado" / path).exists() and not (ROOT / path).exists()
    ] == []


def test_the_tree_of_the_house_is_the_one_on_disk() -> None:
    drawn = re.findall(r"^[├└]── ([^ ].*?)(?:   .*)?$", page("explanation/architecture.md"), flags=re.MULTILINE)
    house = {path.stem for path in (ROOT / "src" / "recado").iterdir() if path.suffix in {"", ".py"}}
    named = {name.strip("/").removesuffix(".py") for names in drawn for name in names.split(", ")}
    assert named == house - {"__init__", "__pycache__"}


def test_every_room_in_the_tree_of_the_house_exists() -> None:
    rooms = re.findall(r"^│   [├└]── (\w+)/", page("explanation/architecture.md"), flags=re.MULTILINE)
    there = {path.name for path in (ROOT / "src" / "recado").glob("*/*/")}
    assert rooms
    assert [room for room in rooms if room not in there] == []


# --- Words ------------------------------------------------------------------------------------------------------------

_OLD_WORDS: Final = re.compile(
    r"""\b(?:
    bells? | (?<!key\ )rings? | ringing | rang | rung          # wake-up, publish, notify, dispatch
    | relays? | relay_\w+ | (?<!--)rounds                      # maintenance, bounded runs
    | (?:a|the|each|one|every|next|this|per)\ round(?!\ (?:trip|number)) | (?:a|the|each|every|next)\ pass
    | (?:comes?|came|coming)\ round                           # "scheduled", "due"
    | suspects? | buries | bury | buried | hasten(?:s|ed)?     # isolated job, dead-letter, make due now
    | kill(?:s|ed)?\ (?:a|the)\ jobs? | newcomers?             # force dead, new messages
    | lines?\ of\ jobs | out\ of\ the\ line | in\ the\ line(?!\ (?:above|below))  # queue
    | the\ line\ (?:moving|moves)
    | (?:a|one|two|three|each|every|the|last)\ looks?(?!-) | looks=True  # poll, reconcile, check
    | second\ wall | walls?\ behind | worn[_\ ]out            # backstop constraint, needs recycling
    | blows | whoever | anew
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)
"""Words of our own that the glossary has replaced."""
_OLD_RECORDS: Final = {
    path for path in (DOCS / "explanation" / "decisions").glob("*.md") if path.name < "0031" or path.name == "README.md"
}
"""They keep the words of their time."""


def old_words(text: str) -> list[str]:
    """Return the old words in a text. The links to old records may have the titles of those."""
    return _OLD_WORDS.findall(re.sub(r"\[[^\]]*\]\([^)]*\b00[0-3]\d-[^)]*\)|\b00[0-3]\d-[\w-]+", "", text))


@pytest.mark.parametrize("path", sorted({*DOCS.rglob("*.md")} - _OLD_RECORDS), ids=lambda path: path.name)
def test_no_page_uses_the_old_words(path: Path) -> None:
    assert old_words(path.read_text("utf-8")) == []


def words_of_code(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments and strings of a file with their lines."""
    kinds = {number for number, name in tokenize.tok_name.items() if name in {"COMMENT", "STRING", "FSTRING_MIDDLE"}}
    with file.open("rb") as opened:
        for token in tokenize.tokenize(opened.readline):
            if token.type in kinds:
                yield token.start[0], token.string


def old_words_of_code() -> Iterator[str]:
    for file in sorted((ROOT / "src").rglob("*.py")):
        for begin, text in words_of_code(file):
            for number, line in enumerate(text.splitlines(), start=begin):
                yield from (f"{file.relative_to(ROOT)}:{number}: {word}" for word in old_words(line))


def test_no_docstring_comment_or_text_of_the_code_uses_the_old_words() -> None:
    assert list(old_words_of_code()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The bell rang.", ["bell", "rang"]),
        ("Whoever asks is a suspect.", ["Whoever", "suspect"]),
        ("A round of the relay", ["A round", "relay"]),
        ("four round trips, and a round number", []),
        ("the key ring opens it; the string is passed on", []),
        ("the line above, behind the wall clock", []),
        ("[0026: A broker is rung](0026-a-broker-is-rung-for-the-best-due-jobs.md)", []),
    ],
)
def test_old_words_are_found_and_plain_english_is_not(text: str, found: list[str]) -> None:
    assert old_words(text) == found
