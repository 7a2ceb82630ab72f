"""Read the settings from environment variables."""

import difflib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace

from recado.core.errors import ConfigurationError
from recado.settings.rules import Problem, check, check_opentelemetry, decode_key
from recado.settings.values import PREFIX, Purpose, Settings


class InvalidSettings(ConfigurationError):
    """The settings do not allow a start. Each problem names the variable that fixes it."""

    code = "settings.invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        sentences = [problem.sentence for problem in problems]
        if len(sentences) > 1:
            sentences.insert(0, f"{len(problems)} settings must be fixed:")
        super().__init__("\n  - ".join(sentences))
        self.problems = tuple(problems)


def load_settings(environ: Mapping[str, str], *, purpose: Purpose) -> Settings:
    """Return the settings in `environ`. Raises one `InvalidSettings` with every problem for this purpose."""
    given = {name: value.strip() for name, value in environ.items() if name.startswith(PREFIX) and value.strip()}
    problems = list(_unknown(given))
    others = {name: value.strip() for name, value in environ.items() if name.startswith("OTEL_") and value.strip()}
    read, unreadable = _read({name: value for name, value in given.items() if name in variables()})
    problems += unreadable
    settings = _settled(read, given)
    if settings.tracing:
        problems += check_opentelemetry(others)
    wrong = {problem.variable for problem in problems}
    problems += [problem for problem in check(settings, given, purpose) if problem.variable not in wrong]
    if problems:
        raise InvalidSettings(problems)
    return replace(settings, secret_key=decode_key(settings.secret_key))


@functools.cache
def variables() -> Mapping[str, str]:
    """Return every variable with the field that it sets."""
    return {PREFIX + setting.name.upper(): setting.name for setting in fields(Settings)}


def _unknown(given: Mapping[str, str]) -> Iterator[Problem]:
    for name in given:
        if name not in variables():
            near = difflib.get_close_matches(name.upper(), variables(), n=1, cutoff=0.75)
            hint = f"did you mean {near[0]}?" if near else "see docs/reference/settings.md, or remove it."
            yield Problem(name, f"{name} is not a setting: {hint}")


# --- Reading ----------------------------------------------------------------------------------------------------------


def _read(given: Mapping[str, str]) -> tuple[Settings, list[Problem]]:
    """Return the settings, with defaults for values that cannot be read, and the problems of those."""
    from pydantic import ValidationError

    try:
        return _parsed(given), []
    except ValidationError as error:
        bad = {PREFIX + str(each["loc"][-1]).upper(): each["msg"] for each in error.errors(include_input=False)}
    problems = [_unreadable(variable, given[variable], why) for variable, why in bad.items()]
    return _parsed({name: value for name, value in given.items() if name not in bad}), problems


def _parsed(given: Mapping[str, str]) -> Settings:
    from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

    class Reader(BaseSettings):
        """Reads RECADO_LEASE_SECONDS into `recado.lease_seconds`, from the given variables only."""

        model_config = SettingsConfigDict(env_nested_delimiter="_", env_nested_max_split=1)
        recado: Settings = Settings()

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the names are pydantic-settings' own
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            source = EnvSettingsSource(settings_cls)
            source.env_vars = {name.lower(): _plain(name, value) for name, value in given.items()}
            return (source,)

    return Reader().recado


def _plain(variable: str, value: str) -> str:
    return value.lower() if variable == PREFIX + "LOG_LEVEL" else value


def _unreadable(variable: str, text: str, why: str) -> Problem:
    return Problem(variable, f"{variable} cannot be read from {text[:40]!r}: {why[:1].lower()}{why[1:]}.")


def normal_database_url(url: str) -> str:
    """Return the URL as the driver wants it: many hosts still write postgres:// for PostgreSQL."""
    return f"postgresql://{url.removeprefix('postgres://')}" if url.startswith("postgres://") else url


def _settled(read: Settings, given: Mapping[str, str]) -> Settings:
    """Apply the defaults that depend on other settings, and normalise URLs."""
    read = replace(read, database_url=normal_database_url(read.database_url))
    if PREFIX + "QUEUE_BACKEND" not in given and read.database_url.startswith("postgresql"):
        read = replace(read, queue_backend="postgres")
    public_url = read.public_url.rstrip("/") if read.public_url else None
    return replace(read, public_url=public_url, twilio_api_url=read.twilio_api_url.rstrip("/"))
