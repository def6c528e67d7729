# SPDX-License-Identifier: MIT
"""The progress of a build: a state that markers, restarts and the machine's own counters move forward, never back."""

from __future__ import annotations

import msgspec

from harness.template.serial_markers import (
    DoneMarker,
    FactMarker,
    FailMarker,
    SerialMarker,
    StageMarker,
    StepMarker,
    WarnMarker,
)
from harness.template.stage import SHOWN, BuildStage

MOST_FACTS = 64

MOST_WARNINGS = 64

MOST_RESETS = 6
"""Restarts within one stage or step after which the guest counts as looping."""

MIB = 1 << 20

WINPE_READ = 64 * MIB
"""Bytes read from the medium after which Setup's own system must be running, if no marker says so."""

COPYING_WRITTEN = 256 * MIB
"""Bytes written to the disk after which Setup must be copying, if no marker says so."""


class BuildPosition(msgspec.Struct, frozen=True):
    """A position in a build: a stage, and within provisioning the step. Positions are ordered."""

    stage: BuildStage = BuildStage.FIRMWARE
    number: int = 0
    count: int = 0
    name: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """The sort key."""
        return self.stage.place, self.number

    def words(self) -> str:
        """Return the position as text: *provisioning, step 3 of 12 (winrm)*."""
        if self.stage is BuildStage.PROVISIONING and self.number:
            return f"{SHOWN[self.stage]}, {self.step_words()}"
        return SHOWN[self.stage]

    def step_words(self) -> str:
        """Return the step, "" outside provisioning."""
        return f"step {self.number} of {self.count} ({self.name})" if self.number else ""


class StepWarning(msgspec.Struct, frozen=True):
    """A failure in ``step`` that a template can do without. ``message`` is the guest's, printable."""

    step: str
    message: str


class BuildProgress:
    """The progress of a build. ``reached`` only grows. ``failure`` is the guest's marker of a failed step.

    ``began_again`` is set when the guest reports the first stage again after one that follows the first restart: the medium
    was started a second time. ``facts`` are what the guest reported about itself, at most ``MOST_FACTS``. ``warnings``
    are failures that did not end the build, at most ``MOST_WARNINGS``.
    """

    def __init__(
        self,
        reached: BuildPosition | None = None,
        facts: dict[str, str] | None = None,
        warnings: tuple[StepWarning, ...] = (),
    ) -> None:
        self.reached = reached or BuildPosition()
        self.facts = dict(facts or {})
        self.warnings = list(warnings)
        self.failure: FailMarker | None = None
        self.began_again = False
        self.resets = 0

    @property
    def done(self) -> bool:
        """Whether only the shutdown is left."""
        return self.reached.stage.last

    def take(self, marker: SerialMarker) -> bool:
        """Take a marker; return whether the build progressed."""
        match marker:
            case StageMarker(stage=name):
                return self._stage(BuildStage.named(name))
            case StepMarker(number=number, count=count, name=name):
                return self._advance(BuildPosition(BuildStage.PROVISIONING, number, count, name))
            case FailMarker(number=number, count=count, name=name):
                self._advance(BuildPosition(BuildStage.PROVISIONING, number, count, name))
                self.failure = self.failure or marker
            case WarnMarker(message=message):
                warning = StepWarning(self.reached.name or SHOWN[self.reached.stage], message)
                if warning not in self.warnings and len(self.warnings) < MOST_WARNINGS:
                    self.warnings.append(warning)
            case FactMarker(key=key, value=value):
                if key in self.facts or len(self.facts) < MOST_FACTS:
                    self.facts[key] = value
            case DoneMarker():
                return self._advance(BuildPosition(BuildStage.DONE))
        return False

    def _stage(self, stage: BuildStage | None) -> bool:
        # A guest may not claim by a stage marker what only follows from all steps.
        if stage is None or stage in (BuildStage.FIRMWARE, BuildStage.DONE):
            return False
        if (
            stage.place <= BuildStage.COPYING.place
            and self.reached.stage.place >= BuildStage.SPECIALIZE.place
        ):
            self.began_again = True
        return self._advance(BuildPosition(stage))

    def counted(self, *, read: int, written: int) -> bool:
        """Take bytes read from the medium and written to the disk since the start of the machine; like :meth:`take`."""
        if self.reached.stage is BuildStage.FIRMWARE and read >= WINPE_READ:
            return self._advance(BuildPosition(BuildStage.WINPE))
        if self.reached.stage is BuildStage.WINPE and written >= COPYING_WRITTEN:
            return self._advance(BuildPosition(BuildStage.COPYING))
        return False

    def reset(self) -> bool:
        """Take a restart by the guest. The first one after copying begins specialize."""
        self.resets += 1
        if self.reached.stage is BuildStage.COPYING:
            return self._advance(BuildPosition(BuildStage.SPECIALIZE))
        return False

    def _advance(self, reached: BuildPosition) -> bool:
        if reached.order <= self.reached.order:
            return False
        self.reached = reached
        self.resets = 0
        return True
