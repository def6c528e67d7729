# SPDX-License-Identifier: MIT
"""Attaching to the guest of a live run: its places, and the connection of a terminal or a viewer to them.

Places are sockets in the run's private runtime directory. A viewer that needs TCP gets a port of the loopback
interface, chosen by the kernel, while :func:`bridge` runs. Any user of this host can connect to that port meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import selectors
import shlex
import socket
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from harness.deadline import Deadline
from harness.errors import GuestHang, HarnessError, InfrastructureError, UsageError, system_errors
from harness.history.reader import History
from harness.history.record import Stage
from harness.history.run_directory import RunDirectory
from harness.host.registry import MachineEntry, Registry
from harness.interrupts import answered
from harness.invocation import invocation
from harness.machine.machine import Machine
from harness.run.options import is_process
from harness.run.run import Run
from harness.run.say import Say

Place = Literal["monitor", "console", "gdb", "kd", "vnc"]


ATTACH = 10.0
"""Seconds that opening a monitor, gdb stub or screen may take."""

GREETING = 2.0
"""Seconds after which a monitor that has not greeted is said to be silent. QEMU greets whom it serves at once."""

LOOK = 0.2
"""Seconds between two checks whether the guest is still there."""

ESCAPE = b"\x1d"
"""Ctrl-], which detaches a terminal, as in telnet and virsh."""

PIECE = 1 << 16

VIEWERS = {
    "gdb": "gdb -ex 'target remote 127.0.0.1:{port}'   (the guest stops when it connects)",
    "vnc": "vncviewer 127.0.0.1::{port}",
}


COMMAND = re.compile(r"(?:monitor|gdb|screen|libvirt|console|driver|history) {2,}\S")
"""The beginning of a line that says how to attach."""


def how_to_attach(machine: Machine, run: Run) -> list[str]:
    """Return the ways to attach to the guest of a live run, one line each."""
    # The other terminal may be in another directory.
    lines, directory = [], run.directory.path.absolute()
    if machine.human is not None:
        lines.append(f"monitor    {invocation('attach', directory, 'monitor')}")
        if open_stub(machine, machine.human.with_name("gdb")):
            lines.append(f"gdb        {invocation('attach', directory, 'gdb')}")
    if run.request.vnc and machine.human is not None:
        refused = _screen(machine, machine.human.with_name("vnc"))
        lines.append(f"screen     {refused or invocation('attach', directory, 'vnc')}")
    if machine.versions:
        lines.append(
            f"libvirt    virsh -c '{machine.versions.get('uri', '')}' list --title   (run {run.directory.name})"
        )
    lines += [
        f"console    {invocation('attach', directory, 'console')}",
        # A driver chooses what is in it: cat -v shows control characters, and does not send them to the terminal.
        f"driver     tail -f {shlex.quote(str(machine.debugcon))} | cat -v",
        f"history    {invocation('show', '--all', directory)}",
    ]
    return ["", *lines]


def is_command(line: str) -> bool:
    """Whether a line is one of :func:`how_to_attach`. It is to be copied, so it must not be folded."""
    return COMMAND.match(line) is not None


def _screen(machine: Machine, place: Path) -> str:
    """Show the screen on ``place``. Return the reason if it cannot be shown. VNC asks for no password, because the
    directory is private."""
    if place.exists():
        return ""
    addresses = [{"type": "unix", "path": str(place)}]
    try:
        machine.execute(
            "display-update", Deadline(ATTACH, "show the screen"), type="vnc", addresses=addresses
        )
    except HarnessError as error:
        return f"not shown: {error.message}"
    return ""


def open_stub(machine: Machine, place: Path) -> bool:
    """Open QEMU's gdb stub on ``place``. Return False where it cannot be opened: through libvirt, or in a process."""
    if place.exists():
        return True
    command = f"gdbserver unix:{place},server=on,wait=off"
    try:
        machine.execute(
            "human-monitor-command", Deadline(ATTACH, "open the gdb stub"), **{"command-line": command}
        )
    except HarnessError:
        return False
    return place.exists()


def live_run(directory: Path) -> MachineEntry:
    """Return the machine of a live run. Raises UsageError if the run is not live."""
    for entry in Registry().running():
        with contextlib.suppress(OSError):
            if Path(entry.directory).samefile(directory):
                return entry
    raise UsageError(
        f"the run {directory} has no live guest",
        hint=f"{invocation('ps')} lists the live ones; {invocation('repro', directory, '--interactive')} starts one.",
    )


def attach(directory: Path, place: Place, say: Say) -> None:
    """Connect this terminal, or a port of this host, to a place of a live run, until the run ends or Ctrl-C is
    pressed.

    Raises UsageError where the run does not have the place.
    """
    entry = live_run(directory)
    runtime = Path(entry.runtime)
    if place == "console":
        with _until_ctrl_c():
            follow(
                directory / "console.log",
                lambda: any(one.name == entry.name for one in Registry().running()),
                sys.stdout.buffer,
            )
        return
    if place == "kd":
        say(_debugger(directory))
        return
    if place == "monitor":
        attach_monitor(_socket(runtime / "human", place, entry), say)
        return
    if place == "gdb" and entry.uri:
        raise UsageError(
            "a guest of libvirt has no gdb stub: opening one would bypass libvirt",
            hint=f"{invocation('repro', 'RUN', '--step', 'N')} of a run with --backend qemu has one.",
        )
    if place == "gdb" and not (runtime / "gdb").exists():
        _ask_stub(_socket(runtime / "human", "monitor", entry), runtime / "gdb")
    forward(_socket(runtime / place, place, entry), VIEWERS[place], say)


