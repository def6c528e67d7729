# SPDX-License-Identifier: MIT
"""Wine's prefix in the cache: made once, used by one run at a time, with no Wine process left running after it.

A prefix is one machine to the drivers in it. It takes half a minute to make and some 700 MB. So runs take turns, and
each begins with the registry as it was made: Wine would start the driver of a device that an earlier run left.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.host.file_lock import locked
from harness.interrupts import uninterrupted
from harness.program import run_program
from harness.setup.cache import Cache, digest

SERVERS = ("wineserver", "/usr/lib/wine/wineserver", "/usr/lib/wine/wineserver64")
REGISTRY = ("system.reg", "user.reg", "userdef.reg")
"""The files in which Wine's server keeps the registry, and which it writes when it ends."""

ENDING = 30.0
"""Seconds in which Wine's server must end all processes of a prefix."""


class WinePrefix(NamedTuple):
    """A prefix: where it is, the Wine that uses it, and that Wine's version."""

    path: Path
    wine: str
    version: str

    @property
    def drive(self) -> Path:
        """The directory that programs see as ``C:\\``."""
        return self.path / "drive_c"

    def command(self, *words: str | Path) -> list[str]:
        """Return the command that runs a program in the prefix, without a display."""
        return [*_environment(self.path), self.wine, *map(str, words)]

    @contextmanager
    def used(self, deadline: Deadline, progress: Callable[[str], None]) -> Iterator[None]:
        """Hold the prefix exclusively. No process runs in it at the beginning and at the end. Raises InfrastructureError."""
        with locked(self.path.with_name("in-use"), "using Wine", deadline, progress):
            self.end(deadline.within(ENDING, "end what runs in Wine's prefix"))
            self._copy_registry(self.path.parent, self.path)
            try:
                yield
            finally:
                with uninterrupted():
                    self.end(Deadline(ENDING, "end what runs in Wine's prefix"))

    def keep_registry(self) -> None:
        """Keep a copy of the registry, with which every run begins. No process may run in the prefix."""
        self._copy_registry(self.path, self.path.parent)

    def _copy_registry(self, source: Path, target: Path) -> None:
        try:
            for name in REGISTRY:
                shutil.copyfile(source / name, target / name)
        except OSError as error:
            raise InfrastructureError(
                f"cannot copy the registry of Wine's prefix {self.path}: {error}",
                hint=f"Delete {self.path.parent}; it is made again.",
            ) from error

    def end(self, deadline: Deadline) -> None:
        """End everything that runs in the prefix, Wine's server too."""
        run_program([*_environment(self.path), _server(), "--kill", "--wait"], deadline)


def prepare_prefix(
    cache: Cache, wine: str, deadline: Deadline, progress: Callable[[str], None]
) -> WinePrefix:
    """Return the prefix for this Wine, making it if there is none. Raises InfrastructureError if Wine fails."""
    version = run_program([wine, "--version"], deadline.within(60, "ask Wine for its version")).output.strip()
    version = version.splitlines()[-1] if version else "an unknown Wine"

    def make(place: Path, _lock: int) -> None:
        progress("making Wine's prefix; this takes half a minute, once")
        prefix = WinePrefix(place / "prefix", wine, version)
        done = run_program(prefix.command("wineboot", "--init"), deadline)
        prefix.end(deadline)
        if done.status or not (prefix.drive / "windows" / "system32" / "drivers").is_dir():
            raise InfrastructureError(f"Wine made no prefix: {done.failure()}")
        prefix.keep_registry()

    place = cache.built(
        "wine-prefix",
        digest(wine, version, *REGISTRY),
        make,
        deadline,
        clone=Path(__file__).resolve().parents[3],
    )
    return WinePrefix(place / "prefix", wine, version)


def _environment(prefix: Path) -> list[str]:
    """Return the beginning of a command: Wine's settings. Neither .NET nor a web engine is offered for download."""
    return [
        "env", "-u", "DISPLAY", f"WINEPREFIX={prefix}", "WINEARCH=win64", "WINEDEBUG=-all",
        "WINEDLLOVERRIDES=mscoree,mshtml=",
    ]  # fmt: skip


def _server() -> str:
    return next((found for name in SERVERS if (found := shutil.which(name))), SERVERS[0])
