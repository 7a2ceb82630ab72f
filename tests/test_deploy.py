"""What lies in deploy/ fits the product: commands, options, settings, ports and files it names are there."""

import json
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from recado.entrypoints.cli.main import app
from recado.settings import variables

if TYPE_CHECKING:
    from typer._click import Command

ROOT: Final = Path(__file__).parents[1]
DEPLOY: Final = ROOT / "deploy"
UNITS: Final = sorted((DEPLOY / "systemd").iterdir())
WORKER_GRACE: Final = 15
"""Seconds by when a worker has ended that was told to stop: ten for what runs, five to give the rest back."""


def understood(words: Sequence[str]) -> tuple["Command", dict[str, object]]:
    """The command that `recado` and these words name, and what its options come to; unknown ones raise."""
    root = get_command(app)
    context = root.make_context("recado", list(words), resilient_parsing=True)
    name, *rest = words
    _, command, _ = root.resolve_command(context, [name])  # type: ignore[attr-defined]  # a group
    return command, command.make_context(name, rest, parent=context).params


# --- systemd ----------------------------------------------------------------------------------------------------------


def lines_of(unit: Path) -> list[tuple[str, str]]:
    """Its settings in order; a name may come twice."""
    wanted = [line.partition("=") for line in unit.read_text("utf-8").splitlines() if re.match(r"[A-Z]\w+=", line)]
    return [(name, value) for name, _, value in wanted]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
class TestAUnit:
    def test_starts_a_command_with_options_that_it_has(self, unit: Path) -> None:
        program, *words = shlex.split(dict(lines_of(unit))["ExecStart"])
        assert program == "/opt/recado/bin/recado"
        understood(words)

    def test_runs_without_rights_and_reads_its_secrets_from_a_file(self, unit: Path) -> None:
        settings = dict(lines_of(unit))
        assert settings["User"] == "recado"
        assert settings["EnvironmentFile"] == "/etc/recado/recado.env"
        assert settings["CapabilityBoundingSet"] == ""
        assert {settings[name] for name in ("NoNewPrivileges", "PrivateDevices", "PrivateTmp", "ProtectHome")} == {
            "yes"
        }
        assert (settings["ProtectSystem"], settings["UMask"], settings["StateDirectoryMode"]) == (
            "strict",
            "0077",
            "0700",
        )

    def test_is_started_again_and_given_time_to_stop(self, unit: Path) -> None:
        settings = dict(lines_of(unit))
        assert (settings["Restart"], settings["KillSignal"]) == ("always", "SIGTERM")
        assert int(settings["TimeoutStopSec"]) > WORKER_GRACE

    def test_says_each_thing_once(self, unit: Path) -> None:
        names = [name for name, _ in lines_of(unit) if name != "After"]
        assert len(names) == len(set(names))


def test_there_is_a_unit_for_the_server_and_one_for_each_worker() -> None:
    assert [unit.name for unit in UNITS] == ["recado-serve.service", "recado-worker@.service"]
    assert "--drain" not in (DEPLOY / "systemd" / "recado-worker@.service").read_text("utf-8")


def test_the_example_of_an_environment_names_settings() -> None:
    text = (DEPLOY / "recado.env.example").read_text("utf-8")
    named = re.findall(r"^(\w+)=", text, flags=re.MULTILINE)
    assert set(named) <= set(variables())
    assert {"RECADO_DATABASE_URL", "RECADO_PUBLIC_URL", "RECADO_SECRET_KEY"} <= set(named)


# --- The package ------------------------------------------------------------------------------------------------------


