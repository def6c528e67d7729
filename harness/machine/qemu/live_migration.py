# SPDX-License-Identifier: MIT
"""Live migration: a running guest continues in another QEMU on this host, or stays where it is.

The other QEMU is started with the same versioned machine type and with every device that the machine has at that moment,
including hot-added ones (QEMU: docs/devel/migration/main.rst, "the destination must be started with the same devices").
It waits for the state on a socket of its own. It appends to the same files, so that none of the guest's output is lost
or doubled.

They never both run the guest: the old QEMU is ended before the new one resumes the guest. Until then every failure, and
a cancellation, leaves the guest where it was.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import CommandRefused, HarnessError, InfrastructureError
from harness.history.record import Migration
from harness.history.writer import HistoryWriter
from harness.interrupts import uninterrupted
from harness.machine.attachments import Network
from harness.machine.forwards import forwarded_ports
from harness.machine.migration_state import AwaitedState
from harness.machine.qemu.machine import QemuMachine

SLOW = 1 << 12
"""Bytes a second at which no guest's memory is ever sent completely, so that something can be done meanwhile."""

FAST = 1 << 40
"""Bytes a second: no limit."""

LOOK = 0.02
"""Seconds between two checks of its progress."""

GO_ON = 30.0
"""Seconds for the old QEMU to resume the guest when the migration failed."""

OVER = ("none", "completed", "failed", "cancelled")
"""The states of ``query-migrate`` without a migration under way (QEMU: qapi/migration.json, MigrationStatus)."""


class MigrationFailed(InfrastructureError):
    """The guest was not moved: it continues in its QEMU."""


