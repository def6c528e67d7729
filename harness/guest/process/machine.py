# SPDX-License-Identifier: MIT
"""A machine that is a process: the driver runs in it on the project's own double of the NT kernel.

There is no QEMU, no firmware and no operating system. Slots and memory are kept here, and a command of the plan becomes
a line on the process's standard input:

======================================  ==========================================================
``processors COUNT MAXIMUM GROUP BYTES``  what exists from the beginning
``add N``                                 processor N starts and runs
``memory START BYTES``                    memory exists
``counts``, ``echo WORD``                 answered with the same word and the values
======================================  ==========================================================

An answer is a line ``= WORD``, zero for success. Lines of the driver go to debugcon.log, as from QEMU's port, so that
all other parts work unchanged. All other lines go to console.log.
"""

# ruff: noqa: ARG002 - the methods have the arguments of the protocol, even where a process does not need them

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shlex
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import locks
from harness.capture.live.budget import RunBudget
from harness.capture.live.channel_limits import ChannelLimits
from harness.capture.live.follower import Follower
from harness.deadline import Deadline
from harness.errors import (
    MAKE_ROOM,
    CommandRefused,
    GuestCrash,
    GuestError,
    GuestHang,
    GuestRefused,
    HarnessError,
    InfrastructureError,
    system_errors,
    told_shortage,
)
from harness.guest.bootable import cannot_show
from harness.history.record import Boot, Stage
from harness.host.registry import ProcessName
from harness.interrupts import uninterrupted
from harness.machine import shutdown
from harness.machine.file_limit import SLACK
from harness.machine.machine import PERIPHERAL, CpuSlot, Drop, Machine, MemoryDevice, QmpEvent
from harness.machine.memory_backend import RAM, MemoryBackend
from harness.machine.process import Process
from harness.machine.registered import RegisteredMachine
from harness.program import describe

FIRST_DIMM = 4 << 30
"""Where added memory begins, as on QEMU's machines with less than 4 GiB."""

LONGEST_LINE = 1 << 16
"""Bytes of a line that are kept. A longer line is split."""

_WORDS = re.compile(rb"^(?:HPN1|=|counts|echo|reset|trouble:|left)(?: [^\n]*|\r)?\n", re.MULTILINE)
"""Lines that are more than text on a screen. The text between them is written in one call: a process may flood."""

UNSHOWN = ("qemu", "ost")
"""What a machine that is a process cannot show (``Agreement.unshown``)."""

TakeTurn = Callable[[Deadline], AbstractContextManager[None]]
"""A context that surrounds the process: entered before it is spawned, left after it ended."""


