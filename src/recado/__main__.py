"""`recado`, and `python -m recado`: worker processes start their suspects and replacements in the second way."""

from recado.entrypoints.cli.main import app


def main() -> None:
    app(prog_name="recado")


if __name__ == "__main__":
    main()
