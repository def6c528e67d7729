# SPDX-License-Identifier: MIT
"""The guest's screen, as far as a machine can look at it: whether it changed, and a picture for people."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import CommandRefused
from harness.machine.machine import Machine


class GuestScreen:
    """Screenshots by QMP's ``screendump`` (QEMU: qapi/ui.json), in ``folder``."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine = machine
        self._folder = folder

    def digest(self, deadline: Deadline) -> str:
        """Return a digest of what is on the screen, "" where there is none."""
        file = self._folder / "screen.ppm"
        try:
            self._machine.execute("screendump", deadline, filename=str(file))
            return hashlib.sha256(file.read_bytes()).hexdigest()
        except (CommandRefused, OSError):
            return ""
        finally:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    def save(self, name: str, deadline: Deadline) -> Path | None:
        """Save a picture called ``name``: PNG, or PPM where QEMU cannot write PNG (before 7.1). None if that fails."""
        for form in ("png", "ppm"):
            file = self._folder / f"{name}.{form}"
            with contextlib.suppress(CommandRefused):
                self._machine.execute("screendump", deadline, filename=str(file), format=form)
                return file
        return None
