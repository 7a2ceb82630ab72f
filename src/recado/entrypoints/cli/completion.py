"""`recado completion`: a script with which a shell completes what is typed."""

import sys
from typing import Annotated, Literal, TypeAlias

import typer

from recado.entrypoints.cli.main import COMPLETE_VARIABLE

Shell: TypeAlias = Annotated[
    Literal["bash", "zsh", "fish"], typer.Argument(help="The shell that the script is for.", metavar="SHELL")
]


def completion(shell: Shell) -> None:
    """Print a script with which a shell completes commands.

    For bash, add to ~/.bashrc: eval "$(recado completion bash)". For zsh, add the same with zsh to ~/.zshrc, after
    compinit. For fish, write it to ~/.config/fish/completions/recado.fish.
    """
    from typer._completion_shared import get_completion_script

    sys.stdout.write(get_completion_script(prog_name="recado", complete_var=COMPLETE_VARIABLE, shell=shell) + "\n")
