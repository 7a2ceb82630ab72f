"""`recado`, and `python -m recado`: a worker starts its isolated processes and its replacement in the second way."""

from recado.entrypoints.cli.main import app


def main() -> None:
    try:
        app(prog_name="recado")
    except SystemExit as ended:
        _exit_without_agents(ended.code)
        raise


def _exit_without_agents(status: object) -> None:
    """Servers and `recado tick` run agents too, and Python would wait for one that blocks for ever."""
    import threading

    if isinstance(status, int | None) and any(each.name.startswith("recado-agent") for each in threading.enumerate()):
        from recado.entrypoints.shutdown import exit_now

        exit_now(status or 0)


if __name__ == "__main__":
    main()
