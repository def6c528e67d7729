# SPDX-License-Identifier: MIT
"""The stages of a build, in order, each with its longest time and its longest time without progress.

No source says how long Windows Setup takes: these are generous guesses for KVM, to be replaced by measurements of builds.
``StageTimeouts`` scales all of them, since emulation is many times slower.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class BuildStage(StrEnum):
    """A stage of a build. Its value is the name of its marker (:mod:`harness.template.serial_markers`)."""

    FIRMWARE = "firmware"
    WINPE = "winpe"
    COPYING = "copying"
    SPECIALIZE = "specialize"
    FIRST_LOGON = "first-logon"
    INSTALLED = "installed"
    PROVISIONING = "provisioning"
    DONE = "done"

    @property
    def place(self) -> int:
        """The position, 0 for the first."""
        return ORDER.index(self)

    @property
    def last(self) -> bool:
        """Whether this is the stage in which only the shutdown is left."""
        return self is BuildStage.DONE

    @classmethod
    def named(cls, name: str) -> BuildStage | None:
        """Return the stage of this name, None if there is none."""
        return cls(name) if name in ORDER else None


ORDER = list(BuildStage)

SHOWN = {
    BuildStage.FIRMWARE: "firmware",
    BuildStage.WINPE: "WinPE",
    BuildStage.COPYING: "copying",
    BuildStage.SPECIALIZE: "specialize",
    BuildStage.FIRST_LOGON: "first logon",
    BuildStage.INSTALLED: "installed",
    BuildStage.PROVISIONING: "provisioning",
    BuildStage.DONE: "shutdown",
}
"""The stages' names for people. After the done marker only the shutdown is left."""


class StageTimeout(msgspec.Struct, frozen=True):
    """Seconds: the longest time of the stage, and the longest time in it without any activity."""

    whole: float
    still: float


class StageTimeouts(msgspec.Struct, frozen=True):
    """The time limits of the stages. ``factor`` scales the usual limits. ``limits`` replace them, unscaled."""

    factor: float = 1.0
    limits: dict[BuildStage, StageTimeout] = {}

    def limit(self, stage: BuildStage) -> StageTimeout:
        """Return the limit of ``stage``; that of provisioning is for one step."""
        usual = LIMITS[stage]
        return self.limits.get(stage) or StageTimeout(usual.whole * self.factor, usual.still * self.factor)


LIMITS = {
    BuildStage.FIRMWARE: StageTimeout(180, 90),
    BuildStage.WINPE: StageTimeout(900, 300),
    BuildStage.COPYING: StageTimeout(3600, 600),
    BuildStage.SPECIALIZE: StageTimeout(2700, 900),
    BuildStage.FIRST_LOGON: StageTimeout(1800, 900),
    BuildStage.INSTALLED: StageTimeout(1200, 600),
    BuildStage.PROVISIONING: StageTimeout(1800, 900),
    BuildStage.DONE: StageTimeout(900, 600),
}
