# SPDX-License-Identifier: MIT
"""The runtime directory: a short, private place for sockets, whose paths may have at most 107 bytes (unix(7))."""

from __future__ import annotations

import os
import secrets
import shutil
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


RANDOM_BYTES = 8
"""Random bytes in the name: nobody guesses it, and no two are ever the same."""


class RuntimeDirectory:
    """A new directory with a random name and mode 0700 for the sockets of one machine.

    Raises InfrastructureError if none of the usual places takes one with a short enough path.
    """

    def __init__(self) -> None:
        tried: list[str] = []
        room = LONGEST_SOCKET_PATH - LONGEST_NAME - len(f"/{PREFIX}") - 2 * RANDOM_BYTES
        for base in self._bases():
            if len(os.fsencode(base)) > room:
                tried.append(f"{base} (path too long)")
                continue
            self.path = base / f"{PREFIX}{secrets.token_hex(RANDOM_BYTES)}"
            # Removed also when nobody closes the machine; arranged first, so that no interrupt comes in between.
            self._removal = weakref.finalize(self, remove, self.path)
            try:
                self.path.mkdir(mode=0o700)
            except OSError as error:
                self._removal.detach()
                tried.append(f"{base} ({error.strerror})")
                continue
            return
        raise InfrastructureError(
            f"no place for the machine's sockets: tried {', '.join(tried)}",
            hint=f"Set XDG_RUNTIME_DIR to a writable directory whose path has at most {room} bytes.",
        )

    @staticmethod
    def _bases() -> list[Path]:
        named = os.environ.get("XDG_RUNTIME_DIR", "")
        usual = [Path("/run/user") / str(os.getuid()), Path("/tmp")]  # noqa: S108  the name is random, the mode private
        return [Path(named), *usual] if named.startswith("/") else usual

    def remove(self) -> None:
        """Remove the directory and the sockets in it; a second call does nothing."""
        self._removal()
