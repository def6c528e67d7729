# SPDX-License-Identifier: MIT
"""The migrations of a run: the guest goes on in another QEMU, or stays where it is if that fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import InfrastructureError, UsageError
from harness.guest.bootable import cannot_show
from harness.guest.guest import Guest
from harness.history.record import Stage
from harness.history.writer import HistoryWriter
from harness.host.qemu_build import find_qemu
from harness.machine.machine import Machine
from harness.machine.qemu.live_migration import LiveMigration, MigrationFailed, another_board
from harness.machine.qemu.machine import QemuMachine
from harness.run import operation as op
from harness.run.rehearsal import UNMOVED
from harness.run.rest import Rest


@dataclass(eq=False)
class Migrations:
    """The migration under way, if any. ``process``: the machine is a process, which cannot be moved.

    ``bracket`` brackets the guest's counter, which may have stopped while the guest did.
    """

    machine: Machine
    guest: Guest
    writer: HistoryWriter
    rest: Rest
    process: bool
    bracket: Callable[[], None]
    _migration: LiveMigration | None = None
    _unbracketed: bool = False

    @property
    def under_way(self) -> bool:
        """Whether a guest is on its way."""
        return self._migration is not None

    def close(self) -> None:
        """Give up the migration under way."""
        if self._migration is not None:
            self._migration.close()

    def resumed(self, deadline: Deadline) -> None:
        """Make good what could not be done while the guest that was moved stayed paused."""
        if self._unbracketed:
            self._go_on(deadline)

    def begin(self, operation: op.Migrate, deadline: Deadline) -> str:
        """Move the guest, or only begin to, as the plan says; return the detail for the record.

        Raises UsageError and GuestRefused for a guest that cannot be moved, MigrationFailed if it stays unexpectedly.
        """
        machine = self.machine
        if not isinstance(machine, QemuMachine):
            raise cannot_show(self.guest.label, "a migration") if self.process else _unmoved("libvirt")
        if machine.kd is not None:
            raise _unmoved("kd")
        if self._migration is not None:
            raise UsageError("the guest is being migrated already", hint="Do a 'settle' first.")
        self.rest.drain()
        if not machine.paused_here:
            self.bracket()
        board = another_board(machine, deadline) if operation.fail == "other-machine" else ""
        qemu = find_qemu(operation.qemu, deadline).path if operation.qemu else None
        self._migration = LiveMigration(machine, self.writer, qemu=qemu, board=board)
        slow = not operation.settle or operation.fail in ("target-killed", "cancelled")
        self._migration.begin(deadline, slow=slow)
        if operation.fail == "target-killed":
            self._migration.kill()
        if operation.fail == "cancelled":
            self._migration.cancel(deadline)
        if operation.fail:
            return self._fail(deadline)
        if not operation.settle:
            return f"on the way to process {self._migration.target}"
        return self.end(deadline)

    def end(self, deadline: Deadline) -> str:
        """Wait until the guest runs in the other QEMU. Raises MigrationFailed if it stays where it is."""
        migration, self._migration = self._migration, None
        assert migration is not None
        began = time.monotonic()
        migration.finish(deadline, lambda control: self.guest.follow(control, deadline))
        if self.machine.human is not None:
            said = f"a monitor for you: socat -,rawer UNIX-CONNECT:{self.machine.human}"
            self.writer.write(Stage(name="qemu", phase="note", detail=said))
        self._go_on(deadline)
        return f"moved to process {migration.target} within {time.monotonic() - began:.1f} s"

    def _fail(self, deadline: Deadline) -> str:
        """Check that a migration that is to fail does, and that the guest continues where it was."""
        try:
            said = self.end(deadline)
        except MigrationFailed as error:
            self._go_on(deadline)
            return f"failed, as asked for: {error.message}"
        raise InfrastructureError(f"the migration that was to fail did not: {said}")

    def _go_on(self, deadline: Deadline) -> None:
        """Check that the guest runs, and bracket its counter again: while the guest was stopped it may have stopped too."""
        self._unbracketed = getattr(self.machine, "paused_here", False)
        if not self._unbracketed:
            self.guest.prove_alive(self.rest.nonce(), deadline)
            self.bracket()


def _unmoved(where: str) -> UsageError:
    why, hint = UNMOVED[where]
    return UsageError(f"the guest cannot be migrated: {why}", hint=hint)
