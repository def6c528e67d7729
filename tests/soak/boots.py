# SPDX-License-Identifier: MIT
"""``python -m tests.soak.boots``: boots of the twin, one at a time, with registers and console kept of each that hangs.

A boot is the one of every run: same image, same machine, QEMU ended hard as soon as the agent is ready. Each is a line of the
log, so that a program that was ended goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import re
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import psutil

from harness.capture.live.session import Capture
from harness.deadline import Deadline
from harness.errors import GuestHang, HarnessError
from harness.guest.bootable import GuestOptions, OutsideSigns
from harness.guest.guest_types import GUEST_TYPES
from harness.guest.twin.guest import LONGEST_SILENCE
from harness.history.writer import HistoryWriter
from harness.host.lease import take_lease
from harness.host.qemu_build import QemuBuild, find_qemu
from harness.interrupts import interruptible
from harness.machine.inspection import REGISTERS
from harness.machine.machine import Machine, MachineSpec
from harness.machine.qemu.machine import QemuMachine
from harness.run.plan import Plan, find_plan
from harness.run.resource_request import request_of
from harness.setup.cache import cache_directory
from tests.soak.journal import append_line, lines_of

PLAN = "cpu-and-dimm"
"""The plan whose machine is booted."""

BOOT = 90.0
"""Seconds that a boot may take: what a run allows it."""

SAMPLES = 3
"""How often the processors are looked at, half a second apart: whether they stand or go in a circle."""

LOOKS = ("info cpus", REGISTERS, "info lapic", "info pic", "info irq")
"""Commands of QEMU's human monitor (QEMU: hmp-commands-info.hx) for what the machine as a whole does."""

CODE, STACK = "x /12i $pc", "x /160gx 0x{}"
"""Commands for each processor: the code that it is at, and its stack, whose place the registers tell."""


