# SPDX-License-Identifier: MIT
"""The twin: a Linux guest that runs the driver's own source in ring 0 on real ACPI hot-add.

Its NT layer delivers the documented callbacks; nothing it shows is evidence about Windows, and every verdict says so.
"""

from __future__ import annotations

import re
from pathlib import Path

from harness import locks
from harness.deadline import Deadline
from harness.errors import GuestCrash, GuestHang, GuestRefused
from harness.guest.bootable import OutsideSigns
from harness.guest.fault_injection import UNPLUG_FAULTS
from harness.guest.guest import EMULATED_DEVICES, REGISTRATIONS, CollectedFile, GuestCounts, opted_out
from harness.guest.twin.control import ControlChannel, parse_pairs
from harness.history.record import GuestEvent
from harness.history.writer import HistoryWriter
from harness.host.scheduling import waiting_share
from harness.machine.devices import KD_PORT
from harness.machine.machine import Machine

PHYSICAL_APIC = 9
"""With more than 8 possible processors Linux addresses APICs physically (apic_flat_64.c)."""


def kernel_arguments(
    max_processors: int, group_size: int = 0, *, kd: bool = False, trace_port: int = 0
) -> str:
    """Return the additions to the twin's kernel command line for a number of slots and a group size.

    With ``kd`` the twin's NT layer sends what drivers print to the kernel debugger's port, with ``trace_port`` what they
    pass to EtwWrite to that port (:mod:`harness.capture.live.event_lines`).

    The agent passes ``hpnotify.`` arguments to the module, and reports a group size other than 64.

    QEMU 7.2's emulated APIC searches for a *logical* destination only up to the first APIC id that is not plugged in
    (hw/intc/apic.c, apic_get_delivery_bitmask). Interrupts for a processor behind an empty slot are therefore lost, and the
    guest stands still for seconds. Physical addressing, which Linux chooses for more than 8 possible processors,
    has no such gap. QEMU 9.0 searches all of them. Since Linux 6.9 the argument only limits, which does no harm; see
    :func:`machine_arguments`.
    """
    groups = f" hpnotify.group_size={group_size}" if group_size else ""
    debugger = f" hpnotify.kd={KD_PORT:#x}" if kd else ""
    trace = f" hpnotify.trace_port={trace_port:#x}" if trace_port else ""
    return f"possible_cpus={max(PHYSICAL_APIC, max_processors)}{groups}{debugger}{trace}"


def counter_argument(cpuinfo: str) -> str:
    """Return the kernel argument with the frequency of the processors' counter, "" if the host does not report it.

    Under TCG the guest's counter is the host's. On a busy host the kernel sometimes measures it wrongly while it boots, and
    its clock then runs several times too fast or too slowly (docs/reliability.md). The host's own kernel knows the frequency:
    ``bogomips`` in ``/proc/cpuinfo`` is twice its MHz wherever the counter is constant (Linux: init/calibrate.c,
    lpj_fine; admin-guide/kernel-parameters.txt, tsc_early_khz).
    """
    if not re.search(r"^flags\s*:.*\bconstant_tsc\b", cpuinfo, re.MULTILINE):
        return ""
    speed = re.search(r"^bogomips\s*:\s*(\d{3,6}\.\d{2})$", cpuinfo, re.MULTILINE)
    return f" tsc_early_khz={round(float(speed[1]) * 500)}" if speed else ""


MADT_ONLY = (6, 9)
"""The first Linux that allocates later processors only by the firmware's MADT (x86/kernel/cpu/topology.c)."""

LONGEST_SILENCE = 30.0
"""Seconds within which a booting twin must write something new. Its kernel sometimes hangs under TCG before it writes at all
(docs/reliability.md); firmware may have written before.
"""

SAMPLE, STARVED = 0.5, 0.9
"""Seconds for which a silent twin's QEMU is observed, and the share of waiting for a processor above which it is starved."""

KNOWN_HYPERVISOR = ["-global", "max-x86_64-cpu.hypervisor=off", "-smbios", "type=1,serial=VMware-"]
"""QEMU arguments by which Linux detects under TCG that it is a guest. They have no effect under KVM."""


def machine_arguments(kernel_release: str) -> list[str]:
    """Return the QEMU arguments that a twin with this kernel needs, for ``MachineSpec.extra``.

    QEMU lists a processor that may be plugged in later as disabled in the MADT, and its MADT is too old to say "online
    capable" (hw/i386/acpi-common.c, pc_madt_cpu_entry). Linux accepts such an entry only if it detects a hypervisor.
    Otherwise the processor does not exist and can never be added (x86/kernel/acpi/boot.c, acpi_is_processor_usable,
    commit adbf61cc47cb; in Debian 13 since its 6.12.85-1). Before 6.9 ``possible_cpus=`` allocated it all the same.

    Linux detects KVM, like every hypervisor, by its signature in CPUID. It has no such signature for TCG. It also detects one
    hypervisor, VMware, another way if CPUID announces no hypervisor at all: by the serial number in SMBIOS and by an
    I/O port that QEMU answers (x86/kernel/cpu/vmware.c, vmware_platform; QEMU: hw/i386/vmport.c, on by default). So
    ``max``, the model used under TCG, shows that to the twin. Under KVM the harness uses another model, on which KVM's own
    signature stays. There are two consequences. Linux trusts the TSC, which ``tsc=reliable`` requests anyway. It uses
    x2APIC where QEMU emulates it (9.0), with physical addressing.
    """
    version = re.match(r"(\d{1,4})\.(\d{1,4})", kernel_release)
    if version is None or (int(version[1]), int(version[2])) < MADT_ONLY:
        return []
    return KNOWN_HYPERVISOR


