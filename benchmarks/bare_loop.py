# SPDX-License-Identifier: MIT
"""A bare script as the harness's peer: one processor added by subprocess and sockets alone, with the harness's QEMU
arguments.

``python bare_loop.py PLACE MEMORY`` reads QEMU's command as a JSON list from standard input. Its channels are in
PLACE. MEMORY is the file of a saved state, "" for a boot. It prints the time of each stage in nanoseconds, on the
host's monotonic clock. It records nothing, judges nothing, and has no time limits.
"""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

PAUSE = 0.001
"""Seconds between two reads of the file of the driver's records, whose changes are not announced."""


class Bare:
    """One QEMU, and its output so far."""

    def __init__(self, command, place, memory):
        self.moments = {"python": time.monotonic_ns()}
        self.debugcon = place / "debugcon.log"
        self.debugcon.touch()
        state = os.open(memory, os.O_RDONLY) if memory else subprocess.DEVNULL
        self.note("qemu")
        # A separate session, as the harness gives QEMU: some kernels distribute processor time by session.
        self.process = subprocess.Popen(
            command, stdin=state, stdout=subprocess.DEVNULL, start_new_session=True
        )
        self.qmp = connected(place / "qmp")
        self.control = connected(place / "control")
        self.heard = {self.qmp: b"", self.control: b""}

    def note(self, moment):
        """Note the time of an event."""
        self.moments[moment] = time.monotonic_ns()

    def hear(self, port, what):
        """Read both ports until ``port`` has printed ``what``."""
        while what not in self.heard[port]:
            self.read(None)

    def read(self, seconds):
        """Read the output of the ports for at most ``seconds``."""
        for ready in select.select([*self.heard], [], [], seconds)[0]:
            self.heard[ready] += ready.recv(65536)

    def ask(self, command, **arguments):
        """Send a QMP command and return its reply."""
        number = f"bare-{command}"
        message = {"execute": command, "arguments": arguments, "id": number}
        self.qmp.sendall(json.dumps(message).encode() + b"\n")
        self.hear(self.qmp, f'"id": "{number}"}}'.encode())
        (line,) = [one for one in self.heard[self.qmp].splitlines() if f'"id": "{number}"'.encode() in one]
        return json.loads(line)["return"]


def connected(path):
    """Connect as soon as the socket exists."""
    found = socket.socket(socket.AF_UNIX)
    while True:
        with contextlib.suppress(OSError):
            found.connect(str(path))
            return found
        time.sleep(0.0005)


def main():
    """Add one processor. Print the times."""
    place, memory = Path(sys.argv[1]), sys.argv[2]
    bare = Bare(json.load(sys.stdin), place, memory)
    bare.hear(bare.qmp, b'"QMP"')
    bare.ask("qmp_capabilities")
    while memory and bare.ask("query-status")["status"] == "inmigrate":
        bare.heard[bare.qmp] = b""
    bare.heard[bare.qmp] = b""
    bare.ask("cont")
    if memory:
        bare.control.sendall(b"1 ping nonce=0\n")
        bare.hear(bare.control, b"1 ok nonce=0")
    else:
        bare.hear(bare.control, b"! ready")
    bare.note("ready")
    bare.control.sendall(b"2 load driver=hpnotify add_existing=1 pnp=0\n")
    bare.hear(bare.control, b"2 ok")
    bare.note("loaded")
    slots = bare.ask("query-hotpluggable-cpus")
    (slot,) = [one for one in slots if one["props"]["socket-id"] == 2]
    began = bare.debugcon.stat().st_size
    bare.note("add")
    bare.ask("device_add", driver=slot["type"], id="cpu-1", **slot["props"])
    wanted = {
        "ost": lambda: b"ACPI_DEVICE_OST" in bare.heard[bare.qmp],
        "start": lambda: b"ev=sync.enter" in bare.debugcon.read_bytes()[began:],
        "online": lambda: b"! online" in bare.heard[bare.control],
    }
    while wanted:
        for moment, seen in list(wanted.items()):
            if seen():
                bare.note(moment)
                del wanted[moment]
        if wanted:
            bare.read(PAUSE)
    bare.note("end")
    bare.qmp.sendall(b'{"execute": "quit"}\n')
    bare.process.wait()
    print(json.dumps(bare.moments))


if __name__ == "__main__":
    main()
