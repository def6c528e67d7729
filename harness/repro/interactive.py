# SPDX-License-Identifier: MIT
"""Interactive use of a live guest: executes a plan up to a step, prints how to attach, and waits.

The guest runs on, or stands where the step that failed left it: a panicked one is stopped, one that hangs hangs. The harness
asks nothing of it until Ctrl-C or the end of QEMU; then the run is closed and judged like any other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, MachineFailed
from harness.history.record import Stage
from harness.history.writer import Listener
from harness.interrupts import answered
from harness.invocation import invocation
from harness.machine.machine import Machine
from harness.run.boot import Live
from harness.run.request import RunRequest
from harness.run.run import Learnt, Run, RunResult

Say = Callable[[str], None]

LONGEST = 7 * 24 * 3600.0
"""Seconds after which an interactive guest is ended."""

LOOK = 0.2
"""Seconds between two looks whether QEMU is still there."""

ATTACH = 10.0
"""Seconds that opening a monitor, gdb stub or screen may take."""


def execute_and_wait(
    request: RunRequest,
    step: int,
    say: Say,
    *,
    listeners: tuple[Listener, ...] = (),
    learnt: Learnt = lambda _: None,
) -> RunResult:
    """Execute the first ``step`` operations of the plan, wait until the user is done, and return the run's result.

    After a failed step it waits too, as long as QEMU runs. Raises RunInterrupted before that, and
    InfrastructureError as :func:`harness.run.run.perform` does.
    """
    run = Run(request, listeners=listeners, learnt=learnt)
    try:
        with run.live() as live:
            failed: HarnessError | None = None
            try:
                live.executor.execute(request.plan.do[:step])
            except MachineFailed:
                raise
            except HarnessError as error:
                failed = error
                say(f"A step failed: {error.message}")
            _wait(live, run, say)
            if failed is not None:
                raise failed
    except HarnessError as error:
        run.error = run.error or error
    except KeyboardInterrupt as stop:
        raise run.interruption() from stop
    return run.result(run.judge())


def _wait(live: Live, run: Run, say: Say) -> None:
    for line in how_to_attach(live.machine, run):
        say(line)
    say("The guest is yours. Ctrl-C ends it, and judges the run.")
    live.writer.write(Stage(name="held", phase="begin"))
    why = "QEMU ended"
    try:
        with contextlib.suppress(InfrastructureError):
            Deadline(LONGEST, "wait for Ctrl-C").poll(
                lambda: not live.machine.alive(),
                interval=LOOK,
                error=lambda: InfrastructureError("nobody pressed Ctrl-C"),
            )
            say("QEMU ended.")
    except KeyboardInterrupt as error:
        if not answered(error):
            raise
        why = "taken back"
    live.writer.write(Stage(name="held", phase="end", detail=why))


def how_to_attach(machine: Machine, run: Run) -> list[str]:
    """Return how to attach to the guest of a live run, one line each."""
    lines = []
    if machine.human is not None:
        lines.append(f"monitor    socat -,rawer UNIX-CONNECT:{machine.human}")
        if (stub := _gdb_stub(machine, machine.human.with_name("gdb"))) is not None:
            lines.append(f"gdb        gdb -ex 'target remote {stub}'   (the guest stops when it connects)")
    if run.request.vnc and machine.human is not None:
        lines += _screen(machine, machine.human.with_name("vnc"))
    if machine.versions:
        lines.append(
            f"libvirt    virsh -c '{machine.versions.get('uri', '')}' list --title   (run {run.directory.name})"
        )
    lines += [
        f"{name:11}tail -f {file}"
        for name, file in (("console", machine.console), ("driver", machine.debugcon))
    ]
    lines.append(f"history    {invocation('show', '--all', run.directory.path)}")
    return ["", *lines]


def _screen(machine: Machine, socket: Path) -> list[str]:
    """Show the screen on ``socket``. VNC asks for no password; the directory is private."""
    addresses = [{"type": "unix", "path": str(socket)}]
    try:
        machine.execute(
            "display-update", Deadline(ATTACH, "show the screen"), type="vnc", addresses=addresses
        )
    except HarnessError as error:
        return [f"screen     not shown: {error.message}"]
    return [f"screen     vncviewer {socket}"]


def _gdb_stub(machine: Machine, socket: Path) -> Path | None:
    """Open QEMU's gdb stub on ``socket``, None where that cannot be (through libvirt, in a process)."""
    command = f"gdbserver unix:{socket},server=on,wait=off"
    try:
        machine.execute(
            "human-monitor-command", Deadline(ATTACH, "open the gdb stub"), **{"command-line": command}
        )
    except HarnessError:
        return None
    return socket if socket.exists() else None
