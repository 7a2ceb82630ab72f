"""Checks of SQLite and its files."""

import re
import stat
from pathlib import Path
from typing import Final

from recado.operations.doctor.findings import Finding

_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.davfs", "fuse.glusterfs", "fuse.rclone"}
    | {"fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)


_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def sqlite_version() -> Finding:
    """Check the version of SQLite."""
    from recado.core.database.sqlite.driver import SAFE_SQLITE, sqlite_is_safe, sqlite_module

    version = sqlite_module().sqlite_version
    if sqlite_is_safe():
        return Finding("sqlite", True, f"version {version}")
    least = ".".join(str(number) for number in SAFE_SQLITE)
    return Finding(
        "sqlite", False, f"SQLite {version} can corrupt a database that several processes write: use {least}"
    )


def on_network_file_system(path: Path, mounts: str) -> list[Finding]:
    """Check that the file is not on a network file system. `mounts` is the content of `/proc/mounts`."""
    kind, place, real = "", Path("/"), path.resolve()
    for line in mounts.splitlines():
        _, mounted_at, mounted, *_ = line.split(" ")
        at = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), mounted_at))
        if real.is_relative_to(at) and len(at.parts) >= len(
            place.parts
        ):  # Of two mounts at one place the later one counts.
            kind, place = mounted, at
    if kind not in _NETWORK:
        return []
    why = "SQLite's log needs memory shared by all its processes, which a network file system does not have"
    return [
        Finding("database", False, f"{path} is on a network file system ({kind} at {place}): {why}; use a local disk")
    ]


def read_mounts() -> str:
    """Return the mounted file systems of Linux, or an empty text on other systems."""
    try:
        return Path("/proc/mounts").read_text(errors="surrogateescape")
    except OSError:
        return ""


def mode_findings(path: Path) -> list[Finding]:
    """Note files that other users of this machine can read. This may be intended, so it is no error."""
    named = [path, *(Path(f"{path}{log}") for log in ("-wal", "-shm"))]
    modes = {each: stat.S_IMODE(each.stat().st_mode) for each in named if each.exists()}
    return [
        Finding("mode", True, f"{each} is open to other users of this machine ({mode:04o}): chmod 600 {each}")
        for each, mode in modes.items()
        if mode & 0o077
    ]
