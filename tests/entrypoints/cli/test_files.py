"""A file that a person names is read, or refused at once with one sentence."""

import os
import socket
from pathlib import Path

import pytest

from recado.core.errors import InvalidInput
from recado.entrypoints.cli.demo.script import read_script
from recado.entrypoints.cli.files import read_file, read_text


def test_an_ordinary_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffolá".encode())
    assert read_file(file, 7) == "\ufeffolá".encode()
    assert read_text(file, 7) == "olá"
    with pytest.raises(InvalidInput, match="larger than"):
        read_file(file, 6)


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def a_socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "s"))
    return folder / "s"


def a_loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: Path("/dev/zero"), "not a regular file"),
        (a_pipe, "not a regular file"),
        (a_socket, "not a regular file"),
        (lambda folder: folder, "is a folder"),
        (lambda folder: folder / "none", "does not exist"),
        (a_loop, "cannot be read"),
        (lambda folder: folder / ("x" * 300), "cannot be read: file name too long"),
    ],
    ids=["a device", "a pipe", "a socket", "a folder", "nothing", "a loop", "no name"],
)
@pytest.mark.parametrize("read", [lambda path: read_text(path, 1_000), read_script], ids=["a text", "a script"])
def test_what_is_no_file_is_refused(tmp_path: Path, make: object, why: str, read: object) -> None:
    assert callable(make)
    assert callable(read)
    with pytest.raises(InvalidInput, match=why):
        read(make(tmp_path))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\xff")
    with pytest.raises(InvalidInput, match="not a text file in UTF-8"):
        read_text(tmp_path / "photo.png", 1_000)


def test_a_script_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("[" * 400, "utf-8")
    with pytest.raises(InvalidInput, match="is not YAML"):
        read_script(tmp_path / "deep.yaml")
