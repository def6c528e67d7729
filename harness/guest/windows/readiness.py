# SPDX-License-Identifier: MIT
"""The boot stages of a Windows guest, and what the guest shows when a boot does not progress."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from harness.deadline import Deadline
from harness.errors import GuestCrash, GuestError, GuestHang
from harness.guest.windows import answer
from harness.guest.windows.shell import PowerShellSession
from harness.guest.windows.transports import GuestTransports
from harness.history.bug_check import PAGE, PANICKED, bug_check_of
from harness.invocation import invocation
from harness.machine.machine import Machine
from harness.machine.ospm import listening

FIRST_INTERVAL, LONGEST_INTERVAL = 0.05, 1.0
"""Seconds between two checks of a booting guest. No event says that WinRM answers."""

ASK_QEMU = 10.0

FIRST_TRY, LONGEST_TRY = 2.0, 30.0
"""Seconds that an attempt to reach the guest may take. Few at first, so that its own shutdown is soon noticed, and more with
each attempt, since everything takes long in a guest without KVM. A starting service may accept a connection and not answer."""


class BootStage(StrEnum):
    """The last stage that a boot is known to have reached."""

    FIRMWARE = "firmware"
    ACPI = "acpi"
    WINRM = "winrm"
    SSH = "ssh"
    READY = "ready"


MEANING = {
    BootStage.FIRMWARE: "the machine runs, and no operating system has taken ACPI over",
    BootStage.ACPI: "an operating system listens to ACPI, and WinRM does not answer",
    BootStage.WINRM: "WinRM answers, and SSH does not",
    BootStage.SSH: "WinRM and SSH answer",
    BootStage.READY: "the guest takes orders",
}

LOOK_AT = {
    BootStage.FIRMWARE: "Did the firmware find the disk? A boot takes minutes without KVM: --boot-timeout SECONDS.",
    BootStage.ACPI: "It may still be starting (--boot-timeout SECONDS), or be waiting for input at its screen.",
    BootStage.WINRM: "Does its service sshd run, and does the template's manifest hold its host key?",
}


class Readiness:
    """An observer of one boot after the other. ``stage`` is the last one reached in this boot."""

    def __init__(
        self, machine: Machine, transports: GuestTransports, shell: PowerShellSession, *, label: str
    ) -> None:
        self.stage = BootStage.FIRMWARE
        self._machine = machine
        self._transports = transports
        self._shell = shell
        self._label = label
        self._since = 0
        self._words = ""
        self._patience = FIRST_TRY

    def wait(
        self, deadline: Deadline, *, since: int = 0, picture: Callable[[BootStage], str] = lambda _: ""
    ) -> answer.Ready:
        """Wait until the guest answers on every transport. ``since`` is the serial of the last QMP message before this boot.

        When the deadline passes, ``picture`` saves the screen and returns where. Raises GuestHang with the stage,
        GuestCrash if the guest shut down or panicked, InfrastructureError if another machine answers.
        """
        self.stage, self._since, self._words = BootStage.FIRMWARE, since, ""
        self._patience = FIRST_TRY
        return deadline.poll(
            lambda: self._look(deadline),
            interval=FIRST_INTERVAL,
            longest=LONGEST_INTERVAL,
            error=lambda: self._late(deadline, picture),
        )

    def _look(self, deadline: Deadline) -> answer.Ready | None:
        self._machine.check_alive()
        self._check()
        if deadline.expired:
            return None
        resets = len(self._machine.events("RESET", after=self._since))
        if self.stage is BootStage.FIRMWARE and listening(
            self._machine, Deadline(ASK_QEMU, "ask who listens to ACPI")
        ):
            self.stage = BootStage.ACPI
        ready = self._ask(deadline)
        if ready is None or not self._secure(deadline):
            return None
        if len(self._machine.events("RESET", after=self._since)) > resets:
            self.stage = BootStage.FIRMWARE
            return None
        self.stage = BootStage.READY
        return ready

    def _check(self) -> None:
        """Raise GuestCrash for a guest that has powered itself off, or has reported its own crash."""
        if self._machine.events("SHUTDOWN", after=self._since):
            raise GuestCrash(
                f"{self._label} shut itself down while it was expected to boot; last stage reached {str(self.stage)!r}",
                hint="An evaluation that has expired shuts down about hourly. Its age: "
                + invocation("template", "show", "NAME"),
            )
        for event in self._machine.events(PANICKED, after=self._since):
            found = bug_check_of(event.data)
            raise GuestCrash(
                f"{self._label} crashed while it booted; last stage reached {str(self.stage)!r}"
                + (f": {found}" if found is not None else ""),
                hint=PAGE if found is not None else "",
            )

    def _ask(self, deadline: Deadline) -> answer.Ready | None:
        try:
            found = self._shell.ask(
                "ready",
                deadline.within(self._patience, "ask whether Windows is up"),
                answer.Ready,
                again=False,
            )
        except GuestError as error:
            self._patience = min(1.5 * self._patience, LONGEST_TRY)
            # Starting services refuse with many errors; the last one is reported if they do not stop.
            self._words = error.message
            return None
        if self.stage in (BootStage.FIRMWARE, BootStage.ACPI):
            self.stage = BootStage.WINRM
        return found

    def _secure(self, deadline: Deadline) -> bool:
        if self._transports.ssh is None:
            return True
        try:
            self._transports.ssh.run("echo ready", deadline.within(LONGEST_TRY, "ask whether SSH answers"))
        except GuestError as error:
            self._words = error.message
            return False
        self.stage = BootStage.SSH
        return True

    def _late(self, deadline: Deadline, picture: Callable[[BootStage], str]) -> GuestHang:
        shown = picture(self.stage)
        words = f"; last heard: {self._words[:300]}" if self._words else ""
        return GuestHang(
            f"{self._label} was not ready within {deadline.seconds:g} s: the last stage it reached is "
            f"{str(self.stage)!r} ({MEANING[self.stage]}){words}",
            hint=" ".join(each for each in (LOOK_AT.get(self.stage, ""), shown) if each),
        )