class TestThePackage:
    def project(self) -> Mapping[str, object]:
        project: Mapping[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        return project

    def test_has_what_an_index_shows(self) -> None:
        wanted = {"name", "version", "description", "readme", "license", "authors", "keywords", "classifiers"}
        assert wanted - set(self.project()) == set()
        assert self.project()["readme"] == "deploy/package.md"

    def test_has_a_page_that_can_be_read_without_the_checkout(self) -> None:
        text = (DEPLOY / "package.md").read_text("utf-8")
        assert re.findall(r"\]\((?!https://)", text) == []
        assert "```mermaid" not in text

    def test_names_commands_and_extras_that_exist_on_that_page(self) -> None:
        text = (DEPLOY / "package.md").read_text("utf-8")
        typed = re.findall(r"^recado (.+?)(?: +#.*)?$", text, flags=re.MULTILINE)
        assert len(typed) == 5
        for line in typed:
            words = shlex.split(line)
            understood(words if words[:2] != ["emulator", "send"] else words[:1])
        extras = re.findall(r"^\| (`.+?) \|", text, flags=re.MULTILINE)
        named = {name for row in extras for name in re.findall(r"`(\w+)`", row)}
        assert named == set(
            tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
        )


# --- Compose ----------------------------------------------------------------------------------------------------------

Service: TypeAlias = dict[str, object]


@pytest.fixture(scope="module")
def compose() -> dict[str, Service]:
    """The services of compose.yaml."""
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    services: dict[str, Service] = document["services"]
    assert set(document["volumes"]) == {"recado", "postgres", "caddy"}
    return services


def words_of(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(word) for word in value]


def ours(services: Mapping[str, Service]) -> dict[str, Service]:
    return {name: service for name, service in services.items() if service["image"] == "recado"}


class TestCompose:
    def test_starts_one_service_when_no_profile_is_named(self, compose: dict[str, Service]) -> None:
        assert [name for name, service in compose.items() if "profiles" not in service] == ["recado"]
        assert {name: service.get("profiles") for name, service in compose.items() if "profiles" in service} == {
            "worker": ["postgres"],
            "migrate": ["postgres"],
            "postgres": ["postgres"],
            "caddy": ["tls"],
        }

    def test_starts_commands_with_options_that_they_have(self, compose: dict[str, Service]) -> None:
        _, options = understood(words_of(compose["recado"]["command"]))
        assert (options["host"], options["port"], options["with_worker"]) == ("0.0.0.0", 8000, True)  # noqa: S104
        for service in ours(compose).values():
            understood(words_of(service["command"]))

    def test_asks_each_process_whether_it_is_well(self, compose: dict[str, Service]) -> None:
        for name in ("recado", "worker"):
            service = compose[name]
            check = service["healthcheck"]
            assert isinstance(check, dict)
            kind, program, *words = words_of(check["test"])
            assert (kind, program) == ("CMD", "recado")
            _, asked = understood(words)
            _, started = understood(words_of(service["command"]))
            assert str(asked["worker_file"]) == str(started["health_file"])
            assert (asked["url"] is not None) == (name == "recado")

    def test_migrates_once_before_anything_else_uses_the_server(self, compose: dict[str, Service]) -> None:
        assert compose["migrate"]["restart"] == "no"
        assert compose["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
        assert compose["worker"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
        assert compose["recado"]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully", "required": False}
        }

    def test_holds_no_secret_and_names_settings_that_exist(self, compose: dict[str, Service]) -> None:
        text = (DEPLOY / "compose.yaml").read_text("utf-8")
        assert set(re.findall(r"\bRECADO_[A-Z_]+\b", text)) <= set(variables())
        assert "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:-}" in text
        for service in ours(compose).values():
            assert service["env_file"] == [{"path": "recado.env", "required": False}]

    def test_gives_our_containers_no_rights_and_time_to_stop(self, compose: dict[str, Service]) -> None:
        for service in ours(compose).values():
            assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
            assert int(str(service["stop_grace_period"]).rstrip("s")) > WORKER_GRACE

    def test_has_a_pg_dump_as_new_as_its_server(self, compose: dict[str, Service]) -> None:
        client = re.search(r"postgresql-client-(\d+)", (DEPLOY / "Containerfile").read_text("utf-8"))
        assert client is not None
        assert compose["postgres"]["image"] == f"postgres:{client[1]}"

    def test_mounts_files_that_are_there(self, compose: dict[str, Service]) -> None:
        mounted = [each.split(":")[0] for service in compose.values() for each in words_of(service["volumes"])]
        files = [each for each in mounted if each.startswith("./")]
        assert files == ["./Caddyfile"]
        assert (DEPLOY / "Caddyfile").exists()


# --- The image --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image() -> list[tuple[str, str]]:
    """The Containerfile's instructions."""
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def of(image: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for name, rest in image if name == word]


class TestTheImage:
    def test_serves_at_the_port_it_exposes_when_nothing_is_said(self, image: list[tuple[str, str]]) -> None:
        [entry], [command] = of(image, "ENTRYPOINT"), of(image, "CMD")
        assert json.loads(entry) == ["recado"]
        _, options = understood(json.loads(command))
        assert (options["host"], options["port"]) == ("0.0.0.0", int(of(image, "EXPOSE")[0]))  # noqa: S104

    def test_runs_as_nobody_special_over_a_volume(self, image: list[tuple[str, str]]) -> None:
        assert of(image, "USER") == ["10001"]
        assert of(image, "VOLUME") == ["/var/lib/recado"]
        [environment] = of(image, "ENV")
        assert "RECADO_DATABASE_URL=sqlite:////var/lib/recado/recado.db" in environment

    def test_is_healthy_when_the_process_says_so(self, image: list[tuple[str, str]]) -> None:
        [check] = of(image, "HEALTHCHECK")
        assert "http://127.0.0.1:8000/healthz" in check
        compile(json.loads(check[check.index("[") :])[-1], "healthcheck", "exec")

    def test_is_made_from_the_usual_python_that_the_product_supports(self, image: list[tuple[str, str]]) -> None:
        versions = {re.fullmatch(r"python:(3\.\d+)-slim( AS \w+)?", rest) for rest in of(image, "FROM")}
        assert None not in versions
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        supported = [each.rpartition(" ")[2] for each in project["classifiers"] if "Python ::" in each]
        assert {found[1] for found in versions if found} <= set(supported)

    def test_copies_files_that_are_there(self, image: list[tuple[str, str]]) -> None:
        sources = [word for rest in of(image, "COPY") if not rest.startswith("--from") for word in rest.split()[:-1]]
        assert sources
        assert [source for source in sources if not (ROOT / source).exists()] == []

    def test_gets_nothing_from_an_index_without_a_hash(self, image: list[tuple[str, str]]) -> None:
        installs = [step for rest in of(image, "RUN") for step in rest.split("&&") if "pip " in step]
        assert installs
        assert [step for step in installs if not {"--require-hashes", "--no-deps"} & set(step.split())] == []
        for name in ("image", "build"):
            pins = re.split(
                r"^(?=[a-zA-Z])", (ROOT / "requirements" / f"{name}.txt").read_text("utf-8"), flags=re.MULTILINE
            )
            assert [pin for pin in pins[1:] if "==" not in pin or "--hash=sha256:" not in pin] == []

    @pytest.mark.parametrize("name", ["image", "build"])
    def test_gets_whatever_its_locked_packages_need(self, name: str) -> None:
        """With hashes pip takes nothing that is not locked, and a release may need more than the one before."""
        text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
        locked = {canonicalize_name(each) for each in re.findall(r"^([\w.-]+)(?:\[.+?\])?==", text, flags=re.MULTILINE)}
        installed = {canonicalize_name(each.name): each for each in distributions()}
        needed = {
            canonicalize_name(needed.name)
            for each in locked & set(installed)
            for needed in map(Requirement, installed[each].requires or ())
            if needed.marker is None or needed.marker.evaluate({"extra": ""})
        }
        assert needed - locked == set()

    def test_holds_every_extra(self) -> None:
        """What a setting can ask for must be there."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        wanted = [
            *project["dependencies"],
            *(each for extra in project["optional-dependencies"].values() for each in extra),
        ]
        locked = re.findall(
            r"^([a-zA-Z0-9_.-]+)(?:\[[^\]]+\])?==",
            (ROOT / "requirements" / "image.txt").read_text("utf-8"),
            flags=re.MULTILINE,
        )
        names = {re.split(r"[^a-zA-Z0-9_.-]", each)[0].lower() for each in wanted}
        assert names - {each.lower() for each in locked} == set()