class Twin:
    """The guest side of a twin's machine. ``stage`` is the last boot stage that it reached: ``qemu``, ``console``
    (its firmware or its kernel wrote to the console), ``agent``, ``ready``.

    ``fault`` is the fault to inject into its NT layer. ``signs`` are what the run sees of it from outside.
    """

    label = "twin"
    emulates_nt = True

    def __init__(
        self, machine: Machine, writer: HistoryWriter, signs: OutsideSigns, *, fault: str = ""
    ) -> None:
        self.ready_count = 0
        self.facts: dict[str, str] = {}
        self._machine = machine
        self._writer = writer
        self._fault = fault
        self._signs = signs
        self._loaded: set[str] = set()
        self._changed = locks.condition("twin")
        self._control = ControlChannel(machine.control, self._event)

    @property
    def stage(self) -> str:
        """The last boot stage reached."""
        if self.ready_count:
            return "ready"
        written, lines = self._words()
        return "agent" if lines else "console" if written else "qemu"

    def wait_ready(self, deadline: Deadline, *, boots: int = 1) -> None:
        """Wait until the agent has announced itself ``boots`` times. Raises GuestHang, GuestCrash, MachineFailed.

        A twin that writes nothing new for :data:`LONGEST_SILENCE` seconds is reset, once. If its QEMU waits for a processor
        it gets the same time again, since the host is then the likely cause.
        """
        words = self._words()
        silence = deadline.within(LONGEST_SILENCE, "the twin's next word")
        resets = 0
        while self.ready_count < boots:
            if crash := self._signs.crash():
                raise GuestCrash(
                    f"the twin panicked before it was ready: {crash[:200]}", hint="See console.log."
                )
            if not self._machine.alive():
                self._machine.execute("query-status", deadline)
            if deadline.expired:
                raise GuestHang(
                    f"the twin was not ready within {deadline.seconds:g} s: the last stage it reached is {self.stage!r}",
                    hint="Its console is in console.log, QEMU's own words in qemu.log.",
                )
            before, words = words, self._words()
            if words != before:
                silence = deadline.within(LONGEST_SILENCE, "the twin's next word")
            if silence.expired and not resets:
                if self._starved():
                    silence = deadline.within(LONGEST_SILENCE, "the twin's next word")
                    continue
                resets += 1
                self._writer.write(
                    GuestEvent(event="silent", detail=f"no word for {LONGEST_SILENCE:g} s; it is reset once")
                )
                self._signs.silent()
                self._signs.expect_reset()
                self._machine.reset(deadline)
            with self._changed:
                self._changed.wait_for(lambda: self.ready_count >= boots, min(deadline.remaining(), 0.1))

    def _starved(self) -> bool:
        """Return whether the host keeps QEMU waiting for a processor. A machine on another host has the process id 0."""
        pid = int(getattr(self._machine, "pid", 0))
        return bool(pid) and waiting_share(pid, SAMPLE) >= STARVED

    def _words(self) -> tuple[int, int]:
        """Return how much the twin has written so far: bytes of its console and lines of its agent."""
        return self._signs.console_bytes(), self._control.lines

    def revive(self, said: list[tuple[str, str]], nonce: str, deadline: Deadline) -> None:
        """Take the agent's earlier events, and make it echo ``nonce``."""
        for name, detail in said:
            self._event(name, detail)
        self.prove_alive(nonce, deadline)

    def before_save(self, _deadline: Deadline) -> None:
        """Do nothing: the agent's events are enough."""

    def follow(self, control: Path, _deadline: Deadline) -> None:
        """Continue with the other QEMU's control port when this one's closes."""
        self._control.follow(control)

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
        """Load the driver's module. Raises GuestRefused with the kernel's message.

        The fault is chosen before the first driver, since the layer keeps the behaviour in force when a driver starts.
        """
        values = {"driver": driver, "add_existing": str(int(add_existing)), "pnp": str(int(pnp))}
        if self._fault and not self._loaded and self._fault not in UNPLUG_FAULTS:
            values["plant"] = self._fault
        if opt_out:
            values["opt_out"] = "1"
        if veto:
            values["veto"] = str(veto)
        self._ask("load", deadline, **values)
        self._loaded.add(driver)
        for hardware in EMULATED_DEVICES if opt_out else ():
            self._writer.write(opted_out(hardware))

    def unload_driver(self, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Unload the driver's module."""
        self._ask("unload", deadline, driver=driver)
        self._loaded.discard(driver)

    def veto_next(
        self, deadline: Deadline, *, status: int = 0xC000009A, nth: int = 1, driver: str = "hpnotify"
    ) -> None:
        """Make the driver refuse the ``nth`` processor from now on in Start with ``status``."""
        self._ask("veto", deadline, driver=driver, status=f"{status:#010x}", nth=str(nth))

    def delay_start(self, milliseconds: int, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Make each Start of the driver take ``milliseconds``."""
        self._ask("delay", deadline, driver=driver, ms=str(milliseconds))

    def register(
        self, which: str, deadline: Deadline, *, existing: bool = False, driver: str = "hpnotify"
    ) -> None:
        """Make the driver register."""
        number = REGISTRATIONS.index(which)
        self._ask("register", deadline, driver=driver, which=str(number), flags=str(int(existing)))

    def deregister(self, which: str, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Make the driver end a registration."""
        self._ask("deregister", deadline, driver=driver, which=str(REGISTRATIONS.index(which)))

    def strain(self, seconds: int, deadline: Deadline) -> None:
        """Make the agent start two busy processes for each processor."""
        self._ask("busy", deadline, seconds=str(seconds))

    def watch_arrivals(self, _seconds: int, _deadline: Deadline) -> None:
        """Raise GuestRefused: WM_DEVICECHANGE is Windows'."""
        raise GuestRefused(
            "the twin has no user mode of Windows to listen in", hint="Run this plan on Windows."
        )

    def verifier(self, _deadline: Deadline, *, drivers: tuple[str, ...]) -> None:
        """Raise GuestRefused: Linux has no Driver Verifier."""
        raise GuestRefused(
            f"the twin has no Driver Verifier to watch {', '.join(drivers) or 'nothing'}",
            hint="Run this plan on Windows.",
        )

    def unplug_ahead(self, deadline: Deadline) -> None:
        """Apply the injected fault if it concerns requests to give a device back."""
        fault = UNPLUG_FAULTS.get(self._fault)
        if fault is not None:
            self.answer_unplugs(fault.answer, deadline, late=fault.late)

    def answer_unplugs(self, answer: str, deadline: Deadline, *, late: float = 0.0) -> None:
        """Make the agent switch the kernel's hot-plug off, or mask its events (vm_templates/twin/agent)."""
        self._ask("unplugs", deadline, answer=answer, ms=str(int(late * 1000)))

    def mark(self, nonce: str, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Make the driver echo ``nonce`` on its channels."""
        self._ask("mark", deadline, driver=driver, nonce=nonce)

    def hand_on(self, _deadline: Deadline) -> None:
        """Do nothing: the driver's records come over the debug port."""

    def counts(self, deadline: Deadline) -> GuestCounts:
        """Ask Linux how many processors are online and how much memory it manages."""
        answer = self._ask("counts", deadline)
        try:
            return GuestCounts(processors=int(answer["processors"]), memory=int(answer["memory"]))
        except (KeyError, ValueError) as error:
            raise GuestRefused(f"the twin's counts are invalid: {answer!r:.200}") from error

    def prove_alive(self, nonce: str, deadline: Deadline) -> None:
        """Make the agent echo ``nonce``. Raises GuestHang if it does not, GuestRefused if it echoes another."""
        echoed = self._ask("ping", deadline, nonce=nonce).get("nonce", "")
        if echoed != nonce:
            raise GuestRefused(f"the twin echoed {echoed[:40]!r} instead of {nonce!r}")

    def order(self, verb: str, deadline: Deadline, **values: str) -> dict[str, str]:
        """Send any order of the agent's protocol (docs/twin.md) and return the answer's values."""
        return self._ask(verb, deadline, **values)

    def provoke(self, verb: str, deadline: Deadline) -> None:
        """Make the agent crash (``panic``) or stop (``hang``) the guest, for tests of the harness itself."""
        self._ask(verb, deadline)

    def collect(self, _into: Path, _deadline: Deadline) -> list[CollectedFile]:
        """Return nothing: all that the twin records arrived while it ran."""
        return []

    def close(self) -> None:
        """Close the control port."""
        self._control.close()

    def _ask(self, verb: str, deadline: Deadline, **values: str) -> dict[str, str]:
        try:
            return self._control.request(verb, deadline, alive=self._machine.alive, **values)
        except GuestHang as error:
            if crash := self._signs.crash():
                raise GuestCrash(f"the twin crashed: {crash[:200]}", hint="See console.log.") from error
            raise

    def _event(self, name: str, detail: str) -> None:
        if self._signs.admit():
            self._writer.write(GuestEvent(event=name[:40], detail=detail[:400]))
        if name == "ready":
            if self.ready_count:
                self._control.forget()
            with self._changed:
                self.facts = parse_pairs(detail)
                self.ready_count += 1
                self._loaded.clear()
                self._changed.notify_all()
