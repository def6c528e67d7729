# SPDX-License-Identifier: MIT
"""The runtime directory: a short, private place for sockets, whose paths may have at most 107 bytes (unix(7))."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from stat import S_ISDIR

from harness.errors import InfrastructureError

LONGEST_SOCKET_PATH = 107
LONGEST_NAME = 16
"""Bytes kept for the longest socket name in the directory, with its slash."""


PREFIX = "hotplug-"
"""How the name of every runtime directory begins."""


def remove(path: Path) -> None:
    """Remove a runtime directory and the sockets in it. Anything that is none, or is not ours, stays."""
    try:
        stat = path.lstat()
    except OSError:
        return
    if path.name.startswith(PREFIX) and S_ISDIR(stat.st_mode) and stat.st_uid == os.getuid():
        shutil.rmtree(path, ignore_errors=True)


class RuntimeDirectory:
    """A new directory with a random name and mode 0700 for the sockets of one machine.

    Raises InfrastructureError if none of the usual places takes one with a short enough path.
    """

    def __init__(self) -> None:
        tried: list[str] = []
        for base in self._bases():
            room = LONGEST_SOCKET_PATH - LONGEST_NAME - len(f"/{PREFIX}01234567")
            if len(os.fsencode(base)) > room:
                tried.append(f"{base} (path too long)")
                continue
            try:
                self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
            except OSError as error:
                tried.append(f"{base} ({error.strerror})")
                continue
            # Also when nobody closes the machine, which then never ran.
            self._removal = weakref.finalize(self, remove, self.path)
            return
        raise InfrastructureError(
            f"no place for the machine's sockets: tried {', '.join(tried)}",
            hint=f"Set XDG_RUNTIME_DIR to a writable directory whose path has at most {room} bytes.",
        )

    @staticmethod
    def _bases() -> list[Path]:
        named = os.environ.get("XDG_RUNTIME_DIR", "")
        usual = [Path("/run/user") / str(os.getuid()), Path("/tmp")]  # noqa: S108  mkdtemp makes it private
        return [Path(named), *usual] if named.startswith("/") else usual

    def remove(self) -> None:
        """Remove the directory and the sockets in it; a second call does nothing."""
        self._removal()
