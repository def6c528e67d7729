# SPDX-License-Identifier: MIT
"""Capture of one machine: its debug port, console and debugger's port, from process start, into the history."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harness.capture.dbgprint.channel import DebuggerChannel
from harness.capture.live.budget import RunBudget
from harness.capture.live.channel_limits import ChannelLimits
from harness.capture.live.console import ConsoleWatch
from harness.capture.live.debugcon import DebugPortDecoder
from harness.capture.live.follower import Follower
from harness.deadline import Deadline
from harness.errors import HarnessError
from harness.history.driver import DriverRecord, Hello
from harness.history.record import Channel, Clock, Console, Stage
from harness.history.writer import HistoryWriter

if TYPE_CHECKING:
    from harness.capture.mapping.driver_map import DriverMap


class Capture:
    """Follows a started machine's files. Leaving it writes each channel's closing account.

    ``drain`` puts everything written so far into the history before it returns. With ``kd``, the socket of the kernel
    debugger's port, a reader listens there too, and its output is kept in ``directory``. ``resumed`` says that the guest
    was restored from a snapshot, so that the numbers of its events need not begin at 1.

    Every channel has a ``budget``. The console has an account only if it was cut. ``control`` has none either: the guest
    writes its records as long as :meth:`~harness.capture.live.budget.ChannelBudget.admit` allows it. ``log`` is QEMU's own
    log, which is kept within bounds and not read.
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
        budget: RunBudget | None = None,
        log: Path | None = None,
    ) -> None:
        self.console = ConsoleWatch()
        self.debug_port = DebugPortDecoder()
        if mapped is not None:
            from harness.capture.live.event_lines import EventLines

            self.debug_port = EventLines(mapped, resumed=resumed)
        self._writer = writer
        self._clocks: set[str] = set()
        self._follower = Follower()
        self.budget = budget = budget or RunBudget(ChannelLimits())
        self._of_port = budget.channel(self.debug_port.account().name, debugcon)
        self._of_console = budget.channel("console", console)
        self.control = budget.channel("control")
        self._of_log = budget.channel("qemu.log", log)
        self._follower.add(debugcon, self._driver, budget=self._of_port)
        self._follower.add(console, self._take_console, settle=self._settle_console, budget=self._of_console)
        if log is not None:
            self._follower.add(log, None, budget=self._of_log)
        self.debugger = (
            DebuggerChannel(kd, directory or debugcon.parent, writer, self._follower, budget) if kd else None
        )

    def __enter__(self) -> Self:
        try:
            if self.debugger is not None:
                self.debugger.start(Deadline(30, "listen on the kernel debugger's port"))
            self._follower.start()
        except BaseException:
            # Nobody leaves what was not entered: the reader's process and the descriptors would stay.
            with contextlib.suppress(HarnessError, OSError):
                self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.debugger is not None:
                self.debugger.end()
            self._follower.close()
            self.debug_port.finish()
        finally:
            for account in self._accounts():
                self._writer.write(account)
            if self._of_log.cut:
                self._writer.write(
                    Stage(name="qemu", phase="note", detail=f"qemu.log was cut: {self._of_log.cut}")
                )
            if self.debugger is not None:
                self.debugger.close()

    def drain(self) -> None:
        """Put everything the guest has written so far into the history."""
        self._follower.drain()

    def accounts(self) -> list[Channel]:
        """Return the accounts with which the channels would close now, [] if one of them is known only at its end."""
        if self.debugger is not None:
            return []
        self.drain()
        return self._accounts()

    def _accounts(self) -> list[Channel]:
        """Return the accounts of the debug port, and of the console and the control channel if they were cut."""
        port = self._of_port.account(
            self.debug_port.account(closed=True), driver_records=self._of_port.records
        )
        cut = [one for one in (self._of_console, self.control) if one.cut]
        return [port, *(one.account(Channel(name=one.name, records=0), driver_records=0) for one in cut)]

    def check(self) -> None:
        """Raise the error that stopped the capture, if any: InfrastructureError for a full disk."""
        self._follower.check()

    def _driver(self, data: bytes) -> None:
        if self._of_port.left_out:
            return
        for record in self.debug_port.feed(data):
            if isinstance(record, DriverRecord) and not self._of_port.admit():
                return
            self._writer.write(record)
            if isinstance(record, Hello) and record.boot not in self._clocks and len(self._clocks) < 10_000:
                self._clocks.add(record.boot)
                self._writer.write(Clock(domain=f"qpc/{record.boot}", hz=record.hz))

    def _take_console(self, data: bytes) -> None:
        for record in self.console.feed(data):
            self._tell(record)

    def _settle_console(self) -> bool:
        for record in self.console.settle():
            self._tell(record)
        return self.console.waits

    def _tell(self, record: Console) -> None:
        if self._of_console.admit():
            self._writer.write(record)