@dataclasses.dataclass(eq=False, repr=False, kw_only=True)
class ProcessMachine(RegisteredMachine):
    """A process as a machine; implements :class:`harness.machine.machine.Machine` as far as a process can.

    ``command`` is the program. Its output goes to ``NAME.log`` in the run directory. ``transcript`` is another file that it
    writes to, None for none. ``opening`` are lines sent first; each must be answered with zero.
    ``closing`` are the lines sent once nothing is loaded any more. What only QEMU has (monitor, events, resets) raises
    GuestRefused with that reason. A process that writes more than the run's ``limits`` allow counts as gone.
    """

    label: str
    command: list[str]
    group_size: int = 64
    transcript: Path | None = None
    opening: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()
    place: TakeTurn | None = None
    limits: ChannelLimits = dataclasses.field(default_factory=ChannelLimits)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.log = self.directory / f"{self.label}.log"
        self.human: Path | None = None
        self.kd: Path | None = None
        self._process: Process | None = None
        self._orders = -1
        self._follower = Follower()
        most = self.limits.run_limit
        # All its output comes in these files, its console and the driver's lines included.
        self._budget = RunBudget(ChannelLimits(channel_limit=most + 1, run_limit=most))
        self._largest = most + SLACK
        self._changed = locks.condition("process machine")
        self._sent = 0
        self._answers: list[str] = []
        self._said: dict[str, str] = {}
        self._rest: dict[str, bytes] = {}
        self._reset = False
        self._paused: list[str] | None = None
        self._processors = {index: f"/machine/given/{index}" for index in range(self.spec.processors)}
        self._dimms: list[MemoryDevice] = []
        self._files = contextlib.ExitStack()
        self._around = contextlib.ExitStack()
        self._closed = False

    # -- start and end ------------------------------------------------------------------------------------------

    def start(self, deadline: Deadline) -> None:
        """Spawn the process and send it its configuration. Raises MissingPart, GuestCrash with its output, GuestHang."""
        try:
            self._start(deadline)
        except BaseException:
            self.close()
            raise

    def _start(self, deadline: Deadline) -> None:
        self._make_files()
        if self.place is not None:
            self._around.enter_context(self.place(deadline))
        followed = [self.log] if self.transcript is None else [self.log, self.transcript]
        for path in followed:
            self._follower.add(
                path,
                lambda data, path=path: self._take(path.name, data),  # type: ignore[misc]
                budget=self._budget.channel(path.name, path),
            )
        self._follower.start()
        self.argv = list(self.command)
        self._register(self.argv)
        stdin, self._orders = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = Process(
                self.argv, self.log, ended=self._notice, stdin=stdin, largest_file=self._largest
            )
            self._process.spawn()
        finally:
            os.close(stdin)
        self._note_process(ProcessName.of(self._process.pid))
        spec = self.spec
        first = f"processors {spec.processors} {spec.max_processors} {self.group_size} {spec.memory:#x}"
        for line in (*self.opening, first):
            self.ask(line, deadline, fine=frozenset())

    def _make_files(self) -> None:
        with self._writing():
            self.directory.mkdir(parents=True, exist_ok=True)
            for path in (self.console, self.debugcon, self.log):
                path.touch(0o600)
            self._port = self._files.enter_context(self.debugcon.open("ab", buffering=0))
            self._screen = self._files.enter_context(self.console.open("ab", buffering=0))

    def finish(self, deadline: Deadline) -> None:
        """Let the process end by itself, so that it counts what was left behind. No driver may be loaded."""
        process = self._process
        if process is None or not process.running:
            return
        for line in self.closing:
            self.ask(line, deadline)
        process.ask("itself")
        self._end_orders()
        process.wait(deadline.remaining())
        self.sync()

    def close(self) -> None:
        """End the process: SIGTERM, then SIGKILL, each with its timeout. Idempotent, bounded in time."""
        if self._closed:
            return
        with uninterrupted():
            self._closed = True
            try:
                self._end_process()
                with contextlib.suppress(Exception):  # a sink's error was raised where its result was awaited
                    self._follower.close()
                self._flush()
            finally:
                self._around.close()
                self._files.close()
                self._runtime.remove()
                if self._entry is not None:
                    self.registry.remove(self._entry)

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.end((signal.SIGTERM, shutdown.TERM_GRACE), (signal.SIGKILL, shutdown.KILL_GRACE))
            self._end_orders()

    def _end_orders(self) -> None:
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1

    def alive(self) -> bool:
        """Return whether the process runs, is still read, and has not reported a reset of its machine."""
        running = self._process is not None and self._process.running
        return running and not self._reset and not self._flooded and self._follower.error is None

    @property
    def _flooded(self) -> str:
        """Return why its output is no longer read, "" while it is read."""
        return next((one.cut for one in self._budget.channels if one.cut), "")

    @property
    def pid(self) -> int:
        """The id of the guest's process, 0 before it was spawned."""
        return self._process.pid if self._process is not None else 0

    def check_alive(self) -> None:
        """Raise GuestCrash if the process is gone: the guest and its machine are one process."""
        if not self.alive():
            raise self._gone()

    def _gone(self) -> HarnessError:
        if self._reset:
            return GuestCrash("the guest reset itself", hint="The run is unknown from there.")
        if isinstance(self._follower.error, HarnessError):
            return self._follower.error
        if self._flooded:
            return GuestError(
                f"the process that is the guest floods its output: {self._flooded}",
                hint=f"The beginning is in {self.log}. Allow it more with a larger --run-limit.",
            )
        report = self._process.report() if self._process is not None else None
        words = self._process.words().splitlines() if self._process is not None else []
        said = [line for line in words if not line.startswith(("HPN1 ", "= "))][-3:]
        how = describe(report.status) if report is not None else "never begun"
        short, way_out = told_shortage("\n".join(words))
        if short:
            return InfrastructureError(
                f"the process that is the guest ended, {how}, because the host ran out of something: {short[:200]}",
                hint=f"{way_out}\nIts output is in {self.log}.",
            )
        if report is not None and report.status == -signal.SIGXFSZ:
            how += f", because it wrote a file of more than {self._largest} bytes (RLIMIT_FSIZE)"
        return GuestCrash(
            f"the process that is the guest ended, {how}{': ' + '; '.join(said) if said else ''}",
            hint=f"Its output is in {self.log}. The command was: {shlex.join(self.argv)}",
        )

    def _notice(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # -- its output ---------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Return once all that the process has written is in ``debugcon`` and ``console``."""
        self._follower.drain()

    def _take(self, source: str, data: bytes) -> None:
        """Sort what came from one file into lines. Runs on the follower's thread or that of :meth:`sync`."""
        whole, line_feed, rest = (self._rest.get(source, b"") + data).rpartition(b"\n")
        whole += line_feed
        if len(rest) > LONGEST_LINE:
            whole, rest = whole + rest + b"\n", b""
        self._rest[source] = rest
        spoken = source == self.log.name
        with self._changed:  # a line is written and counted as sent under one hold of the lock
            expected = self._sent - len(self._answers) if spoken else 0
        answers: list[str] = []
        screen: list[bytes] = []
        port: list[bytes] = []
        said = 0
        for found in _WORDS.finditer(whole):
            screen.append(whole[said : found.start()])
            said = found.end()
            line = found[0].removesuffix(b"\n")
            if line.startswith(b"HPN1") and (self.transcript is None or not spoken):
                port.append(found[0])
            else:
                self._sort(line, screen, answers, expected)
        screen.append(whole[said:])
        self._put(self._port, b"".join(port))
        self._put(self._screen, b"".join(screen))
        # Only now: a caller that has its answer must not ask again before the rest is sorted.
        with self._changed:
            self._answers += answers
            self._changed.notify_all()

    def _sort(self, line: bytes, screen: list[bytes], answers: list[str], expected: int) -> None:
        """Put a line where it belongs. ``expected`` answers may come."""
        word, _, rest = line.partition(b" ")
        text = line.decode("utf-8", "replace").rstrip("\r")
        if word == b"=" and len(answers) < expected:
            answers.append(text[2:102].strip())
        elif word in (b"counts", b"echo"):
            self._said[word.decode()] = rest.decode("ascii", "replace").strip()
        elif text == "reset" and not self._reset:
            screen.append(b"the machine resets itself\n")
            self.writer.write(Boot(epoch=2, cause="guest-reset"))
            self._reset = True
        elif word == b"trouble:" or (word == b"left" and re.search(r"=-?[1-9]", text)):
            screen.append(f"hpnotify: trouble: {text.removeprefix('trouble: ')}\n".encode())
        else:
            screen.append(line + b"\n")

    def _put(self, file: FileIO, data: bytes) -> None:
        """Append ``data``, all of it. Raises InfrastructureError."""
        with system_errors(f"cannot write what the process said to {self.debugcon.parent}", hint=MAKE_ROOM):
            while data:
                data = data[file.write(data) :]

    def _flush(self) -> None:
        """Mark a line without an end as torn: the process is gone."""
        for rest in self._rest.values():
            self._put(self._port if rest.startswith(b"HPN1 ") else self._screen, rest)
        self._rest = {}

    # -- its input ----------------------------------------------------------------------------------------------

    def ask(self, line: str, deadline: Deadline, *, fine: frozenset[str] | None = None) -> str:
        """Send a line and return its answer. Raises GuestHang, GuestCrash.

        With ``fine`` any answer but zero and those raises GuestRefused.
        """
        if self._paused is not None:
            raise GuestRefused(f"the machine is paused and cannot be asked: {line}")
        place = self._say(line, deadline)

        def answer() -> str | None:
            return self._answers[place] if len(self._answers) > place else None

        while answer() is None and self.alive():
            if deadline.expired:
                raise GuestHang(
                    f"the process did not answer {line!r} within {deadline.seconds:g} s",
                    hint=f"Its output is in {self.log}.",
                )
            with self._changed:
                if answer() is None:
                    self._changed.wait(min(deadline.remaining(), 0.1))
        if answer() != "0":
            self.sync()  # its last output may not have been read yet: a reason, or the answer itself
        word = answer()
        if word is None or self._reset:
            raise self._gone()
        if fine is not None and not (word in fine or set(word.split(" ")[0]) == {"0"}):
            raise GuestRefused(f"the process answered {line!r} with {word}")
        return word

    def value(self, line: str, deadline: Deadline) -> str:
        """Send a request whose answer has words of its own, and return those."""
        self.ask(line, deadline, fine=frozenset())
        self.sync()
        return self._said.get(line.partition(" ")[0], "")

    def _say(self, line: str, deadline: Deadline) -> int:
        """Send a line and return the position that its answer will have."""
        self.check_alive()
        data = line.encode() + b"\n"
        try:
            with self._changed:
                os.set_blocking(self._orders, False)
                if os.write(self._orders, data) != len(data):
                    raise BlockingIOError
                self._sent += 1
                return self._sent - 1
        except BlockingIOError as error:
            raise GuestHang(f"the process takes no more orders: {line}") from error
        except OSError as error:
            self._process and self._process.wait(deadline.within(1.0, "the process to end").remaining())
            raise self._gone() from error

    def _command_line(self, line: str, deadline: Deadline) -> None:
        """Send a command of the machine without waiting for its result, as QEMU does; later, if the machine is paused."""
        self.writer.write(Stage(name=self.label, phase="note", detail=line))
        if self._paused is not None:
            self._paused.append(line)
        else:
            self._say(line, deadline)

    # -- the machine --------------------------------------------------------------------------------------------

    def resume(self, deadline: Deadline) -> None:
        """Send the lines that were held back while the machine was paused."""
        held, self._paused = self._paused or [], None
        for line in held:
            self._say(line, deadline)

    def pause(self, deadline: Deadline) -> None:
        """Hold back all devices that are added from now on."""
        self._paused = self._paused or []

    def cpu_slots(self, deadline: Deadline) -> list[CpuSlot]:
        """Return the processor slots."""
        return [
            CpuSlot(
                index=index, type="processor", props={"processor": index}, qom=self._processors.get(index, "")
            )
            for index in range(self.spec.max_processors)
        ]

    def add_cpu(self, device: str, slot: CpuSlot, deadline: Deadline) -> None:
        """Add a processor. Raises CommandRefused if there is no such slot, or the slot or the name is taken."""
        if slot.index >= self.spec.max_processors:
            raise _refused("add", f"there is no slot {slot.index}")
        if slot.index in self._processors:
            raise _refused("add", f"slot {slot.index} is taken")
        self._check_name(device)
        self._processors[slot.index] = PERIPHERAL + device
        self._command_line(f"add {slot.index}", deadline)

    def memory_devices(self, deadline: Deadline) -> list[MemoryDevice]:
        """Return the DIMMs."""
        return list(self._dimms)

    def add_dimm(
        self,
        device: str,
        size: int,
        deadline: Deadline,
        *,
        node: int | None = None,
        backend: MemoryBackend = RAM,
    ) -> None:
        """Add memory. Raises CommandRefused if there is no slot, no address space or no such node.

        Raises GuestRefused for a ``backend``: a DIMM here has no memory behind it.
        """
        if not backend.plain:
            raise self.unshown("what a DIMM is made of")
        self._check_name(device)
        if len(self._dimms) >= self.spec.dimm_slots:
            raise _refused("memory", f"no free slot: all {self.spec.dimm_slots} are taken")
        plugged = sum(dimm.size for dimm in self._dimms)
        if self.spec.memory + plugged + size > self.spec.max_memory:
            raise _refused("memory", f"no room: there may be {self.spec.max_memory} bytes in all")
        if node is not None and node >= self.spec.nodes:
            raise _refused("memory", f"there is no node {node}")
        dimm = MemoryDevice(
            id=device, size=size, slot=len(self._dimms), node=node or 0, address=FIRST_DIMM + plugged
        )
        self._dimms.append(dimm)
        self._command_line(f"memory {dimm.address:#x} {size:#x}", deadline)

    def add_nvdimm(self, device: str, size: int, deadline: Deadline, *, node: int = 0) -> None:
        """Raise GuestRefused: there is no firmware to announce it."""
        raise self.unshown("an NVDIMM")

    def request_virtio_mem(self, size: int, deadline: Deadline) -> None:
        """Raise GuestRefused: there are no devices."""
        raise self.unshown("a virtio-mem device")

    def set_balloon(self, size: int, deadline: Deadline) -> None:
        """Raise GuestRefused: there are no devices."""
        raise self.unshown("a balloon")

    def _check_name(self, device: str) -> None:
        names = {qom.rpartition("/")[2] for qom in self._processors.values()} | {d.id for d in self._dimms}
        if device in names:
            raise _refused("add", f"there is a device {device!r} already")

    # -- what only QEMU has -------------------------------------------------------------------------------------

    def reset(self, deadline: Deadline) -> None:
        """Raise GuestRefused: there is no firmware to enumerate the processors again."""
        raise self.unshown("a reset: no firmware would enumerate its processors again")

    def execute(self, command: str, deadline: Deadline, **arguments: Any) -> Any:
        """Raise GuestRefused: there is no monitor."""
        raise self.unshown(f"what QEMU answers to {command}")

    def unplug(self, device: str, deadline: Deadline) -> None:
        """Raise GuestRefused: nothing can request a device back."""
        raise self.unshown(f"an unplug of {device}")

    def release(self, device: str, deadline: Deadline) -> None:
        """Raise GuestRefused: no device is ever released."""
        raise self.unshown(f"an unplug of {device}")

    def add_cpu_twice(self, device: str, slot: CpuSlot, deadline: Deadline) -> str:
        """Raise GuestRefused: a process has one client."""
        raise self.unshown(f"two clients that ask for {device} in slot {slot.index}")

    def drop_monitor(self, _when: Drop = "now") -> None:
        """Raise GuestRefused: there is no monitor."""
        raise self.unshown("how a monitor drops")

    def serial(self) -> int:
        """Return 0: there are no QMP messages."""
        return 0

    def wait_event(self, name: str, deadline: Deadline, *, after: int = 0, **match: Any) -> QmpEvent:
        """Raise GuestRefused: there are no events."""
        raise self.unshown(f"QEMU's event {name} after {after}")

    def events(self, name: str, *, after: int = 0) -> list[QmpEvent]:
        """Return an empty list: there are no events."""
        return []

    def unshown(self, what: str) -> GuestRefused:
        """Return the error for something that a process cannot show."""
        return cannot_show(self.label, what)


def _refused(command: str, why: str) -> CommandRefused:
    return CommandRefused(
        f"the machine refused {command!r}: {why}", command=command, error_class="Refused", description=why
    )


if TYPE_CHECKING:

    def _keeps_the_protocol(machine: ProcessMachine) -> Machine:
        return machine
