# SPDX-License-Identifier: MIT
"""The boot of one run: from the request to a guest that is up, with its driver loaded, step by step."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness.capture.dbgprint.reader import PortReader
from harness.capture.live.budget import RunBudget
from harness.capture.live.session import Capture
from harness.deadline import Deadline
from harness.errors import GuestError, HarnessError, InfrastructureError, MachineFailed, UsageError
from harness.guest.bootable import Bootable, GuestOptions, OutsideSigns
from harness.guest.guest import Guest
from harness.guest.guest_types import GUEST_TYPES, all_missing_named
from harness.guest.process.guest import ProcessType
from harness.history.private import keep_private
from harness.history.record import Boot as BootRecord
from harness.history.record import Profile
from harness.history.run_directory import SILENT, RunDirectory, RunFacts
from harness.history.writer import HistoryWriter
from harness.host.budget import size_text
from harness.host.lease import take_lease
from harness.host.qemu_build import QemuBuild, find_qemu
from harness.machine.accelerator import choose
from harness.machine.backend import BACKENDS, check_backend, choose_there, make_machine
from harness.machine.devices import tells_bug_checks
from harness.machine.inspection import Inspectable
from harness.machine.libvirt.connection import is_remote
from harness.machine.libvirt.host_processor import vendor_there
from harness.machine.libvirt.sent_files import SENDING
from harness.machine.machine import Machine, MachineSpec
from harness.machine.ospm import has_begun, listening
from harness.machine.qemu import ability
from harness.machine.qemu.machine import QemuMachine
from harness.machine.snapshot import MachineSnapshot, SnapshotStore, restored
from harness.run.executor import Executor, paced
from harness.run.host_check import asks_host, check_apic_ids, check_host
from harness.run.operation import AddCpu, AddDimm, Migrate
from harness.run.options import Timeouts
from harness.run.planned_machine import refusal
from harness.run.ready_snapshot import ready_snapshot
from harness.run.rehearsal import change_after_removal
from harness.run.removed_processor import dies_of_change, fatal_change
from harness.run.request import RunRequest
from harness.run.resource_request import request_of
from harness.run.stage import Stages
from harness.run.watch import Watch

START_PROCESS = 120.0
"""Seconds that a process guest may take to start; Wine needs a few, and more on a busy machine."""

REGISTERS = 5.0
"""Seconds for reading the registers of a silent guest: QEMU answers in milliseconds if it answers at all."""

ASKED_TOO_MUCH = re.compile(
    "SMP CPUs|CPU topology|-smp configuration|memory slots|maximum memory size|maxmem|NUMA|phys-bits too low"
    "|unsupported machine type"
)
"""Parts of QEMU's messages about a machine that cannot be built as the plan and the options request: only
QEMU knows the limits (QEMU: hw/core/machine-smp.c, hw/core/machine.c, hw/core/numa.c, hw/i386/pc.c,
softmmu/vl.c)."""

SAMPLE_DRIVER = "hpnotify"
"""The driver that writes the harness's own records, and promises more than the documented obligations."""


def without_crash_registers(backend: str, spec: MachineSpec) -> str:
    """Return why a guest that can report bug checks is not enabled to do so; "" if it is, or cannot."""
    if backend != "libvirt" or not tells_bug_checks(spec):
        return ""
    return (
        "hv-crash stays off: libvirt would stop a guest that reports a bug check before its dump is written; "
        "--backend qemu has it"
    )


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """A booted guest with its driver loaded, for a plan or a test to use."""

    machine: Machine
    guest: Guest
    executor: Executor
    watch: Watch
    capture: Capture
    writer: HistoryWriter


class ExaminedMachine(NamedTuple):
    """What a machine will be made of, before anything of it runs. ``qemu`` is None for a process."""

    qemu: QemuBuild | None
    options: GuestOptions
    bootable: Bootable
    spec: MachineSpec


