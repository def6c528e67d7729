# SPDX-License-Identifier: MIT
"""The harness's side of the reader: starts its process and turns its file into records.

Follow :attr:`PortReader.file` with :class:`harness.capture.live.follower.Follower` and feed :class:`PortLog` what is appended.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from harness.capture.dbgprint import entry
from harness.capture.dbgprint.entry import LONGEST_ENTRY, ReaderAccount
from harness.capture.dbgprint.host import Began
from harness.capture.dbgprint.message import Print, Prompt, Stop
from harness.capture.live.debugcon import DebugPortDecoder
from harness.deadline import Deadline
from harness.errors import InfrastructureError, system_errors
from harness.history.record import Channel, Console, GuestEvent, Record
from harness.program import PIPE, ChildProcess, end_program, start_program

_OURS = b"HPN1 "


class PortReader:
    """The process that serves one port; ``file`` exists from its construction on.

    ``bridge`` connects the port to a debugger instead; ``port`` is then its TCP port on 127.0.0.1.
    """

    def __init__(self, socket: Path, file: Path, *, bridge: bool = False) -> None:
        self.socket = socket
        self.file = file
        self.bridge = bridge
        self.port = 0
        self.pid = 0
        self._process: ChildProcess | None = None
        with system_errors(f"cannot write {file}", hint="Give another place with --runs DIR."):
            os.close(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(Deadline(5, "end of the DbgPrint reader"))

    def start(self, deadline: Deadline) -> None:
        """Connect to the port before the guest runs: earlier output is lost. Raises InfrastructureError."""
        command = [
            sys.executable, "-m", "harness.capture.dbgprint", str(self.socket), str(self.file),
            *(["--bridge"] if self.bridge else []),
        ]  # fmt: skip
        process = self._process = start_program(command, "the DbgPrint reader", stdin=PIPE)
        self.pid = process.pid
        assert process.stdout is not None
        words = b""
        poller = select.poll()
        poller.register(process.stdout, select.POLLIN)
        while not words.endswith(b"\n"):
            ready = poller.poll(deadline.remaining() * 1000)
            data = os.read(process.stdout.fileno(), 4096) if ready else b""
            if not data:
                break
            words += data
        said = words.decode("utf-8", "replace").strip()
        if not said.startswith("ready"):
            self.close(deadline)
            raise InfrastructureError(
                f"the DbgPrint reader cannot serve {self.socket}: {said[-300:] or 'it said nothing in time'}",
                hint="The machine needs a serial port on a listening unix socket, and QEMU must run.",
            )
        self.port = int(said.split()[1]) if self.bridge else 0

    def close(self, deadline: Deadline) -> None:
        """Let the process read the remaining data, write its account, and end. A second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        end_program(process, patience=max(0.1, deadline.remaining()))


class PortLog:
    """Turns the reader's file, in pieces of any size, into records with the time at which the reader received them.

    Driver lines become driver records of channel ``dbgprint``. An exception becomes a console record of a crash, an
    assertion's prompt one of a warning. Other output is counted, and stays in the file.
    """

    def __init__(self) -> None:
        self.stop: Stop | None = None
        self.account_of_reader: ReaderAccount | None = None
        self._lines = DebugPortDecoder(channel="dbgprint")
        self._rest = b""
        self._damaged = 0
        self._middle = False

    def feed(self, data: bytes) -> Iterator[tuple[int, Record]]:
        """Yield ``host_ns`` and record for everything that ``data`` completes and that is worth one."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_ENTRY:
            self._damaged += 1
            self._rest = b""
        for line in lines:
            if not line:
                continue
            try:
                found = entry.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._damaged += 1
                continue
            for record in self._records(found.what):
                yield found.ns, record

    def finish(self) -> None:
        """Record that nothing more will be appended: an unfinished entry is damaged."""
        self._damaged += bool(self._rest)
        self._rest = b""
        self._lines.finish()

    def account(self, *, closed: bool = False) -> Channel:
        """Return the counts so far. Events that the reader had to drop count as lost."""
        found = self._lines.account(closed=closed)
        dropped = self.account_of_reader.dropped if self.account_of_reader else 0
        return msgspec.structs.replace(found, lost=found.lost + dropped, torn=found.torn + self._damaged)

    def _records(self, what: object) -> Iterator[Record]:
        match what:
            case Print(text=text):
                data = text.encode("latin-1", "replace")
                if data.startswith(_OURS) and self._middle:
                    # Another driver's text without an end of line: the line is a call of its own and begins here.
                    data = b"\n" + data
                self._middle = not data.endswith(b"\n") if data else self._middle
                yield from self._lines.feed(data)
            case Began():
                yield GuestEvent(event="kd", detail="the target began a conversation with the debugger")
            case Prompt(text=text, answer=answer):
                yield Console(
                    text=f"asked the debugger {text.strip()[:500]!r}, answered {answer!r}", severity="warning"
                )
            case Stop():
                self.stop = what
                why = f"bug check {what.bug_check}" if what.bug_check else f"exception {what.code:#010x}"
                yield Console(
                    text=f"{why} at {what.address:#x} on processor {what.processor}: stopped in the debugger",
                    severity="crash",
                )
            case ReaderAccount():
                self.account_of_reader = what
