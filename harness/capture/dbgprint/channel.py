# SPDX-License-Identifier: MIT
"""The kernel debugger's port of one machine as a channel of its run: the reader's process and its file in the history."""

from __future__ import annotations

from pathlib import Path

from harness.capture.dbgprint.message import Stop
from harness.capture.dbgprint.reader import PortLog, PortReader
from harness.capture.live.budget import RunBudget
from harness.capture.live.follower import Follower
from harness.deadline import Deadline
from harness.history.driver import DriverRecord
from harness.history.writer import HistoryWriter

FILE = "dbgprint.jsonl"
"""The reader's file in the run directory."""

ENDS = 5.0
"""Seconds that the reader gets to read the remaining data."""


class DebuggerChannel:
    """Serves the port ``socket`` of a machine that is started and not yet running, and records what drivers print.

    The reader's file is in ``directory``. ``follower`` follows it, and the records are written on its thread.
    Call :meth:`start` before the guest runs, :meth:`end` before the follower is closed and :meth:`close` after it.
    """

    def __init__(
        self, socket: Path, directory: Path, writer: HistoryWriter, follower: Follower, budget: RunBudget
    ) -> None:
        self._reader = PortReader(socket, directory / FILE)
        self._log = PortLog()
        self._writer = writer
        self._driver_records = 0
        self._budget = budget.channel("dbgprint", self._reader.file)
        follower.add(self._reader.file, self._write, budget=self._budget)

    @property
    def stop(self) -> Stop | None:
        """The exception in which the guest stopped, or None."""
        return self._log.stop

    def start(self, deadline: Deadline) -> None:
        """Connect to the port. Raises InfrastructureError."""
        self._reader.start(deadline)

    def end(self) -> None:
        """Make the reader write the remaining events and its account."""
        self._reader.close(Deadline(ENDS, "end of the DbgPrint reader"))

    def close(self) -> None:
        """Write the channel's account into the history."""
        self._log.finish()
        account = self._log.account(closed=self._log.account_of_reader is not None)
        self._writer.write(self._budget.account(account, driver_records=self._driver_records))

    def _write(self, data: bytes) -> None:
        if self._budget.left_out:
            return
        for host_ns, record in self._log.feed(data):
            if not self._budget.admit():
                return
            self._driver_records += isinstance(record, DriverRecord)
            self._writer.write(record, host_ns=host_ns)
