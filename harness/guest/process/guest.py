# SPDX-License-Identifier: MIT
"""The common part of guests whose machine is a process: no boot, no agent, one connection."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any, ClassVar

from harness.deadline import Deadline
from harness.errors import GuestRefused, HarnessError
from harness.guest.bootable import Bootable, GuestOptions, OutsideSigns
from harness.guest.guest import EMULATED_DEVICES, CollectedFile, Guest, GuestCounts, opted_out
from harness.guest.process.machine import UNSHOWN, ProcessMachine
from harness.history.record import BOOT_OPTION, GuestEvent
from harness.history.writer import HistoryWriter
from harness.machine.machine import Machine, MachineSpec

NOT_WINDOWS = "nothing it shows is a Windows result"
"""What every description of such a guest says."""

END = 10.0
"""Seconds in which a process with no driver loaded must end by itself."""


class ProcessGuest(Guest):
    """The guest in a :class:`ProcessMachine`; ``label`` is that of its guest type.

    A subclass knows how the driver in the process is loaded and asked, and raises GuestRefused with the process's answer.

    Its memory is all used as soon as it is added, and its processors run as soon as they are started.
    """

    emulates_nt = True

    def __init__(
        self,
        machine: ProcessMachine,
        writer: HistoryWriter,
        *,
        fault: str = "",
        group_size: int = 0,
    ) -> None:
        self.label = machine.label
        self.ready_count = 0
        self._machine = machine
        self._writer = writer
        self._fault = fault
        self._group_size = group_size
        self._loaded: set[str] = set()

    def wait_ready(self, deadline: Deadline, *, boots: int = 1) -> None:
        """Wait until the process answers. A process is never ready a second time."""
        if boots > 1:
            raise self._machine.unshown("a second boot")
        self.prove_alive("ready", deadline)
        if self._group_size:
            # The same event as the twin's: default groups are then not judged.
            self._writer.write(GuestEvent(event=BOOT_OPTION, detail=f"groupsize={self._group_size}"))
        self._writer.write(GuestEvent(event="ready", detail=f"guest={self.label}"))
        self.ready_count = 1

    def revive(self, _said: list[tuple[str, str]], _nonce: str, _deadline: Deadline) -> None:
        """Raise GuestRefused: a process's state cannot be saved."""
        raise self._machine.unshown("a restored state")

    def before_save(self, _deadline: Deadline) -> None:
        """Raise GuestRefused: a process's state cannot be saved."""
        raise self._machine.unshown("a snapshot")

    def follow(self, _control: Path, _deadline: Deadline) -> None:
        """Raise GuestRefused: a process cannot migrate."""
        raise self._machine.unshown("a migration")

    def load_driver(
        self,
        deadline: Deadline,
        *,
        add_existing: bool = True,
        pnp: bool = False,
        opt_out: bool = False,
        veto: int = 0,
        driver: str = "hpnotify",
    ) -> None:
        """Start the driver. The fault is chosen first, since the layer keeps the behaviour in force when a driver starts."""
        if self._fault and not self._loaded:
            self._machine.ask(f"plant {self._fault}", deadline, fine=frozenset())
        values = {
            "AddExisting": int(add_existing),
            "PlugAndPlay": int(pnp),
            "RebalanceOptOut": int(opt_out),
            "Veto": veto,
        }
        self._load(driver, values, deadline)
        self._loaded.add(driver)
        for hardware in EMULATED_DEVICES if opt_out else ():
            self._writer.write(opted_out(hardware))

    def unload_driver(self, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Stop the driver."""
        self._unload(driver, deadline)
        self._loaded.discard(driver)

    @abc.abstractmethod
    def _load(self, driver: str, values: dict[str, int], deadline: Deadline) -> None:
        """Start the driver with these values of its Parameters key."""

    @abc.abstractmethod
    def _unload(self, driver: str, deadline: Deadline) -> None:
        """Make the driver end its registrations, and stop it."""

    def strain(self, _seconds: int, _deadline: Deadline) -> None:
        """Raise GuestRefused: its processors are the host's, which must not be kept busy."""
        raise self._machine.unshown("what a busy guest does")

    def unplug_ahead(self, _deadline: Deadline) -> None:
        """Do nothing: there is nothing to prepare."""

    def answer_unplugs(self, answer: str, _deadline: Deadline, *, late: float = 0.0) -> None:
        """Raise GuestRefused: nothing can request a device back."""
        raise self._machine.unshown(
            f"how a guest answers a request to give a device back: {answer}, after {late:g} s"
        )

    def watch_arrivals(self, _seconds: int, _deadline: Deadline) -> None:
        """Raise GuestRefused: arrivals are not broadcast to other programs here."""
        raise self._machine.unshown("what user mode hears")

    def verifier(self, _deadline: Deadline, *, drivers: tuple[str, ...]) -> None:
        """Raise GuestRefused: Driver Verifier is Windows'."""
        raise self._machine.unshown(f"Driver Verifier watching {', '.join(drivers) or 'nothing'}")

    def hand_on(self, _deadline: Deadline) -> None:
        """Do nothing: the driver's records arrive without a request."""

    def counts(self, deadline: Deadline) -> GuestCounts:
        """Ask the layer how many processors are active and how much memory there is."""
        said = self._machine.value("counts", deadline)
        try:
            processors, memory = (int(word) for word in said.split())
        except ValueError as error:
            raise GuestRefused(f"the counts of {self.label} are invalid: {said!r:.200}") from error
        return GuestCounts(processors=processors, memory=memory)

    def prove_alive(self, nonce: str, deadline: Deadline) -> None:
        """Make the process echo ``nonce``."""
        echoed = self._machine.value(f"echo {nonce}", deadline)
        if echoed != nonce:
            raise GuestRefused(f"{self.label} echoed {echoed[:40]!r} instead of {nonce!r}")

    def provoke(self, verb: str, _deadline: Deadline) -> None:
        """Raise GuestRefused: only a guest with an agent can be made to misbehave."""
        raise self._machine.unshown(f"what the order {verb!r} does")

    def collect(self, _into: Path, _deadline: Deadline) -> list[CollectedFile]:
        """Return nothing: all that it records arrived while it ran."""
        return []

    def close(self) -> None:
        """Let a process with no driver loaded end by itself, so that it counts what was left behind."""
        if not self._loaded and self.ready_count:
            try:
                self._machine.finish(Deadline(END, f"end {self.label}"))
            except HarnessError:
                return  # it is killed instead, and its last output is in its log


class ProcessType:
    """The common part of guest types whose machine is a process: no QEMU, and so none of its options."""

    label = ""
    guest: ClassVar[type[ProcessGuest]]

    def attach(
        self, machine: Machine, writer: HistoryWriter, _signs: OutsideSigns, options: GuestOptions
    ) -> ProcessGuest:
        """Connect to the process. Raises TypeError for another kind of machine, an error of the caller."""
        if not isinstance(machine, ProcessMachine):
            raise TypeError(f"a guest that is a process was attached to {type(machine).__name__}")
        return self.guest(machine, writer, fault=options.fault, group_size=options.group_size)

    def bootable(
        self,
        options: GuestOptions,
        *,
        digest: str,
        description: str,
        content: dict[str, str],
        driver: str,
        command: list[str],
        **more: Any,
    ) -> Bootable:
        """Return the guest whose process runs ``command``. ``more`` are further arguments of ProcessMachine."""

        def machine(spec: MachineSpec, directory: Path, writer: HistoryWriter, name: str) -> Machine:
            size, limits = options.group_size or 64, options.limits
            return ProcessMachine(
                spec, directory, writer, name=name, label=self.label, command=command, group_size=size, limits=limits, **more
            )  # fmt: skip

        return Bootable(
            spec=options.spec,
            digest=digest,
            content=content,
            description=f"{description}; {NOT_WINDOWS}",
            driver=driver,
            make=machine,
            unshown=UNSHOWN,
        )