class LiveMigration:
    """One migration of ``machine``'s guest to the QEMU program ``qemu``, the same one if None.

    ``board`` is another machine type for the new QEMU, which must then refuse the state; "" for that of the guest. The
    steps are written into the history. Call :meth:`begin`, then :meth:`finish`; :meth:`close` gives up in any case.
    """

    def __init__(
        self, machine: QemuMachine, writer: HistoryWriter, *, qemu: Path | None = None, board: str = ""
    ) -> None:
        self._machine = machine
        self._writer = writer
        self._qemu = qemu or machine.spec.qemu
        self._board = board
        self._other: QemuMachine | None = None
        self._ran = self._cancelled = False
        self._network: Network | None = None
        self._ports: dict[int, int] = {}
        self._source = self._target = 0

    @property
    def target(self) -> int:
        """The process number of the new QEMU."""
        return self._target

    def begin(self, deadline: Deadline, *, slow: bool = False) -> None:
        """Start the other QEMU and begin to send it the state. With ``slow`` the transfer never ends by itself.

        Raises MigrationFailed.
        """
        machine = self._machine
        self._ran = machine.run_state(deadline).running
        self._source = machine.pid
        board = self._board or board_of(machine, deadline)
        guid = ""
        if machine.spec.generation_id:
            guid = str(machine.execute("query-vm-generation-id", deadline)["guid"])
        self._network = machine.spec.network
        self._ports = forwarded_ports(machine, deadline) if self._network is not None else {}
        unforwarded = self._network and msgspec.structs.replace(self._network, forwards=())
        spec = msgspec.structs.replace(
            machine.spec,
            network=unforwarded,
            qemu=self._qemu,
            machine="".join((board, *machine.spec.machine.partition(",")[1:])),
            incoming=AwaitedState(),
            added=tuple(machine.added(deadline)),
            generation=guid,
        )
        other = self._other = machine.beside(spec)
        try:
            other.start(deadline)
            self._target = other.pid
            self._tell("begin", f"{spec.qemu}, machine type {board}")
            uri = f"unix:{other.socket('migration')}"
            other.execute("migrate-incoming", deadline, uri=uri)
            self._pace(SLOW if slow else FAST, deadline)
            machine.execute("migrate", deadline, uri=uri)
        except HarnessError as error:
            raise self._stays(error.message) from error

    def finish(self, deadline: Deadline, follow: Callable[[Path], None]) -> None:
        """Wait until the other QEMU has the state, end the old one, and resume the guest, if it ran.

        ``follow`` is called before the old one ends with the new one's control socket. Raises MigrationFailed.
        """
        machine, other = self._machine, self._other
        if other is None:
            raise MigrationFailed(f"the guest of machine {machine.name!r} is not being moved")
        try:
            state = machine.run_state(deadline).status
            if state in ("running", "paused"):
                # It may have been paused, or resumed, since this began.
                self._ran = state == "running"
            self._pace(FAST, deadline)
            self._sent(deadline)
            deadline.poll(lambda: other.run_state(deadline).status != "inmigrate", interval=LOOK)
            follow(other.control)
        except HarnessError as error:
            raise self._stays(error.message) from error
        with uninterrupted():
            machine.exchange(other)
            self._other = None
            other.close()
            self._tell("moved")
        self._forward(deadline)
        if self._ran:
            machine.resume(deadline)

    def cancel(self, deadline: Deadline) -> None:
        """Ask the old QEMU to cancel it (``migrate_cancel``); :meth:`finish` then reports that the guest stays."""
        self._cancelled = True
        self._machine.execute("migrate_cancel", deadline)

    def kill(self) -> None:
        """Kill the new QEMU, as the kernel does when the host runs out of memory."""
        if self._other is not None and self._other.alive():
            os.kill(self._other.pid, signal.SIGKILL)

    def close(self) -> None:
        """Give up, if it is still under way. The machine's own end decides what happens to the guest."""
        other, self._other = self._other, None
        if other is not None:
            other.close()
            with contextlib.suppress(InfrastructureError):
                self._tell("stayed", "it was given up")

    def _forward(self, deadline: Deadline) -> None:
        """Make the new QEMU forward the same ports of this host as the old one. They are free now."""
        machine = self._machine
        for port in self._network.forwards if self._network is not None else ():
            words = f"hostfwd_add net0 tcp:127.0.0.1:{self._ports[port]}-:{port}"
            machine.execute("human-monitor-command", deadline, **{"command-line": words})
        machine.spec = msgspec.structs.replace(machine.spec, network=self._network)
        if self._network is not None:
            forwarded_ports(machine, deadline)

    def _pace(self, bandwidth: int, deadline: Deadline) -> None:
        self._machine.execute("migrate-set-parameters", deadline, **{"max-bandwidth": bandwidth})

    def _sent(self, deadline: Deadline) -> None:
        """Wait until the state is sent. Raises MigrationFailed with QEMU's words."""

        def over() -> bool:
            found.update(self._machine.execute("query-migrate", deadline))
            return found.get("status", "none") in OVER

        found: dict[str, str] = {}
        deadline.poll(
            over,
            interval=LOOK,
            error=lambda: MigrationFailed(
                f"the state was not sent within {deadline.seconds:.3g} s",
                hint="timeout = SECONDS in the plan gives it more. A guest that writes its memory all the time may never be sent.",
            ),
        )
        if found["status"] != "completed":
            why = found.get("error-desc") or f"QEMU says {found['status']}"
            # QEMU 10 may report what broke off when it was cancelled, and not that it was.
            raise MigrationFailed(f"it was cancelled: {why}" if self._cancelled else why)

    def _stays(self, why: str) -> MigrationFailed:
        """End the other QEMU and resume the guest where it was; return what to raise."""
        machine, other, self._other = self._machine, self._other, None
        said = ""
        if other is not None:
            other.close()
            lines = [line for line in other.words().splitlines() if "warning:" not in line]
            said = "; ".join(line.partition(": ")[2] or line for line in lines[-2:])
        deadline = Deadline(GO_ON, "go on where it was")
        words = f"{why}; the other QEMU said: {said}" if said and said not in why else why
        try:
            with contextlib.suppress(CommandRefused):
                machine.execute("migrate_cancel", deadline)
            deadline.poll(
                lambda: machine.execute("query-migrate", deadline).get("status", "none") in OVER,
                interval=LOOK,
            )
            if self._ran and not machine.run_state(deadline).running:
                machine.resume(deadline)
        except HarnessError as error:
            self._tell("stayed", f"{words}; and it could not be resumed there: {error.message}")
            raise
        self._tell("stayed", words)
        return MigrationFailed(
            f"the guest was not moved: {words}",
            hint=f"It continues in process {machine.pid}. The other QEMU's output is in {other.log if other else machine.log}.",
        )

    def _tell(self, phase: str, detail: str = "") -> None:
        self._writer.write(
            Migration(
                phase=phase,  # type: ignore[arg-type]
                source=self._source,
                target=self._target,
                detail=detail[:1000],
            )
        )


def board_of(machine: QemuMachine, deadline: Deadline) -> str:
    """Return the versioned machine type of a running machine. An alias may mean another type to another QEMU."""
    kind = str(machine.execute("qom-get", deadline, path="/machine", property="type"))
    return kind.removesuffix("-machine")


def another_board(machine: QemuMachine, deadline: Deadline) -> str:
    """Return another version of the machine's type that QEMU also knows."""
    here = board_of(machine, deadline)
    family = here.rpartition("-")[0]
    known = sorted(
        row["name"]
        for row in machine.execute("query-machines", deadline)
        if row["name"].rpartition("-")[0] == family and row["name"] != here
    )
    if not known:
        raise MigrationFailed(f"QEMU knows no other version of the machine type {here}")
    return str(known[-1])
