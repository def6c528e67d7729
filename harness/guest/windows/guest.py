# SPDX-License-Identifier: MIT
"""A Windows guest: what a run asks of it over WinRM and SSH, through the harness's scripts and ``hpnctl``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

from harness.capture.etl.debug_print import DBGPRINT, KERNEL_PROVIDER, KERNEL_SESSION
from harness.capture.live.budget import ChannelBudget, RunBudget
from harness.capture.live.channel_limits import ChannelLimits
from harness.capture.mapping.driver_map import DriverMap
from harness.capture.mapping.mapper import CHANNEL
from harness.choice import check_choice
from harness.deadline import Deadline
from harness.errors import GuestError, GuestRefused, HarnessError, UsageError
from harness.guest.guest import OPTED_OUT, REGISTRATIONS, CollectedFile, GuestCounts, opted_out
from harness.guest.windows import answer
from harness.guest.windows.boot_options import BootOptions, set_boot_options
from harness.guest.windows.clock import check_clock
from harness.guest.windows.collection import Collection
from harness.guest.windows.driver_files import DriverFiles
from harness.guest.windows.driver_trace import DriverTrace
from harness.guest.windows.facts import Facts
from harness.guest.windows.image import WindowsImage
from harness.guest.windows.mapped_service import MappedService
from harness.guest.windows.preflight import GuestCheck, findings, judge
from harness.guest.windows.readiness import BootStage, Readiness
from harness.guest.windows.restoration import Restoration, note_moment
from harness.guest.windows.service import USER_MODE, WindowsService
from harness.guest.windows.shell import HOME, SCRIPT, TOOL, PowerShellSession
from harness.guest.windows.trace import Trace
from harness.guest.windows.transports import GuestTransports
from harness.history.record import BOOT_OPTION, EDITION, REFUSES_PROCESSORS, TAKES_PROCESSORS, GuestEvent
from harness.history.writer import HistoryWriter
from harness.machine.inspection import Inspectable
from harness.machine.machine import Machine

PICTURE = 10.0
"""Seconds for a picture of the screen."""

PRINTS = f"{HOME}\\trace\\dbgprint.etl"
"""The log of what drivers print, rewritten in each boot."""

_NONCE = re.compile(r"[0-9A-Za-z]{1,32}")


class WindowsGuest:
    """The guest on ``machine``, which is started and may still be paused. ``label`` is its template's name.

    ``boot`` is set before the first plan begins, with its own restart. Then, with ``look``, a guest with a driver is checked
    (:meth:`preflight`). ``expect_reset`` is called before the guest restarts. ``directory`` is for pictures of a boot that
    failed. ``transports`` are those into the guest. ``clock`` is the state of its clock when it last became ready.
    With ``mapped`` the driver is another one, which reports by its own trace events: ``budget`` bounds how many of them may
    be recorded, ``most`` how many bytes of a log are read.
    ``prints``: a session of the kernel records in each boot what drivers print.
    """

    emulates_nt = False

    def __init__(
        self,
        machine: Machine,
        writer: HistoryWriter,
        image: WindowsImage,
        transports: GuestTransports,
        *,
        directory: Path,
        files: DriverFiles | None = None,
        boot: BootOptions | None = None,
        expect_reset: Callable[[], None] = lambda: None,
        look: bool = True,
        mapped: DriverMap | None = None,
        budget: ChannelBudget | None = None,
        most: int = ChannelLimits().channel_limit,
        prints: bool = False,
    ) -> None:
        self.label = image.name
        self.ready_count = 0
        self.clock: GuestCheck | None = None
        self.transports = transports
        self.shell = PowerShellSession(transports.commands)
        self.service = (
            WindowsService(self.shell, transports, files)
            if mapped is None
            else MappedService(self.shell, transports, files, mapped)
        )
        self.trace = Trace(self.shell)
        self._prints = Trace(self.shell, session=KERNEL_SESSION) if prints else None
        self._events: DriverTrace | None = None
        if mapped is not None:
            self._events = DriverTrace(
                self.shell,
                writer,
                mapped,
                directory,
                budget or RunBudget(ChannelLimits()).channel(CHANNEL),
                processors=machine.spec.max_processors,
                most=most,
            )
        self._machine = machine
        self._image = image
        self._writer = writer
        self._directory = directory
        self._boot = boot or BootOptions()
        self._expect_reset = expect_reset
        self._look = look
        self._readiness = Readiness(machine, transports, self.shell, label=self.label)
        self._since = 0
        self._groups_told = False
        self._scripts: dict[str, str] = {}
        self.shell.told = self._tell_script

    def _tell_script(self, name: str, outcome: str) -> None:
        """Record the result of a script unless it is the last one again: a boot asks many times whether Windows is ready."""
        word = outcome.partition(":")[0]
        if self._scripts.get(name) != word:
            self._scripts[name] = word
            self._writer.write(GuestEvent(event=SCRIPT, detail=f"{name}: {outcome}"[:400]))

    @property
    def stage(self) -> BootStage:
        """The last boot stage reached."""
        return self._readiness.stage

    def wait_ready(self, deadline: Deadline, *, boots: int = 1) -> None:
        """Wait until Windows accepts orders. Before the first one, set the boot options of this run, with a restart."""
        if self.ready_count == 0:
            self._tell_group_size(self._image.template.topology.group_size)
        while self.ready_count < boots:
            self._come_up(deadline)
            if self.ready_count == 0 and self._boot.lines():
                set_boot_options(self.shell, self._boot, deadline.within(120, "set the boot options"))
                self._tell_group_size(self._boot.group_size)
                self._restart(deadline)
                self._come_up(deadline)
            self._prepare_boot(deadline)

    def preflight(self, deadline: Deadline) -> list[GuestCheck]:
        """Judge whether this guest can accept hardware while it runs, and record what speaks against it.

        A guest that does not answer has no findings, which is recorded too.
        """
        try:
            facts = self.shell.ask("preflight", deadline, Facts)
            view = self.shell.machine(deadline)
            checks = judge(facts, view, self._machine.spec)
            checks += [self.clock] if self.clock is not None else []
        except GuestError as error:
            self._writer.write(GuestEvent(event="preflight", detail=f"unknown: {error.message}"[:400]))
            return []
        self._tell_preset_groups(facts.group_options)
        if view.takes_processors is not None:
            takes = TAKES_PROCESSORS if view.takes_processors else REFUSES_PROCESSORS
            self._writer.write(
                GuestEvent(event=EDITION, detail=f"{takes}: {facts.caption}, SKU {facts.sku}"[:400])
            )
        for check in findings(checks):
            event = "way in" if check.for_ == "the way in" else "preflight"
            self._writer.write(GuestEvent(event=event, detail=str(check)[:400]))
        held = sum(check.state == "ok" for check in checks)
        self._writer.write(GuestEvent(event="preflight", detail=f"{held} of {len(checks)} conditions hold"))
        return checks

    def before_save(self, deadline: Deadline) -> None:
        """Record the clock's time."""
        self._writer.write(note_moment(self.shell, deadline))

    def revive(self, said: list[tuple[str, str]], nonce: str, deadline: Deadline) -> None:
        """Continue with a guest restored from its ready snapshot: both transports are reopened.

        Everything is asked again. What the guest had reported before is not repeated, since it belongs to another run. Clock and
        leases are corrected first.
        """
        if not any(event == "ready" for event, _ in said):
            raise GuestRefused(f"{self.label} had not been ready when its snapshot was saved")
        self._tell_group_size(self._boot.group_size or self._image.template.topology.group_size)
        self._tell_preset_groups(next((detail for event, detail in said if event == BOOT_OPTION), ""))
        restoration = Restoration(self.shell, said)
        self.prove_alive(nonce, deadline)
        for event in restoration.put_right(deadline.within(120, "put the clock and the leases right")):
            self._writer.write(event)
        ready = self._readiness.wait(deadline, since=self._machine.serial(), picture=self._picture)
        self._greet(ready)
        self.service.had_tool()
        self._prepare_boot(deadline)

    def follow(self, _control: Path, _deadline: Deadline) -> None:
        """Do nothing: the new QEMU forwards the same ports, and both transports reconnect when needed."""

    def restart(self, deadline: Deadline) -> None:
        """Restart Windows by an orderly shutdown and wait until it accepts orders again."""
        if self._events is not None:
            self._events.restart(deadline.within(120, "read the driver's trace before the restart"))
        self._expect_reset()
        self._restart(deadline)
        self.wait_ready(deadline, boots=self.ready_count + 1)

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
        """Install and start the driver. Raises GuestRefused with the step that failed and Windows' message.

        Windows decides whether a device takes part in rebalances, whatever the plan asks for.
        """
        devices = self.service.load(driver, deadline, add_existing=add_existing, pnp=pnp, veto=veto)
        out = [device.device for device in devices if device.policy == answer.OPTED_OUT]
        for device in out:
            # An instance id is the device's id, a backslash and a part that is unique among equal devices.
            self._writer.write(opted_out(device.rpartition("\\")[0]))
        if opt_out and not out:
            raise GuestRefused(
                f"no device of the driver {driver} has {OPTED_OUT}",
                hint="Write the property in the package's INF file (AddProperty), or with CM_Set_DevNode_PropertyW.",
            )

    def unload_driver(self, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Stop the driver and remove it."""
        self.service.unload(driver, deadline)

    def veto_next(
        self, deadline: Deadline, *, status: int = 0xC000009A, nth: int = 1, driver: str = "hpnotify"
    ) -> None:
        """Make the driver refuse the ``nth`` processor from now on in Start with ``status``."""
        which = f" --nth {nth}" if nth != 1 else ""
        self._control(driver, f"veto{which} --status {status:#010x}", deadline)

    def delay_start(self, milliseconds: int, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Make each Start of the driver take ``milliseconds``."""
        self._control(driver, f"delay {milliseconds}", deadline)

    def register(
        self, which: str, deadline: Deadline, *, existing: bool = False, driver: str = "hpnotify"
    ) -> None:
        """Make the driver register."""
        self._control(driver, f"register {_registration(which)}{' --existing' if existing else ''}", deadline)

    def deregister(self, which: str, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Make the driver end a registration."""
        self._control(driver, f"deregister {_registration(which)}", deadline)

    def strain(self, seconds: int, deadline: Deadline) -> None:
        """Start a process for each processor, which computes and moves memory."""
        step = self.shell.once("strain", deadline, answer.ChangeStep, Seconds=seconds)
        if step.code != 0:
            raise GuestRefused(f"{self.label} could not start a process to be busy with: {step.code}")

    def unplug_ahead(self, _deadline: Deadline) -> None:
        """Do nothing: there is nothing to prepare."""

    def answer_unplugs(self, answer: str, _deadline: Deadline, *, late: float = 0.0) -> None:
        """Raise GuestRefused: Windows' answer cannot be chosen."""
        raise GuestRefused(
            f"{self.label} cannot be made to {answer} unplug requests (after {late:g} s)",
            hint="Run this plan on the twin.",
        )

    def mark(self, nonce: str, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Make the driver echo ``nonce``."""
        self._control(driver, f"mark {_checked(nonce)}", deadline)

    def hand_on(self, deadline: Deadline) -> None:
        """Read the events of a mapped driver until now, unless the machine is paused."""
        if self._events is not None and self.ready_count and not getattr(self._machine, "paused_here", False):
            self._events.take(deadline)

    def counts(self, deadline: Deadline) -> GuestCounts:
        """Count active processors of all groups (GetActiveProcessorCount) and physical memory (GlobalMemoryStatusEx).

        Neither Win32_Processor nor the Device Manager is used: both may show a processor that does not run (cloud-hypervisor
        issue 1799).
        """
        seen = self.shell.machine(deadline)
        return GuestCounts(processors=seen.processors, memory=seen.memory)

    def prove_alive(self, nonce: str, deadline: Deadline) -> None:
        """Run ``echo`` in the command interpreter."""
        command = f"echo {_checked(nonce)}"
        said = self.transports.commands.run(command, deadline, idempotent=True).stdout.strip()
        if said != nonce:
            raise GuestRefused(f"{self.label} echoed {said[:40]!r} instead of {nonce!r}")

    def watch_arrivals(self, seconds: int, deadline: Deadline) -> None:
        """Start ``hpnctl watch`` in its own process, which outlives this session's job."""
        step = self.shell.once(
            "watch", deadline, answer.ChangeStep, Tool=TOOL, Path=USER_MODE, Seconds=seconds
        )
        if step.code != 0:
            raise GuestRefused(f"{self.label} could not start hpnctl watch: {step.code}")
        self.service.watching = True

    def verifier(self, deadline: Deadline, *, drivers: tuple[str, ...] = ("hpnotify.sys",)) -> None:
        """Switch Driver Verifier on for these files, or off for none, and restart (WD: devtest/verifier-command-line.md)."""
        if drivers and isinstance(self.service, MappedService):
            drivers = (self.service.image(deadline),)
        self.service.verify(drivers, deadline)
        self.restart(deadline)

    def provoke(self, verb: str, deadline: Deadline) -> None:
        """Cause a bug check 0x80 by an NMI for ``panic`` (WD: debugger/forcing-a-system-crash.md, NMICrashDump)."""
        if verb != "panic":
            raise GuestRefused(f"{self.label} cannot be made to {verb}")
        self._machine.execute("inject-nmi", deadline)

    def collect(self, into: Path, deadline: Deadline) -> list[CollectedFile]:
        """Fetch what Windows recorded: from outside and from its disk if it no longer answers."""
        collection = Collection(
            self._machine, self.shell, self.transports, self.trace, self.service,
            events=self._events, prints=self._prints,
        )  # fmt: skip
        return collection.take(into, deadline)

    def close(self) -> None:
        """Close the transports, and the account of a mapped driver's events."""
        if self._events is not None:
            self._events.close()
        self.transports.close()

    def _tell_group_size(self, size: int | None) -> None:
        """Record the boot option that changes what the contract expects about groups; before the boot to which it applies.

        A driver that starts at boot speaks before Windows answers for the first time.
        """
        if size:
            self._tell_groups(f"groupsize {size}")

    def _tell_preset_groups(self, options: str) -> None:
        """Record the options on groups that this run did not set: those of an image that was built elsewhere."""
        if options and not self._groups_told:
            self._tell_groups(options)

    def _tell_groups(self, options: str) -> None:
        self._groups_told = True
        self._writer.write(GuestEvent(event=BOOT_OPTION, detail=options))

    def _control(self, driver: str, words: str, deadline: Deadline) -> None:
        if isinstance(self.service, MappedService):
            raise self.service.no_orders(words)
        self.shell.tool(words, deadline, device=self.service.service(driver))

    def _prepare_boot(self, deadline: Deadline) -> None:
        """Prepare the boot once the guest answers. It is then ready."""
        if self._events is not None:
            self._events.begin(deadline.within(120, "begin the driver's trace"))
        if self._prints is not None:
            self._prints.start(
                deadline.within(120, "begin to record DbgPrint"),
                processors=self._machine.spec.max_processors,
                provider=KERNEL_PROVIDER,
                flags=DBGPRINT,
                file=PRINTS,
            )
        if self._look and self.ready_count == 0 and self.service.has_files:
            self.preflight(deadline.within(120, "look whether this guest can take hardware"))
        self.ready_count += 1
        self._writer.write(GuestEvent(event="ready", detail=f"boot {self.ready_count}"))

    def _greet(self, ready: answer.Ready) -> None:
        """Record which Windows answers."""
        self._since = self._machine.serial()
        self._writer.write(GuestEvent(event="windows", detail=f"{ready.caption} build {ready.build}"[:400]))

    def _come_up(self, deadline: Deadline) -> None:
        # Windows restarts by itself when it first runs on a new machine.
        self._expect_reset()
        if self.ready_count:
            self._since_reset()
        self.service.forget()
        ready = self._readiness.wait(deadline, since=self._since, picture=self._picture)
        self.clock = check_clock(self._machine, ready)
        self._greet(ready)
        self.service.put_tool(deadline.within(300, "put hpnctl into the guest"))

    def _since_reset(self) -> None:
        """Begin the boot that is awaited with the newest reset: earlier messages belong to another boot."""
        resets = self._machine.events("RESET", after=self._since)
        if resets:
            self._since = resets[-1].serial

    def _restart(self, deadline: Deadline) -> None:
        self._expect_reset()
        before = self._machine.serial()
        with contextlib.suppress(GuestError):
            # It may restart before it answers. The machine's own event counts.
            self.transports.commands.run("shutdown.exe /r /f /t 0", deadline.within(30, "ask for a restart"))
        self._machine.wait_event("RESET", deadline.within(300, "the guest's restart"), after=before)
        self._since = before

    def _picture(self, stage: BootStage) -> str:
        if not self._machine.spec.screen or not isinstance(self._machine, Inspectable):
            return ""
        with contextlib.suppress(HarnessError):
            inspector = self._machine.inspector()
            file = inspector.screenshot(
                self._directory / f"screen-{stage}", Deadline(PICTURE, "take a picture")
            )
            return f"Its screen: {file}"
        return ""


def _registration(which: str) -> str:
    check_choice("registration", which, REGISTRATIONS)
    return which


def _checked(nonce: str) -> str:
    if not _NONCE.fullmatch(nonce):
        raise UsageError(f"{nonce!r} cannot be echoed: 1 to 32 letters and digits")
    return nonce