class GuestBoot:
    """Boots one guest. ``facts`` is extended and stored with each newly known fact.

    ``machine`` and ``guest`` are those created so far, for finding the cause of a failed boot. ``learnt`` is
    called with the facts whenever they grow.

    Each step is a stage in the history. Everything started is pushed onto the ``stack`` given to :meth:`up`,
    so that leaving it ends everything, newest first, at any point of the boot.
    """

    def __init__(
        self,
        request: RunRequest,
        directory: RunDirectory,
        facts: RunFacts,
        writer: HistoryWriter,
        stages: Stages,
        *,
        learnt: Callable[[RunFacts], None] = lambda _: None,
        while_quiet: Callable[[], None] = lambda: None,
    ) -> None:
        self.request = request
        self.facts = facts
        self._learnt = learnt
        self._while_quiet = while_quiet
        self.machine: Machine | None = None
        self.guest: Guest | None = None
        self.budget = request.budget
        self._directory = directory
        self._writer = writer
        self._stages = stages
        self._guest_type = GUEST_TYPES[request.guest]
        self._snapshot: MachineSnapshot | None = None
        self._channels = RunBudget(request.limits)
        self._mapped = request.mapped()

    def up(self, stack: contextlib.ExitStack) -> Live:
        """Take every step. Raises what a step raises."""
        self._stages.current = "qemu"
        self._check_host()
        examined = self.examine(stack)
        qemu, options, bootable, spec = examined.qemu, examined.options, examined.bootable, examined.spec
        budget = self.budget
        if bootable.probe is not None and not is_remote(self.request.connect):
            self._lease(spec, stack)
        if self.request.restore and qemu is not None:
            spec = self._restore(options, bootable, spec, qemu)
        machine = self._start(bootable, spec, stack)
        self._begin(machine, qemu)
        if self._mapped is None:
            for name in self._sample_drivers():
                self._writer.write(Profile(driver=name, promises="sample"))

        def check() -> None:
            capture.check()
            machine.check_alive()

        watch = Watch(self._writer, alive=check, ours=[added.id for added in spec.added])
        capture = stack.enter_context(
            Capture(
                debugcon=machine.debugcon,
                console=machine.console,
                writer=self._writer,
                kd=machine.kd if self.request.kd == "listen" else None,
                directory=self._directory.path,
                mapped=None if bootable.hands_over_events else self._mapped,
                resumed=self._snapshot is not None,
                budget=self._channels,
                log=machine.log if isinstance(machine, QemuMachine) else None,
            )
        )

        def crash() -> str:
            capture.check()
            return watch.crash

        if self.request.kd == "debugger" and machine.kd is not None:
            self._hand_over(machine.kd, bootable.symbols, stack)
        signs = OutsideSigns(
            crash=crash,
            console_bytes=lambda: capture.console.bytes,
            expect_reset=watch.expect_reset,
            silent=lambda: self._keep_registers(machine),
            admit=capture.control.admit,
            budget=self._channels.channel,
        )
        guest = self.guest = self._guest_type.attach(machine, self._writer, signs, options)
        stack.callback(guest.close)
        started = self.request.plan.machine.started
        self._writer.write(BootRecord(epoch=1, cause="restored" if self._snapshot else "power-on"))
        if started == "running":
            self._wake(machine, guest, budget)
        elif started == "firmware":
            self._hold(machine)

        def drain() -> None:
            machine.sync()
            capture.drain()
            guest.hand_on(Deadline(budget.operation, "ask for the driver's events"))

        executor = Executor(
            machine,
            guest,
            self._writer,
            watch,
            drain=drain,
            seed=self.request.seed,
            budget=budget,
            unshown=bootable.unshown,
            ids=[
                operation.id
                for operation in self.request.plan.do
                if isinstance(operation, AddCpu | AddDimm) and operation.id
            ],
            boot=None if started == "running" else lambda: self._boot_now(machine, guest, executor),
            while_quiet=self._while_quiet,
        )
        stack.callback(executor.close)
        if started == "running":
            self._load(executor)
        self._stages.current = "plan"
        return Live(
            machine=machine, guest=guest, executor=executor, watch=watch, capture=capture, writer=self._writer
        )

    def examine(self, stack: contextlib.ExitStack) -> ExaminedMachine:
        """Take the steps before the first process: make the image, and learn what the machine will be.

        Raises what such a step raises.
        """
        check_backend(self.request.backend)
        with all_missing_named(self.request.guest, qemu=self.request.qemu):
            # A process guest needs no QEMU, so QEMU is not searched.
            qemu = None if isinstance(self._guest_type, ProcessType) else find_qemu(self.request.qemu)
            options = self._options(qemu)
            bootable = self._prepare(options)
        if bootable.release is not None:
            stack.callback(bootable.release)
        self.budget = paced(self.request.budget, bootable.pace)
        spec = self._accelerate(qemu, bootable)
        self._refuse_fatal(qemu, spec)
        self._compare(qemu, spec)
        return ExaminedMachine(qemu, options, bootable, spec)

    def _check_host(self) -> None:
        """Check what the plan requires of this host; another host cannot be checked."""
        if asks_host(self.request.plan) and not is_remote(self.request.connect):
            with self._stages.stage("host"):
                check_host(self.request.plan, self._directory.path, backend=self.request.backend)

    def _sample_drivers(self) -> list[str]:
        """Return the names under which the plan loads the sample driver."""
        named = [getattr(operation, "driver", SAMPLE_DRIVER) for operation in self.request.plan.do]
        return sorted({SAMPLE_DRIVER, *named})

    def _options(self, qemu: QemuBuild | None) -> GuestOptions:
        request = self.request
        return GuestOptions(
            spec=_spec(request, qemu.path if qemu is not None else Path()),
            cache=request.cache,
            directory=self._directory.path,
            group_size=request.plan.machine.group_size or 0,
            fault=request.inject_fault,
            driver=Path(request.driver) if request.driver else None,
            here=not is_remote(request.connect),
            mapped=self._mapped,
            prints=request.dbgprint,
            savable=request.backend == "qemu",
            moves=bool(request.restore) or (request.migrates and not request.with_devices),
            limits=request.limits,
            real_time=request.real_time,
        )

    def _prepare(self, options: GuestOptions) -> Bootable:
        name = self.request.guest
        with self._stages.stage("image") as said:
            bootable = self._guest_type.prepare(
                options,
                Deadline(900, f"make the image of {name}"),
                lambda text: self._stages.note("image", text),
            )
            said.append(f"{name} {bootable.digest[:12]}, {bootable.description}")
        self._learn(
            image_digest=bootable.digest,
            image=bootable.description,
            driver=bootable.driver,
            content=bootable.content,
        )
        return bootable

    def _accelerate(self, qemu: QemuBuild | None, bootable: Bootable) -> MachineSpec:
        """Return the guest's machine with an accelerator, unless it is a process."""
        request = self.request
        if bootable.probe is None or qemu is None:
            return bootable.spec
        with self._stages.stage("accelerator") as said:
            if is_remote(request.connect):
                choice = choose_there(request.accelerator)
            else:
                choice = choose(
                    request.accelerator, qemu.path, bootable.probe, request.cache, Deadline(60, "probe KVM")
                )
            said.append(f"{choice.name}: {choice.reason}")
        self._learn(
            accelerator=choice.name,
            accelerator_reason=choice.reason,
            qemu=str(qemu.path),
            qemu_version=qemu.text,
        )
        spec = msgspec.structs.replace(bootable.spec, accelerator=choice.name)
        if not is_remote(request.connect):
            check_apic_ids(spec, qemu)
        if bootable.adapt is None:
            return spec
        return bootable.adapt(spec, self._vendor(choice.name))

    def _vendor(self, accelerator: str) -> str | None:
        """Return the processor's vendor where the machine runs, None for this host. Only a guest under KVM sees it."""
        if not is_remote(self.request.connect):
            return None
        if accelerator != "kvm":
            return ""
        return vendor_there(self.request.connect, Deadline(60, "ask libvirt for its host's processor"))

    def _refuse_fatal(self, qemu: QemuBuild | None, spec: MachineSpec) -> None:
        """Raise InfrastructureError if the plan would crash this QEMU. On another host, only the machine knows its QEMU."""
        changed = change_after_removal(self.request.plan, guest=self.request.guest)
        if qemu is None or changed is None or is_remote(self.request.connect):
            return
        if dies_of_change(qemu.version, spec.accelerator):
            raise fatal_change(qemu.version, f"do[{changed[0]}]", f"by do[{changed[1]}]")

    def _compare(self, qemu: QemuBuild | None, spec: MachineSpec) -> None:
        """Refuse a plan that migrates the guest to a QEMU that cannot continue it. Raises BadDocument."""
        plan = self.request.plan
        for index, operation in enumerate(plan.do):
            if qemu is None or not isinstance(operation, Migrate):
                continue
            place = f"do[{index + 1}] (migrate):"
            if why := ability.unmovable(spec):
                raise refusal(
                    plan,
                    ["do", index, "op"],
                    f"{place} the guest cannot be migrated: {why}",
                    "Leave the migration out, or use a guest whose machine has none of these.",
                )
            if operation.qemu is None:
                continue
            with self._stages.stage("target") as said:
                if why := _difference(qemu, operation.qemu, spec):
                    raise refusal(
                        plan,
                        ["do", index, "qemu"],
                        f"{place} {operation.qemu} cannot take the guest over: {why}",
                        "Give a QEMU that can build the same machine, or with --machine a machine type that both have.",
                    )
                said.append(f"{operation.qemu} can take the guest over")

    def _lease(self, spec: MachineSpec, stack: contextlib.ExitStack) -> None:
        """Wait for this machine's lease; it is released after the machine is closed."""
        with self._stages.stage("lease") as said:
            lease = take_lease(
                request_of(self.request.plan, spec),
                self._directory.path,
                what="the machine",
                private=self.request.private_leases,
                say=lambda text: self._stages.note("lease", text),
            )
            stack.callback(lease.release)
            self._learn(leases=str(lease.directory.path), private_leases=lease.directory.private)
            said.append(f"{lease.claim.vcpus} processors, {size_text(lease.claim.memory)}")

    def _restore(
        self, options: GuestOptions, bootable: Bootable, spec: MachineSpec, qemu: QemuBuild
    ) -> MachineSpec:
        """Return the machine that continues the guest's ready snapshot; save the snapshot first if there is none.

        Raises UsageError for a machine whose state QEMU cannot save.
        """
        if why := ability.unmovable(spec):
            raise UsageError(
                f"{self.request.guest} cannot be restored: {why}",
                hint="Boot it: leave out --restore, or say --cold.",
            )
        with self._stages.stage("state") as said:
            snapshot = self._snapshot = ready_snapshot(
                self._guest_type,
                options,
                spec,
                image=bootable.digest,
                saved_with=bootable.saved_with,
                qemu=qemu.text,
                boot=self.budget.boot,
                say=lambda text: self._stages.note("state", text),
            )
            size = size_text(snapshot.memory.stat().st_blocks * 512)
            said.append(f"saved {snapshot.digest[:12]}, {size}")
        restored_from = {f"state/{name}": digest for name, digest in snapshot.content.items()}
        self._learn(state=snapshot.digest, content={**self.facts.content, **restored_from})
        return restored(spec, snapshot, self._directory.path, Deadline(60, "make the overlays"))

    def _start(self, bootable: Bootable, spec: MachineSpec, stack: contextlib.ExitStack) -> Machine:
        request = self.request
        name, place = self._directory.name, self._directory.path
        if bootable.make is not None:
            machine = bootable.make(spec, place, self._writer, name)
        else:
            machine = make_machine(
                request.backend,
                spec,
                place,
                self._writer,
                name=name,
                connect=request.connect,
                channel_limit=request.limits.channel_limit,
            )
        self.machine = machine
        # After it has ended; until then it may write.
        stack.callback(self._channels.trim)
        stack.callback(machine.close)
        return machine

    def _begin(self, machine: Machine, qemu: QemuBuild | None) -> None:
        if qemu is None:
            with self._stages.stage("process") as said:
                machine.start(Deadline(START_PROCESS, "start the process"))
                said.append(self.request.guest)
            self._learn(backend="process", machine="", process_argv=machine.argv)
            return
        with self._stages.stage("qemu") as said:
            try:
                # The files of a machine on another host have that host's times.
                sending = SENDING if is_remote(self.request.connect) and machine.spec.disks else 0.0
                machine.start(Deadline(BACKENDS[self.request.backend] + sending, "start QEMU"))
            except MachineFailed as error:
                if self._snapshot is not None:
                    SnapshotStore(self.request.cache).discard(self._snapshot)
                    error.hint += "\nThe snapshot was removed: run again to create a new one."
                if ASKED_TOO_MUCH.search(error.output):
                    error.of_plan()
                raise
            said.append(", ".join([qemu.text, *(f"{what} {is_}" for what, is_ in machine.versions.items())]))
            if left_out := without_crash_registers(self.request.backend, machine.spec):
                self._stages.note("qemu", left_out)
            if machine.human is not None:
                self._stages.note("qemu", f"a monitor for you: socat -,rawer UNIX-CONNECT:{machine.human}")
        self._learn(
            qemu=str(qemu.path), qemu_version=qemu.text, qemu_argv=machine.argv, libvirt=machine.versions
        )

    def _hand_over(self, socket: Path, symbols: str, stack: contextlib.ExitStack) -> None:
        """Forward the kernel debugger port to a TCP port for a debugger, and print how to attach it."""
        reader = stack.enter_context(PortReader(socket, self._directory.path / "debugger.log", bridge=True))
        reader.start(Deadline(30, "hand over the kernel debugger's port"))
        command = f"windbg -k com:ipport={reader.port},port=127.0.0.1 {symbols}".rstrip()
        self._stages.note("qemu", f"for a debugger: {command}")

    def _load(self, executor: Executor) -> None:
        with self._stages.stage("driver") as said:
            counts = executor.prepare(load=self.request.plan.driver, pnp=self.request.plan.pnp)
            said.append(f"{counts.processors} processors")

    def _boot_now(self, machine: Machine, guest: Guest, executor: Executor) -> None:
        """Boot the guest for the plan; it was stopped before its boot until now."""
        self._wake(machine, guest, self.budget)
        self._load(executor)
        self._stages.current = "plan"

    def _hold(self, machine: Machine) -> None:
        """Let the firmware run, and stop the machine while it runs. Raises GuestError if an operating system already runs."""
        with self._stages.stage("firmware"):
            deadline = Deadline(30, "stop the machine in its firmware")
            machine.resume(deadline)
            deadline.poll(lambda: has_begun(machine, deadline), interval=0.001)
            machine.pause(deadline)
            if listening(machine, deadline):
                raise GuestError(
                    "the guest listens to ACPI already: its firmware was over before the machine could be stopped",
                    hint='machine.started = "paused" is before the first instruction, whatever the guest\'s speed.',
                )

    def _wake(self, machine: Machine, guest: Guest, budget: Timeouts) -> None:
        request, snapshot = self.request, self._snapshot
        with self._stages.stage("boot"):
            machine.resume(Deadline(30, "let the guest run"))
            deadline = Deadline(budget.boot, f"boot {request.guest}")
            _load_what_judges()
            if snapshot is None:
                guest.wait_ready(deadline)
            else:
                guest.revive(snapshot.said, secrets.token_hex(8), deadline)

    def _keep_registers(self, machine: Machine) -> None:
        """Save the registers of a silent guest before it is reset; if that fails, it is reset anyway."""
        with contextlib.suppress(HarnessError, OSError):
            if isinstance(machine, Inspectable):
                text = machine.inspector().registers(
                    Deadline(REGISTERS, "read the registers of a silent guest")
                )
                file = self._directory.path / SILENT
                keep_private(file)
                file.write_text(text.replace("\r\n", "\n"), encoding="utf-8")

    def _learn(self, **facts: Any) -> None:
        """Store the known facts, so that a run that ends now still has them."""
        self.facts = msgspec.structs.replace(self.facts, **facts)
        self._directory.write_facts(self.facts, durable=False)
        known = [*self.facts.differs]
        try:
            self._learnt(self.facts)
        finally:
            if self.facts.differs != known:
                self._directory.write_facts(self.facts, durable=False)