def attach_monitor(place: Path, say: Say) -> None:
    """Connect this terminal to the human monitor at the socket ``place``. Another terminal's turn is said, and waited for."""
    with connected(place) as monitor:
        say("Press Ctrl-] to detach.")
        greeted, *_ = select.select([monitor], [], [], GREETING)
        if not greeted:
            say("No answer yet: another terminal may be attached to the monitor, which serves one at a time.")
        relay(monitor)


@contextlib.contextmanager
def _until_ctrl_c() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        if not answered(error):
            raise


def forward(place: Path, viewer: str, say: Say) -> None:
    """Forward a port to the socket ``place`` until it is gone or Ctrl-C is pressed; say the command ``viewer``."""

    def begun(port: int) -> None:
        say(viewer.format(port=port))
        say("Ctrl-C ends the forwarding.")

    with _until_ctrl_c():
        bridge(place, begun)


def _socket(path: Path, place: str, entry: MachineEntry) -> Path:
    if path.exists():
        return path
    if is_process(RunDirectory(Path(entry.directory)).brief().guest):
        raise UsageError(
            f"the run has no {place}: its machine is a process, without QEMU",
            hint="console shows what the process writes; the session itself executes operations.",
        )
    if entry.uri:
        raise UsageError(
            f"the {place} of this run belongs to libvirt",
            hint=f"virsh -c '{entry.uri}' qemu-monitor-command {entry.domain} --hmp 'info status'; virt-viewer shows the screen.",
        )
    way = {
        "monitor": "run --monitor, repro --step and repro --interactive open one.",
        "vnc": "repro --interactive --vnc shows the screen.",
    }.get(place, "")
    raise UsageError(
        f"the run has no {place}", hint=way or "Its machine is a process, or was started without it."
    )


def _debugger(directory: Path) -> str:
    """Return the debugger's command from the run's history. The port is forwarded to TCP from the start."""
    for record in History(directory):
        if isinstance(record, Stage) and (found := re.fullmatch(r"for a debugger: (.*)", record.detail)):
            return found[1]
    raise UsageError(
        f"run {RunDirectory(directory).name} does not forward a kernel debugger's port",
        hint="Give --debugger to run or repro.",
    )


@contextlib.contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    """Connect to a socket. Raises InfrastructureError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ATTACH)
        with system_errors(
            f"cannot connect to {path}", hint="The guest may have ended, or another terminal may be attached."
        ):
            connection.connect(str(path))
        connection.settimeout(None)
        yield connection


def _ask_stub(monitor: Path, place: Path) -> None:
    """Open the gdb stub through the human monitor. Raises InfrastructureError if it does not open."""
    with connected(monitor) as connection:
        connection.sendall(f"gdbserver unix:{place},server=on,wait=off\n".encode())
        Deadline(ATTACH, "open the gdb stub").poll(
            place.exists,
            error=lambda: InfrastructureError(
                "QEMU's gdb stub did not open",
                hint="Another terminal may be attached to the monitor, which serves one at a time.",
            ),
        )


def relay(connection: socket.socket) -> None:
    """Copy this process's standard input to ``connection``, and its output to standard output, until one ends."""
    source, sink = sys.stdin.fileno(), sys.stdout.fileno()
    with _raw(source), selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        with contextlib.suppress(PermissionError):
            # A regular file is always readable and cannot be polled.
            selector.register(source, selectors.EVENT_READ)
        if source not in selector.get_map():
            connection.sendall(sys.stdin.buffer.read())
        while True:
            for key, _ in selector.select():
                if key.fileobj is connection:
                    if not (data := _received(connection)):
                        return
                    _written(sink, data)
                    continue
                data = os.read(source, PIECE)
                typed, escaped, _ = data.partition(ESCAPE)
                if typed:
                    connection.sendall(typed)
                if escaped:
                    # The monitor's prompt is on this line; that of the shell begins the next one.
                    _written(sink, b"\r\n")
                    return
                if not data:
                    # The input has ended. Wait a moment for the last output of the other end.
                    _rest(connection, sink)
                    return


def _rest(connection: socket.socket, sink: int) -> None:
    connection.settimeout(1.0)
    with contextlib.suppress(TimeoutError):
        while data := _received(connection):
            _written(sink, data)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(PIECE)
    except ConnectionError:
        return b""


def _written(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Set a terminal to pass each key on unchanged. Do nothing for other files."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def follow(file: Path, alive: Callable[[], bool], sink: object) -> None:
    """Write the contents of ``file`` to ``sink``, and what is appended while ``alive()``, escaped for a terminal."""
    from harness.report.escape import printable

    write, flush = sink.write, sink.flush  # type: ignore[attr-defined]
    with file.open("rb") as source:
        while True:
            going = alive()
            while line := source.readline(PIECE):
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                write(printable(text, PIECE).encode() + b"\n")
            flush()
            if not going:
                return
            with contextlib.suppress(GuestHang):
                Deadline(LOOK, "more of the console").poll(lambda: False, interval=LOOK)


def bridge(place: Path, say: Callable[[int], None]) -> None:
    """Forward connections from a port of 127.0.0.1, chosen by the kernel, to the socket ``place``, one after another.

    ``say`` is called with the port. It returns when the socket is gone.
    """
    with socket.socket(socket.AF_INET) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        listener.settimeout(LOOK)
        say(listener.getsockname()[1])
        while place.exists():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            client.settimeout(None)
            with client, connected(place) as machine:
                _carry(client, machine)


def _carry(one: socket.socket, other: socket.socket) -> None:
    """Copy bytes both ways until either end closes."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                source: socket.socket = key.fileobj  # type: ignore[assignment]
                data = _received(source)
                if not data:
                    return
                with contextlib.suppress(ConnectionError):
                    key.data.sendall(data)
