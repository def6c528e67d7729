# SPDX-License-Identifier: MIT
"""One boot of a build: from power-on until the guest restarts the machine or turns it off, with all its failures."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import CommandRefused, HarnessError, InfrastructureError, TemplateFailed
from harness.history.bug_check import PAGE, PANICKED, BugCheck, bug_check_of
from harness.machine.inspection import QmpInspector
from harness.machine.machine import Machine, QmpEvent
from harness.template.diagnosis import Symptom, diagnose, sentence
from harness.template.progress import BuildProgress
from harness.template.reporter import Reporter
from harness.template.serial_logs import SerialLogs
from harness.template.serial_markers import SerialMarker, SerialMarkerReader
from harness.template.stage import BuildStage, StageTimeouts

LOOK = 0.1
"""Seconds between two reads of COM1 and the monitor."""

KEY_EVERY = 1.0
"""Seconds between two keys while the firmware may be asking for one."""

KEY_READ = 8 << 20
"""Bytes read from the medium after which it has started. Setup would take further keys for answers."""

SAMPLES = 5
"""Samples of disk and screen within the time in which nothing may happen, so that no change is missed."""

LONGEST_SAMPLE = 5.0
"""The most seconds between two samples."""

SCREENS = 8
"""Screens that are remembered. One of them again is not a change: a cursor blinks on the screen of a guest that hangs."""

READ_AT_ONCE = 1 << 20
"""Bytes of COM1 that are read at once. A guest may write without end."""

MEDIUM, DISK = "cdrom1", "disk0"
"""Block nodes of the installation medium and the disk (:mod:`harness.machine.attachments`)."""


LAST_WORDS = 30.0
"""Seconds without a byte on COM1 after which the logs of a guest whose step failed count as complete."""

ALL_WORDS = 600.0
"""Seconds in which all logs must be sent."""


class SetupBootEnd(StrEnum):
    """How the guest ended a boot."""

    RESTART = "restart"
    SHUTDOWN = "shutdown"


@dataclasses.dataclass(eq=False)
class SetupBoot:
    """One boot. ``folder`` gets the pictures of a failure, ``logs`` what the guest sends after one.

    ``visit`` is called once the guest runs. It returns markers, like those that the guest writes on COM1.

    The caller starts the machine, paused, and closes it.
    """

    machine: Machine
    progress: BuildProgress
    reporter: Reporter
    pace: StageTimeouts
    folder: Path
    logs: SerialLogs
    visit: Callable[[], list[SerialMarker]] | None = None

    def __post_init__(self) -> None:
        self._markers = SerialMarkerReader()
        console = self.machine.console
        self._place = console.stat().st_size if console.exists() else 0
        self._counted: dict[str, tuple[int, int]] = {}
        self._screens: deque[str] = deque(maxlen=SCREENS)
        self._short = Deadline(30, "ask QEMU")
        self._key = Deadline(0, "press a key")
        self._sample = Deadline(0, "take a sample")
        self._whole = Deadline(0, "")
        self._still = Deadline(0, "")

    def run(self, deadline: Deadline) -> SetupBootEnd:
        """Let the guest run until it restarts or turns itself off. Raises TemplateFailed, InfrastructureError, MachineFailed.

        A restart is intercepted: the machine stays paused, with all its writes on disk.
        """
        # By default QEMU restarts at once (Conduct). Here the disk must stay as the guest left it.
        self.machine.execute("set-action", deadline, reboot="shutdown", shutdown="pause")
        self._renew()
        self.machine.resume(deadline)
        if self.visit is not None:
            for marker in self.visit():
                if self.progress.take(marker):
                    self.reporter.reach(self.progress.reached)
            self._renew()
        return deadline.poll(self._look, interval=LOOK, error=lambda: self._failed(Symptom.LATE))

    def _look(self) -> SetupBootEnd | None:
        self._short = Deadline(30, "ask QEMU")
        self.machine.check_alive()
        # Events are read first and handled last: all markers that the guest wrote before them are then read.
        panics, ends, errors = (
            self.machine.events(name) for name in (PANICKED, "SHUTDOWN", "BLOCK_IO_ERROR")
        )
        self._hear()
        if self.progress.failure is not None:
            self._hear_logs()
            raise self._step_failed()
        if self.progress.began_again:
            raise self._failed(Symptom.BEGAN_AGAIN)
        if panics:
            raise self._failed(Symptom.PANICKED, bug_check_of(panics[0].data))
        if errors:
            raise block_error(errors[0], self.machine.directory)
        if ends:
            return _boot_end(ends[0])
        if self._sample.expired:
            self._take_sample()
        if self._still.expired:
            raise self._failed(Symptom.STILL)
        if self._whole.expired:
            raise self._failed(Symptom.LATE)
        self._press()
        return None

    def _hear(self) -> None:
        with contextlib.suppress(OSError), self.machine.console.open("rb") as console:
            end = console.seek(0, os.SEEK_END)
            console.seek(self._place)
            while self._place < end and (piece := console.read(min(READ_AT_ONCE, end - self._place))):
                self._place += len(piece)
                self._still = Deadline(self._still.seconds, self._still.what)
                for marker in self._markers.feed(piece):
                    self.logs.take(marker)
                    warned = len(self.progress.warnings)
                    if self.progress.take(marker):
                        self._moved()
                    for warning in self.progress.warnings[warned:]:
                        self.reporter.note(f"warning: {warning.step}: {warning.message}")

    def _hear_logs(self) -> None:
        """Read on until a guest whose step failed has sent its logs, writes nothing more, or is gone."""
        within = Deadline(ALL_WORDS * self.pace.factor, "the guest's logs")
        heard, quiet = self._place, Deadline(LAST_WORDS * self.pace.factor, "a byte on COM1")

        def over() -> bool:
            nonlocal heard, quiet
            self._hear()
            if self._place != heard:
                heard, quiet = self._place, Deadline(quiet.seconds, quiet.what)
            return self.logs.over or quiet.expired or within.expired or not self.machine.alive()

        within.poll(over, interval=LOOK, error=lambda: self._step_failed())

    def _moved(self) -> None:
        self.reporter.reach(self.progress.reached)
        self._renew()

    def _renew(self) -> None:
        limit = self.pace.limit(self.progress.reached.stage)
        self._whole = Deadline(limit.whole, "this stage")
        self._still = Deadline(limit.still, "anything to happen")
        self._sample_later()

    def _sample_later(self) -> None:
        self._sample = Deadline(min(LONGEST_SAMPLE, self._still.seconds / SAMPLES), "the next sample")

    def _count(self) -> dict[str, tuple[int, int]]:
        """Return the bytes read and written of every disk and medium since the machine's start."""
        rows = self.machine.execute("query-blockstats", self._short)
        stats = {str(row.get("node-name", "")): row.get("stats", {}) for row in rows}
        return {
            node: (int(row.get("rd_bytes", 0)), int(row.get("wr_bytes", 0))) for node, row in stats.items()
        }

    def _take_sample(self) -> None:
        self._sample_later()
        counts = self._count()
        if self.progress.counted(read=counts.get(MEDIUM, (0, 0))[0], written=counts.get(DISK, (0, 0))[1]):
            self._moved()
        screen = self._screen()
        if counts != self._counted or screen not in self._screens:
            self._counted = counts
            self._screens.append(screen)
            self._still = Deadline(self._still.seconds, self._still.what)

    def _screen(self) -> str:
        """Return a digest of the screen, "" where there is none."""
        file = self.folder / "screen.ppm"
        try:
            self.machine.execute("screendump", self._short, filename=str(file))
            return hashlib.sha256(file.read_bytes()).hexdigest()
        except (CommandRefused, OSError):
            return ""
        finally:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)

    def _press(self) -> None:
        """Answer "Press any key to boot from CD": only while the firmware runs, and until the medium is read."""
        if self.progress.reached.stage is not BuildStage.FIRMWARE or not self._key.expired:
            return
        self._key = Deadline(KEY_EVERY, "the next key")
        # Checked each time: Setup would take an extra key for an answer.
        if self._count().get(MEDIUM, (0, 0))[0] < KEY_READ:
            with contextlib.suppress(CommandRefused):
                self.machine.execute("send-key", self._short, keys=[{"type": "qcode", "data": "ret"}])

    def _failed(self, symptom: Symptom, crash: BugCheck | None = None) -> HarnessError:
        reached = self.progress.reached
        diagnosis = diagnose(reached.stage, symptom)
        return self._with_picture(
            sentence(reached.stage, symptom, reached.step_words())
            + (f": {crash} ({PAGE})" if crash is not None else self._how_long(symptom)),
            f"Likely cause: {diagnosis.likely}.\n{diagnosis.advice}",
        )

    def _how_long(self, symptom: Symptom) -> str:
        limit = self.pace.limit(self.progress.reached.stage)
        seconds = {Symptom.STILL: limit.still, Symptom.LATE: limit.whole}.get(symptom)
        return f": {seconds:g} s" if seconds else ""

    def _step_failed(self) -> HarnessError:
        failure = self.progress.failure
        if failure is None:
            raise AssertionError("no step failed")
        return self._with_picture(
            f"provisioning step {failure.number} of {failure.count} ({failure.name}) failed: {failure.message}",
            "The message is the guest's own; the script of that name says what the step does.",
        )

    def _with_picture(self, message: str, hint: str) -> HarnessError:
        picture = None
        with contextlib.suppress(HarnessError):
            inspector = QmpInspector(self.machine.execute)
            picture = inspector.screenshot(self.folder / "failure", Deadline(10, "take a picture"))
        shown = f"\nScreenshot: {picture}" if picture else ""
        return TemplateFailed(
            message,
            hint=f"{hint}{shown}\nCOM1: {self.machine.console}",
            reached=self.progress.reached.words(),
        )