class Booted(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the log.

    ``end`` is ``ready``, ``reset`` (silent, reset, then ready), ``hang`` (not ready in time) or ``failed`` (the infrastructure).
    ``busy`` is QEMU's time on a processor and ``waited`` its threads' time waiting for one, in seconds, until the twin was ready
    or first given up (Linux: Documentation/scheduler/sched-stats.rst).
    """

    number: int
    at: str
    end: str
    seconds: float
    busy: float
    waited: float
    load: float
    kept: str = ""
    why: str = ""


class Log:
    """The lines of a log file, of this and of earlier programs."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.folder = file.with_name(f"{file.stem}-kept")
        self.lines = lines_of(file, Booted)

    def add(self, line: Booted) -> None:
        """Append a line."""
        self.lines.append(line)
        append_line(self.file, line)

    def usual(self) -> float:
        """Return the processor time of the boot in the middle, in seconds; 0 while there is none."""
        times = sorted(line.busy for line in self.lines if line.end == "ready")
        return times[len(times) // 2] if times else 0.0

    def starved(self, line: Booted) -> bool:
        """Return whether the host kept a boot waiting that came to no end, so that it says nothing about the twin.

        It had less processor time than two usual boots take, and waited for more than it had: a guest that halts waits for
        none, and one that goes in a circle has more.
        """
        short = line.busy < 2 * self.usual()
        return line.end in ("reset", "hang") and short and line.waited > line.busy


class Boots:
    """Boots one twin after another, each in a directory of its own in ``work``. ``boot`` is how long one may take."""

    def __init__(self, work: Path, *, boot: float = BOOT) -> None:
        self._work = work
        self._boot = boot
        self._qemu: QemuBuild = find_qemu("")
        self._plan: Plan = find_plan(PLAN)
        self._cache = cache_directory(os.environ)

    def boot(self, number: int) -> tuple[Booted, Path]:
        """Boot once; return what became of it and where its files lie."""
        place = self._work / f"{number:05}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        at = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        load, began = os.getloadavg()[0], time.monotonic()
        times: list[tuple[float, float]] = []
        end, why = "ready", ""
        try:
            self._once(place, times)
        except GuestHang as error:
            end, why = "hang", error.message
        except HarnessError as error:
            end, why = "failed", error.message
        if end == "ready" and (place / "silent-1.txt").exists():
            end = "reset"
        line = Booted(
            number=number,
            at=at,
            end=end,
            seconds=round(time.monotonic() - began, 2),
            busy=times[0][0] if times else 0.0,
            waited=times[0][1] if times else 0.0,
            load=round(load, 1),
            why=why,
        )
        return line, place

    def _once(self, place: Path, times: list[tuple[float, float]]) -> None:
        guest_type = GUEST_TYPES["twin"]
        spec = MachineSpec(accelerator="tcg", qemu=self._qemu.path, **self._plan.machine.said)  # type: ignore[arg-type]
        options = GuestOptions(spec=spec, cache=self._cache, directory=place)
        bootable = guest_type.prepare(options, Deadline(900, "make the twin's image"), lambda _: None)
        with contextlib.ExitStack() as stack:
            lease = take_lease(request_of(self._plan, bootable.spec), place, what="a boot")
            stack.callback(lease.release)
            writer = stack.enter_context(HistoryWriter(place))
            machine = QemuMachine(bootable.spec, place, writer, name="boots")
            stack.callback(machine.close)
            machine.start(Deadline(30, "start QEMU"))
            child = psutil.Process(_pid_of(machine))
            stack.callback(_end_hard, child)
            capture = stack.enter_context(
                Capture(debugcon=machine.debugcon, console=machine.console, writer=writer)
            )

            def look(stem: str) -> None:
                times.append(_times(child.pid))
                _look(machine, place, stem)

            signs = OutsideSigns(console_bytes=lambda: capture.console.bytes, silent=lambda: look("silent"))
            guest = guest_type.attach(machine, writer, signs, options)
            stack.callback(guest.close)
            machine.resume(Deadline(30, "let the guest run"))
            try:
                guest.wait_ready(Deadline(self._boot, "boot the twin"))
            except GuestHang:
                look("hang")
                raise
            times.append(_times(child.pid))


def _pid_of(machine: QemuMachine) -> int:
    """Return QEMU's process: the child of this one whose command is the machine's."""
    return next(
        int(child.pid)
        for child in psutil.Process().children()
        if child.cmdline()[-len(machine.argv) :] == machine.argv
    )


def _times(pid: int) -> tuple[float, float]:
    """Return how long the threads of a process were on a processor, and how long they waited for one, in seconds."""
    busy = waited = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            ran, late, _ = map(int, file.read_text().split())
            busy, waited = busy + ran, waited + late
    return round(busy / 1e9, 2), round(waited / 1e9, 2)


def _end_hard(child: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        child.kill()


def _look(machine: Machine, place: Path, stem: str) -> None:
    """Write what the human monitor says of the machine into ``stem``-1.txt and so on."""

    def ask(command: str, **where: int) -> str:
        try:
            return str(
                machine.execute(
                    "human-monitor-command",
                    Deadline(10, f"ask QEMU for {command}"),
                    **{"command-line": command, **{name.replace("_", "-"): at for name, at in where.items()}},
                )
            )
        except HarnessError as error:
            return f"{error.message}\n"

    for sample in range(1, SAMPLES + 1):
        pieces = [f"# {command}\n{ask(command)}" for command in LOOKS]
        for index in range(machine.spec.processors):
            stack = re.search("RSP=([0-9a-f]{16})", ask("info registers", cpu_index=index))
            for command in (CODE, STACK.format(stack[1] if stack else "0")):
                pieces.append(f"# processor {index}: {command}\n{ask(command, cpu_index=index)}")
        text = "\n".join(pieces).replace("\r\n", "\n")
        (place / f"{stem}-{sample}.txt").write_text(text, encoding="utf-8", errors="replace")
        if sample < SAMPLES:
            threading.Event().wait(0.5)


def main() -> int:
    """Boot until the log has as many lines as were asked for, then say what is in it; 1 if a boot hung."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boots", type=int, default=3000, help="boots in the log in all")
    parser.add_argument("--log", type=Path, default=Path("boots.jsonl"), help="goes on with it if it exists")
    asked = parser.parse_args()
    log = Log(asked.log)
    if log.lines:
        print(f"{asked.log} has {len(log.lines)} boots", flush=True)
    with interruptible(), tempfile.TemporaryDirectory(prefix="hh-boots-", dir="/tmp") as work:
        try:
            boots = Boots(Path(work))
            for number in range(len(log.lines) + 1, asked.boots + 1):
                line, place = boots.boot(number)
                if line.end != "ready":
                    kept = log.folder / place.name
                    shutil.copytree(place, kept, ignore_dangling_symlinks=True)
                    line = msgspec.structs.replace(line, kept=str(kept))
                    print(
                        f"{number:>5}  {line.end}: {line.why or 'reset, then ready'}; kept: {kept}",
                        flush=True,
                    )
                shutil.rmtree(place)
                log.add(line)
        except KeyboardInterrupt as stop:
            print(f"{stop or 'interrupted'}; go on with --log {asked.log}")
    print("\n".join(report(log)))
    return 1 if any(line.end in ("reset", "hang") and not log.starved(line) for line in log.lines) else 0


def report(log: Log) -> list[str]:
    """Return what the log tells, for docs/reliability.md."""
    if not log.lines:
        return ["no boots"]
    ends = [line.end for line in log.lines]
    starved = sum(log.starved(line) for line in log.lines)
    times = sorted(line.seconds for line in log.lines if line.end == "ready") or [0.0]
    loads = [line.load for line in log.lines]
    where = f"{platform.platform()}, {os.cpu_count()} cores, load {min(loads):g} to {max(loads):g}"
    middle = f"{times[len(times) // 2]:.1f} s in the middle, {log.usual():.1f} s of it on a processor"
    hangs = f"silent for {LONGEST_SILENCE:g} s, reset, then ready: {ends.count('reset')}; not ready in time: {ends.count('hang')}"
    return [
        f"{len(ends)} boots, {log.lines[0].at} to {log.lines[-1].at}, {where}",
        f"ready: {ends.count('ready')}, in {times[0]:.1f} to {times[-1]:.1f} s, {middle}",
        f"{hangs}; of these only kept waiting by the host: {starved}",
        f"infrastructure failed: {ends.count('failed')}",
    ]


if __name__ == "__main__":
    sys.exit(main())