def _load_what_judges() -> None:
    """Load the modules that judge the run and display its verdict, while the guest is busy with itself."""
    import harness.contract.checker
    import harness.report.run_summary
    import harness.run.judging  # noqa: F401


def _difference(qemu: QemuBuild, other: str, spec: MachineSpec) -> str:
    """Return why the QEMU ``other`` cannot take over the guest on ``spec``, "" if it can as far as is known."""
    deadline = Deadline(60, f"ask {other} what it can build")
    here = ability.ask(qemu.path, spec, deadline)
    try:
        return ability.difference(spec, here, ability.ask(find_qemu(other, deadline).path, spec, deadline))
    except InfrastructureError as error:
        return error.message


def _spec(request: RunRequest, qemu: Path) -> MachineSpec:
    """Return the machine that the request and its plan describe, before the guest adds its requirements."""
    return MachineSpec(
        accelerator="tcg",
        qemu=qemu,
        machine=request.machine,
        firmware=Path(request.firmware) if request.firmware else None,
        monitor=request.monitor,
        screen=request.vnc,
        extra=["-vnc", "none"] if request.vnc else [],
        kd=bool(request.kd),
        clients=2 if any(isinstance(one, AddCpu) and one.rival for one in request.plan.do) else 1,
        **request.plan.machine.said,  # type: ignore[arg-type]
    )
