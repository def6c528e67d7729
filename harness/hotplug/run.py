# SPDX-License-Identifier: MIT
"""One run: boot a guest, load the driver, execute a plan, record everything, then judge the history."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

import harness
from harness.capture.session import Capture
from harness.config import parse_size
from harness.contract.checker import judge_history
from harness.contract.verdict import RunVerdict
from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError
from harness.guest.guest import Guest
from harness.guest.kind import KINDS, BootWishes, Signs
from harness.history.reader import History
from harness.history.record import FORMAT, Boot, Clock, End, Fault, Header
from harness.history.run_directory import RunDirectory, RunFacts
from harness.history.tape import Listener, Tape
from harness.hotplug.executor import Executor
from harness.hotplug.request import RunRequest
from harness.hotplug.stage import Stages
from harness.hotplug.watch import Watch
from harness.machine import ladder
from harness.machine.accelerator import choose
from harness.machine.backend import BACKENDS, choose_there, make_machine
from harness.machine.connection import is_remote
from harness.machine.machine import Machine, MachineSpec
from harness.machine.version import find_qemu


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where the evidence is, the verdict, and the error that ended the run early, if one did."""

    directory: Path
    verdict: RunVerdict
    error: HarnessError | None = None


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that is up, with its driver loaded: what a plan, or a test, works with."""

    machine: Machine
    guest: Guest
    executor: Executor
    watch: Watch
    capture: Capture
    tape: Tape


class Run:
    """One run's evidence and life. Use :meth:`live` to have a guest, or :func:`perform` for a whole plan."""

    def __init__(self, request: RunRequest, *, listeners: tuple[Listener, ...] = ()) -> None:
        self.request = request
        self.directory = RunDirectory(request.runs, request.plan.name)
        self.facts = RunFacts(
            run=self.directory.name,
            harness=harness.__version__,
            argv=request.argv,
            guest=request.guest,
            plan=msgspec.to_builtins(request.plan),
            seed=request.seed,
            started=_utc(),
            backend=request.backend,
            machine=request.machine,
            firmware=request.firmware,
            plant=request.plant,
            host={
                "system": platform.platform(),
                "python": sys.version.split()[0],
                "cpus": str(os.cpu_count()),
            },
        )
        self.tape = Tape(self.directory.path / "history.jsonl")
        for listener in listeners:
            self.tape.subscribe(listener)
        self.stages = Stages(self.tape)

    @contextlib.contextmanager
    def live(self) -> Iterator[Live]:
        """Boot, load the driver, yield; then end everything, whatever happened, and close the history.

        A HarnessError becomes a Fault record and is raised again; so is an interruption.
        """
        outcome: Literal["completed", "failed", "interrupted"] = "failed"
        stack = contextlib.ExitStack()
        try:
            self._begin()
            yield self._boot(stack)
            outcome = "completed"
        except HarnessError as error:
            self._fault(error)
            raise
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            with ladder.uninterrupted():
                self._end(outcome, stack)

    def judge(self) -> RunVerdict:
        """Judge the history as it lies on disk and store ``verdict.json``."""
        verdict = judge_history(History(self.directory.path))
        self.directory.write_json("verdict.json", verdict)
        return verdict

    def _begin(self) -> None:
        self.directory.write_json("run.json", self.facts)
        self.tape.write(
            Header(
                format=FORMAT,
                harness=harness.__version__,
                run=self.directory.name,
                guest=self.request.guest,
                wall=self.facts.started,
            )
        )
        self.tape.write(Clock(domain="host", hz=1_000_000_000))

    def _boot(self, stack: contextlib.ExitStack) -> Live:
        request, stages = self.request, self.stages
        stages.current = "qemu"
        qemu = find_qemu(request.qemu)
        kind = KINDS[request.guest]
        spec = _spec(request, qemu.path)
        with stages.stage("image") as said:
            image = kind.prepare(
                request.cache,
                BootWishes(
                    max_processors=spec.max_processors, group_size=request.plan.machine.group_size or 0
                ),
                Deadline(900, f"make the image of {request.guest}"),
                lambda text: stages.note("image", text),
            )
            said.append(f"{request.guest} {image.digest[:12]}, {image.description}")
        with stages.stage("accelerator") as said:
            if is_remote(request.connect):
                choice = choose_there(request.accelerator)
            else:
                choice = choose(
                    request.accelerator, qemu.path, image, request.cache, Deadline(60, "probe KVM")
                )
            said.append(f"{choice.name}: {choice.reason}")
        spec = msgspec.structs.replace(
            spec,
            accelerator=choice.name,
            kernel=image.kernel,
            initrd=image.initrd,
            append=image.append,
            extra=image.extra,
        )
        machine = make_machine(
            request.backend,
            spec,
            self.directory.path,
            self.tape,
            name=self.directory.name,
            connect=request.connect,
        )
        stack.callback(machine.close)
        with stages.stage("qemu") as said:
            machine.start(Deadline(BACKENDS[request.backend], "start QEMU"))
            said.append(", ".join([qemu.text, *(f"{what} {is_}" for what, is_ in machine.versions.items())]))
            if machine.human is not None:
                stages.note("qemu", f"a monitor for you: socat -,rawer UNIX-CONNECT:{machine.human}")
        self.facts = msgspec.structs.replace(
            self.facts,
            accelerator=choice.name,
            accelerator_reason=choice.reason,
            qemu=str(qemu.path),
            qemu_version=qemu.text,
            qemu_argv=machine.argv,
            libvirt=machine.versions,
            image_digest=image.digest,
            image=image.description,
        )
        self.directory.write_json("run.json", self.facts)
        watch = Watch(self.tape, alive=machine.check_alive)
        capture = stack.enter_context(
            Capture(debugcon=machine.debugcon, console=machine.console, tape=self.tape)
        )
        signs = Signs(crash=lambda: watch.crash, console_bytes=lambda: capture.console.bytes)
        guest = kind.attach(machine, self.tape, signs, plant=request.plant)
        stack.callback(guest.close)
        self.tape.write(Boot(epoch=1, cause="power-on"))
        with stages.stage("boot") as said:
            machine.resume(Deadline(30, "let the guest run"))
            guest.wait_ready(Deadline(request.budget.boot, f"boot {request.guest}"))
            counts = guest.counts(Deadline(request.budget.operation, "count after the boot"))
            said.append(f"{counts.processors} processors")

        def drain() -> None:
            machine.sync()
            capture.drain()

        executor = Executor(
            machine, guest, self.tape, watch, drain=drain, seed=request.seed, budget=request.budget
        )
        with stages.stage("driver"):
            executor.prepare(load=request.plan.driver)
        stages.current = "plan"
        return Live(
            machine=machine, guest=guest, executor=executor, watch=watch, capture=capture, tape=self.tape
        )

    def _fault(self, error: HarnessError) -> None:
        with contextlib.suppress(
            InfrastructureError
        ):  # the disk may be full: the error itself is raised all the same
            self.tape.write(
                Fault(
                    failure_class=str(error.failure_class),
                    stage=self.stages.current,
                    message=error.message[:2000],
                )
            )

    def _end(
        self, outcome: Literal["completed", "failed", "interrupted"], stack: contextlib.ExitStack
    ) -> None:
        """End what was begun, newest first; then close the history. The tape's own failure is not raised again."""
        try:
            stack.close()
        except HarnessError as error:
            outcome = "failed" if outcome == "completed" else outcome
            self._fault(error)
        finally:
            with contextlib.suppress(InfrastructureError):
                self.tape.write(End(outcome=outcome))
            self.tape.close()
        self.facts = msgspec.structs.replace(self.facts, finished=_utc())
        with contextlib.suppress(InfrastructureError):
            self.directory.write_json("run.json", self.facts)