def _boot_end(event: QmpEvent) -> SetupBootEnd:
    """Return how the guest ended the boot (QEMU: qapi/run-state.json). Raises InfrastructureError if the guest did not end it."""
    reason = event.data.get("reason")
    if event.data.get("guest") and reason in ("guest-reset", "guest-shutdown"):
        return SetupBootEnd.RESTART if reason == "guest-reset" else SetupBootEnd.SHUTDOWN
    raise InfrastructureError(
        f"the machine was shut down from outside: {reason}", hint="Build again: its checkpoints are kept."
    )


def full_disk(folder: Path) -> InfrastructureError:
    """Make the error for a host whose disk is full."""
    return InfrastructureError(
        f"the host's disk is full: {folder}",
        hint="Free some space there, then build again: it continues at the last checkpoint.",
    )


def block_error(event: QmpEvent, folder: Path) -> HarnessError:
    """Make the error for a disk or a medium that QEMU could not read or write (QEMU: qapi/block-core.json)."""
    node, operation = str(event.data.get("node-name", "")), str(event.data.get("operation", ""))
    if event.data.get("nospace"):
        return full_disk(folder)
    what = "the installation medium" if node.startswith("cdrom") else "the guest's disk"
    reason = str(event.data.get("reason", "no reason given"))
    return InfrastructureError(
        f"QEMU could not {operation} {what}: {reason}",
        hint="The file, or the host's disk that it lies on, is damaged.",
    )
