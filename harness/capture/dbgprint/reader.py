# SPDX-License-Identifier: MIT
"""The reader of a guest's KD port: a process of its own, so that a slow harness never stalls the guest.

    python -m harness.capture.dbgprint.reader SOCKET DIRECTORY [--debugger PORT]

SOCKET is the unix socket of QEMU's character device (``-chardev socket,…,server=on,wait=off``). Three files are
written to DIRECTORY: ``dbgprint.log``, the text as it came; ``dbgprint.jsonl``, one line for each event with the
host's monotonic clock (``host_ns``, received, not said: contract F5) and, for text, where it stands in the log; and at
the end ``dbgprint.account.json``. It ends when the socket closes or with SIGTERM.

With ``--debugger`` the port is handed to a real debugger instead: the first connection to 127.0.0.1:PORT gets all bytes,
both ways, untouched (``windbg -k com:port=PORT,ipport`` and kd speak this), and nothing is decoded.
"""

from __future__ import annotations

import argparse
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from harness.capture.dbgprint.event import AnyEvent, Printed
from harness.capture.dbgprint.host import KdHost
from harness.errors import ExitCode, InfrastructureError

PIECE = 65536
TICK = 0.1
"""Seconds between looks at the clock while the line is quiet."""


class Files:
    """The three files of a session."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._text: BinaryIO = (directory / "dbgprint.log").open("ab", buffering=0)
            self._events: BinaryIO = (directory / "dbgprint.jsonl").open("ab", buffering=0)
        except OSError as error:
            raise InfrastructureError(f"{directory}: {error.strerror}") from error
        self._place = self._text.tell()

    def write(self, one: AnyEvent, host_ns: int) -> None:
        """Write one event: its text first, so that the line that names its place is always right."""
        line: dict[str, Any] = {"host_ns": host_ns}
        if isinstance(one, Printed):
            self._text.write(one.text)
            line |= {"k": "print", "processor": one.processor, "at": self._place, "bytes": len(one.text)}
            self._place += len(one.text)
        else:
            line |= msgspec.to_builtins(one, builtin_types=(bytes,))
            line = {
                key: value.decode("latin-1") if isinstance(value, bytes) else value
                for key, value in line.items()
            }
        self._events.write(msgspec.json.encode(line) + b"\n")

    def close(self, host: KdHost) -> None:
        """Write the account and close everything."""
        account = {
            "packets": host.packets,
            "repeated": host.repeated,
            "broken": host.broken,
            "resets": host.resets,
            "stray": host.stray,
            "stopped": host.stopped is not None,
        }
        (self._directory / "dbgprint.account.json").write_bytes(msgspec.json.encode(account))
        self._text.close()
        self._events.close()


def connect(path: Path) -> socket.socket:
    """Connect to the character device. Raises InfrastructureError."""
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(str(path))
    except OSError as error:
        line.close()
        raise InfrastructureError(
            f"{path}: {error.strerror}", hint="Start QEMU first; its chardev must be server=on,wait=off."
        ) from error
    return line


def listen(line: socket.socket, files: Files, host: KdHost, ended: Callable[[], bool]) -> None:
    """Serve the target until it hangs up or ``ended`` says so."""
    line.setblocking(False)
    unsent = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(line, selectors.EVENT_READ)
        while not ended():
            for _key, ready in selector.select(TICK):
                if ready & selectors.EVENT_READ:
                    try:
                        data = line.recv(PIECE)
                    except OSError:
                        return
                    if not data:
                        return
                    for one in host.feed(data, time.monotonic()):
                        files.write(one, time.monotonic_ns())
            host.idle(time.monotonic())
            unsent += host.outgoing()
            if unsent:
                try:
                    del unsent[: line.send(unsent)]
                except BlockingIOError:
                    pass
                except OSError:
                    return
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
            selector.modify(line, wanted)


def hand_over(line: socket.socket, port: int, ended: Callable[[], bool]) -> None:
    """Wait for a debugger on a loopback port and pass all bytes between it and the target. Raises InfrastructureError."""
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(("127.0.0.1", port))
        except OSError as error:
            raise InfrastructureError(
                f"port {port}: {error.strerror}", hint="Give another with --debugger."
            ) from error
        door.listen(1)
        door.settimeout(TICK)
        sys.stderr.write(f"waiting for a debugger on 127.0.0.1:{door.getsockname()[1]}\n")
        sys.stderr.flush()
        while not ended():
            try:
                debugger, _address = door.accept()
            except TimeoutError:
                continue
            with debugger:
                _relay(line, debugger, ended)
            return


def _relay(one: socket.socket, other: socket.socket, ended: Callable[[], bool]) -> None:
    one.setblocking(True)
    other.setblocking(True)
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while not ended():
            for key, _ready in selector.select(TICK):
                try:
                    data = key.fileobj.recv(PIECE)  # type: ignore[union-attr]
                    if not data:
                        return
                    key.data.sendall(data)
                except OSError:
                    return


def main(arguments: list[str] | None = None) -> int:
    """Run the reader; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="harness.capture.dbgprint.reader")
    parser.add_argument("socket", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--debugger", type=int, metavar="PORT", default=None)
    parser.add_argument(
        "--reset", action="store_true", help="the target is already running: begin with a reset"
    )
    given = parser.parse_args(arguments)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    os.umask(0o077)
    try:
        with connect(given.socket) as line:
            if given.debugger is not None:
                hand_over(line, given.debugger, lambda: bool(stopping))
                return ExitCode.HOLDS
            files, host = Files(given.directory), KdHost()
            if given.reset:
                host.synchronise(time.monotonic())
            try:
                listen(line, files, host, lambda: bool(stopping))
            finally:
                files.close(host)
    except InfrastructureError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return ExitCode.HOLDS


if __name__ == "__main__":
    sys.exit(main())