def perform(request: RunRequest, *, listeners: tuple[Listener, ...] = ()) -> RunResult:
    """Run a plan from power-on to verdict.

    A HarnessError of the run itself is returned in the result, next to the verdict on what was recorded. Raises
    InfrastructureError if no run directory or verdict can be written, KeyboardInterrupt after everything was ended.
    """
    run = Run(request, listeners=listeners)
    error: HarnessError | None = None
    try:
        with run.live() as live:
            live.executor.execute(request.plan.do)
    except HarnessError as caught:
        error = caught
    except KeyboardInterrupt:
        with ladder.uninterrupted():
            run.judge()
        raise
    try:
        verdict = run.judge()
    except HarnessError as caught:
        raise error or caught from caught
    return RunResult(directory=run.directory.path, verdict=verdict, error=error)


def _spec(request: RunRequest, qemu: Path) -> MachineSpec:
    """Return the machine that the request and its plan describe; the image is not known yet."""
    wishes = request.plan.machine
    spec = MachineSpec(
        accelerator="tcg",
        qemu=qemu,
        machine=request.machine,
        firmware=Path(request.firmware) if request.firmware else None,
        monitor=request.monitor,
    )
    changes = {
        "processors": wishes.processors,
        "max_processors": wishes.max_processors,
        "memory": parse_size(wishes.memory) if wishes.memory else None,
        "max_memory": parse_size(wishes.max_memory) if wishes.max_memory else None,
        "dimm_slots": wishes.dimm_slots,
        "nodes": wishes.nodes,
    }
    return msgspec.structs.replace(
        spec, **{key: value for key, value in changes.items() if value is not None}
    )


def _utc() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
