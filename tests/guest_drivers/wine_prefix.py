# SPDX-License-Identifier: MIT
"""A Wine of a test's own: its prefix, programs run in it, and nothing left of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from harness.setup.parts import part


class Wine(NamedTuple):
    """A prefix and the environment in which Wine uses it."""

    prefix: Path
    environment: dict[str, str]

    @property
    def drive(self) -> Path:
        """What programs see as ``C:\\``."""
        return self.prefix / "drive_c"

    def run(
        self, *words: str | Path, stdin: str = "", seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a Windows program to its end."""
        return subprocess.run(
            [part("wine").needs[0].found(), *words], env=self.environment, input=stdin, text=True,
            errors="replace", capture_output=True, timeout=seconds,
        )  # fmt: skip

    def server(self, *words: str) -> None:
        """Give an order to the prefix's wineserver; "--wait" returns when it has ended."""
        server = shutil.which("wineserver") or "/usr/lib/wine/wineserver"
        subprocess.run([server, *words], env=self.environment, timeout=60, check=False)


@contextmanager
def wine_prefix(folder: Path) -> Iterator[Wine]:
    """Make a prefix, and end everything that runs in it and delete it afterwards."""
    environment = {
        **os.environ,
        "WINEPREFIX": str(folder / "prefix"),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        # Neither .NET nor a web engine is asked for, and so nothing offers to download one.
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
    }
    environment.pop("DISPLAY", None)
    wine = Wine(folder / "prefix", environment)
    try:
        wine.run("wineboot", "--init", seconds=150)
        yield wine
    finally:
        wine.server("--kill", "--wait")
        # A prefix takes some 700 MB, and pytest keeps the directories of the last runs.
        shutil.rmtree(wine.prefix, ignore_errors=True)
