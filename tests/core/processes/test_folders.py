"""A folder is removed with the process that made it, however the process ends."""

import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from recado.core.processes.folders import private_folder

PATIENCE = 60
HOLDER = """
import signal, sys
from pathlib import Path
from recado.core.processes.folders import StoppedBySignal, private_folder, stop_on_signals

try:
    with stop_on_signals([signal.SIGTERM]), private_folder(Path(sys.argv[1]), prefix="mine-") as folder:
        (folder / "something").touch()
        print("here", flush=True)
        sys.stdin.read()
except StoppedBySignal as stopped:
    sys.exit(str(stopped))
"""


@contextmanager
def holder(directory: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that has a folder until its standard input ends."""
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", HOLDER, str(directory)]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            yield process
        finally:
            process.kill()


def test_it_is_for_one_user_only_and_gone_at_the_end(tmp_path: Path) -> None:
    with private_folder(tmp_path, prefix="mine-") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "something").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_one_whose_process_is_terminated_is_gone(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (1, b"it was stopped by SIGTERM\n")
    assert list(tmp_path.iterdir()) == []


def test_one_whose_process_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
    [left] = tmp_path.iterdir()
    with private_folder(tmp_path, prefix="mine-") as folder:
        assert (list(tmp_path.iterdir()), left.exists()) == ([folder], False)


def test_one_whose_process_lives_is_left_alone(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with private_folder(tmp_path, prefix="mine-") as folder:
            [other] = [each for each in tmp_path.iterdir() if each != folder]
        assert (other / "something").exists()
        process.communicate(timeout=PATIENCE)
    assert list(tmp_path.iterdir()) == []


def test_what_only_resembles_one_is_left_alone(tmp_path: Path) -> None:
    others = [tmp_path / "mine-1", tmp_path / "mine-2.part", tmp_path / "elsewhere"]
    others[0].touch()
    others[2].mkdir()
    (others[2] / "kept").touch()
    others[1].symlink_to(others[2])
    with private_folder(tmp_path, prefix="mine-"):
        assert all(each.exists() for each in others)
    assert [each.name for each in others[2].iterdir()] == ["kept"]


def test_where_none_can_be_made_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError) as raised,
        private_folder(tmp_path / "nowhere", prefix="mine-"),
    ):
        raise AssertionError
    assert raised.value.filename == str(tmp_path / "nowhere")
