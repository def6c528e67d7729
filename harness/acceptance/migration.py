# SPDX-License-Identifier: MIT
"""The case in which a machine moves to another QEMU while an add is pending: the notifications afterwards."""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from pathlib import Path

import msgspec

from harness.acceptance.case import Case
from harness.acceptance.result import EXIT_CODES, CaseOutcome, CaseResult, result_of
from harness.capture.live.session import Capture
from harness.deadline import Deadline
from harness.errors import GuestHang
from harness.guest.bootable import GuestOptions, OutsideSigns
from harness.guest.guest_types import GUEST_TYPES
from harness.history import driver as d
from harness.history.reader import History
from harness.history.record import GuestEvent, Record
from harness.history.writer import HistoryWriter
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine
from harness.machine.snapshot import MEMORY, MachineSnapshot, restored
from harness.run.ready_snapshot import keep_disks
from harness.run.request import RunRequest
from harness.run.run import Run

SAVE = 300.0
"""Seconds that saving and restoring may take."""

PLACE = "moved"
"""The second machine's folder in the run directory; the migration state is in ``state`` beside it."""


class _Told:
    """The driver's processor notifications since the take-over, by state and number."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[int, int]] = Counter()

    def see(self, record: Record) -> None:
        """Listen to the history."""
        if isinstance(record, d.SyncEnter):
            self.calls[record.state, record.nt] += 1

    def sentence(self) -> str:
        """Say it."""
        parts = [
            f"{count} {d.STATE_NAMES.get(state, str(state))} of processor {nt}"
            for (state, nt), count in sorted(self.calls.items())
        ]
        return f"after the take-over the driver was told: {', '.join(parts) or 'nothing'}"


def migrate(case: Case, request: RunRequest) -> CaseResult:
    """Run the case's operations, save, restore, and check that the pending processor is announced exactly once.

    The first machine's history is the run's; that of the second is in ``moved/`` in its directory. It is not
    judged by the rules, because the host's commands are in the first.
    """
    run = Run(request)
    taken_over: tuple[list[str], list[str]] | None = None

    def work() -> None:
        nonlocal taken_over
        try:
            taken_over = _take_over(run, *_save(case, run))
        finally:
            with contextlib.suppress(OSError):
                (run.directory.path / "state" / MEMORY).unlink()

    found = result_of(case, request.guest, run.judged_after(work))
    if taken_over is None:
        return found
    seen, why = taken_over
    outcome = CaseOutcome.FAILED if why else CaseOutcome.PASSED
    return msgspec.structs.replace(found, outcome=outcome, why=why, seen=seen, exit_code=EXIT_CODES[outcome])


def _save(case: Case, run: Run) -> tuple[MachineSnapshot, MachineSpec, int]:
    """Execute the operations and save; return the state, its machine, and the guest's count of processors."""
    place = run.directory.path / "state"
    with run.live() as live:
        if not isinstance(live.machine, QemuMachine):
            raise GuestHang("a machine of this backend cannot be taken over", hint="Use --backend qemu.")
        before = live.guest.counts(Deadline(60, "count before the save")).processors
        for operation in case.do:
            live.executor.step(operation)
        place.mkdir(mode=0o700)
        memory, added = live.machine.save(place / MEMORY, Deadline(SAVE, "save with an add pending"))
        spec = live.machine.spec
    keep_disks(spec, place)
    said = [(one.event, one.detail) for one in History(run.directory.path) if isinstance(one, GuestEvent)]
    state = MachineSnapshot(digest="", directory=str(place), mapped=memory.mapped, added=added, said=said)
    return state, spec, before


def _take_over(
    run: Run, state: MachineSnapshot, spec: MachineSpec, before: int
) -> tuple[list[str], list[str]]:
    """Restore the state and wait for the processor; return what was seen, and what is wrong."""
    request = run.request
    place = run.directory.path / PLACE
    place.mkdir(mode=0o700)
    deadline = Deadline(SAVE + request.budget.boot, "go on after the take-over")
    guest_type = GUEST_TYPES[request.guest]
    spec = restored(spec, state, place, deadline)
    options = GuestOptions(
        spec=spec,
        cache=request.cache,
        directory=place,
        driver=Path(request.driver) if request.driver else None,
    )
    told = _Told()
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(HistoryWriter(place))
        writer.subscribe(told.see)
        machine = stack.enter_context(QemuMachine(spec, place, writer, name=f"{run.directory.name}-moved"))
        machine.start(deadline)
        capture = stack.enter_context(
            Capture(debugcon=machine.debugcon, console=machine.console, writer=writer, resumed=True)
        )
        guest = guest_type.attach(machine, writer, OutsideSigns(), options)
        stack.callback(guest.close)
        machine.resume(deadline)
        guest.revive(state.said, secrets.token_hex(8), deadline)
        deadline.poll(
            lambda: guest.counts(deadline).processors > before,
            interval=0.1,
            error=lambda: GuestHang("the processor whose arrival was pending never came"),
        )
        deadline.poll(lambda: any(state == d.COMPLETE for state, _nt in told.calls), interval=0.05)
        guest.prove_alive(secrets.token_hex(8), deadline)
        capture.drain()
        counted = guest.counts(deadline).processors
    wrong = [
        f"{count} {d.STATE_NAMES.get(state, str(state))} of processor {nt}, not one"
        for (state, nt), count in told.calls.items()
        if count != 1
    ]
    states = sorted(state for state, _nt in told.calls)
    if states != sorted((d.START, d.COMPLETE)):
        wrong.append("not exactly one Start and one Complete came")
    if counted != before + 1:
        wrong.append(f"the guest counted {before} processors before and {counted} afterwards")
    return [told.sentence(), f"the guest counts {counted} processors, {before} before"], wrong
