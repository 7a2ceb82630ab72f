"""The settings, read from environment variables and checked together before anything starts.

`load_settings` reports all problems at once, each with the variable that fixes it. There are no unsafe defaults: a
missing secret stops the start in every environment.

pydantic-settings reads the variables. It is imported only when settings are loaded, because the import takes a quarter
of a second that `recado --help` does not need.
"""

from recado.settings.loading import InvalidSettings, load_settings, normal_database_url, variables
from recado.settings.rules import Problem, seconds_of_all_attempts
from recado.settings.values import PREFIX, LogLevel, Purpose, QueueBackend, Settings

__all__ = [
    "PREFIX", "InvalidSettings", "LogLevel", "Problem", "Purpose", "QueueBackend", "Settings", "load_settings",
    "normal_database_url", "seconds_of_all_attempts", "variables",
]  # fmt: skip
