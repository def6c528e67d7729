# SPDX-License-Identifier: MIT
"""Capture of one machine: its debug port, console and debugger's port, from process start, into the history."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from harness.capture.dbgprint.channel import DebuggerChannel
from harness.capture.live.console import ConsoleWatch
from harness.capture.live.debugcon import DebugPortDecoder
from harness.capture.live.event_lines import EventLines
from harness.capture.live.follower import Follower
from harness.capture.mapping.driver_map import DriverMap
from harness.deadline import Deadline
from harness.history.driver import Hello
from harness.history.record import Clock
from harness.history.writer import HistoryWriter


class Capture:
    """Follows a started machine's files. Leaving it writes each channel's closing account.

    ``drain`` puts everything written so far into the history before it returns. With ``kd``, the socket of the kernel
    debugger's port, somebody listens there too; what was heard is kept in ``directory``. ``resumed`` says that the guest
    was restored from a snapshot, so that the numbers of its events need not begin at 1.
    """

    def __init__(
        self,
        *,
        debugcon: Path,
        console: Path,
        writer: HistoryWriter,
        kd: Path | None = None,
        directory: Path | None = None,
        mapped: DriverMap | None = None,
        resumed: bool = False,
    ) -> None:
        self.console = ConsoleWatch()
        self.debug_port: DebugPortDecoder | EventLines = (
            DebugPortDecoder() if mapped is None else EventLines(mapped, resumed=resumed)
        )
        self._writer = writer
        self._clocks: set[str] = set()
        self._follower = Follower()
        self._follower.add(debugcon, self._driver)
        self._follower.add(console, self._console)
        self.debugger = (
            DebuggerChannel(kd, directory or debugcon.parent, writer, self._follower) if kd else None
        )

    def __enter__(self) -> Self:
        if self.debugger is not None:
            self.debugger.start(Deadline(30, "listen on the kernel debugger's port"))
        self._follower.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.debugger is not None:
                self.debugger.end()
            self._follower.close()
            self.debug_port.finish()
        finally:
            self._writer.write(self.debug_port.account(closed=True))
            if self.debugger is not None:
                self.debugger.close()

    def drain(self) -> None:
        """Put everything the guest has written so far into the history."""
        self._follower.drain()

    def _driver(self, data: bytes) -> None:
        for record in self.debug_port.feed(data):
            self._writer.write(record)
            if isinstance(record, Hello) and record.boot not in self._clocks and len(self._clocks) < 10_000:
                self._clocks.add(record.boot)
                self._writer.write(Clock(domain=f"qpc/{record.boot}", hz=record.hz))

    def _console(self, data: bytes) -> None:
        for record in self.console.feed(data):
            self._writer.write(record)
