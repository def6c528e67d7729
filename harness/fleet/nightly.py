# SPDX-License-Identifier: MIT
"""Executes a nightly run on a fleet: each cell on a host that can run it, counted exactly once.

The journal, which is the nightly run's state, decides: a cell has ended when its outcome is in it, whatever the
scheduler and the hosts report. An attempt counts while it is under way here. An attempt that was abandoned, because
its host was lost or it took too long, no longer counts. Its records are kept beside the run that counts, as an earlier
attempt of the cell.

An attempt whose infrastructure failed is repeated once, on another host if one can run it.
"""

from __future__ import annotations

import hashlib
import itertools
import time

import msgspec

from harness.deadline import Deadline
from harness.errors import ExitCode, FailureClass, InfrastructureError, UsageError
from harness.fleet.attempt import FleetAttempt
from harness.fleet.attempt_records import AttemptRecords, run_name
from harness.fleet.engine import EndedOrder, Engine, engine_version, reachable
from harness.fleet.order import (
    LONGEST_REASON,
    AttemptReport,
    CellOrder,
    NightlyNote,
    PlacedCell,
    WaitingCell,
    check_report,
    decode,
    encode,
)
from harness.fleet.placement import CellPlacement, FleetHost, SayHint, hosted, table
from harness.fleet.results_place import DamagedAttempt
from harness.fleet.scheduler_probe import SchedulerLost
from harness.fleet.tls import TlsFiles
from harness.host.end_time import shown
from harness.interrupts import uninterrupted
from harness.invocation import invocation
from harness.lab.matrix import Matrix
from harness.lab.nightly_pass import NightlyPass, PassOptions, QueuedCell
from harness.lab.nightly_state import CellOutcome, NightlyState
from harness.run.failure import ATTEMPTS

TICK = 0.5
"""Seconds between two checks of the time while nothing happens."""
MOST_KEPT = 100
"""The most run directories that one cell's outcome names."""
LOOK_S = 2.0
"""Seconds between two checks of the hosts."""
MOST_WAITING = 20
"""The most waiting cells that the scheduler is given, for ``harness fleet``."""


class FleetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet settings of a nightly run: the scheduler, TLS and the exchange. ``wait`` is in seconds, for a host or
    a lost scheduler. ``hold`` is how long, in seconds, a host that refused an order gets none.

    ``harness`` is the version that all hosts must have.
    """

    scheduler: str
    tls: TlsFiles | None
    results: str
    harness: str
    wait: float = 600.0
    hold: float = 15.0


class FleetNightly(NightlyPass):
    """One pass over the remaining cells of a nightly run, on a fleet. It is used like
    :class:`harness.lab.nightly.Nightly`.

    ``say`` gets messages about hosts, with a hint.
    """

    def __init__(
        self,
        matrix: Matrix,
        state: NightlyState,
        options: PassOptions,
        settings: FleetSettings,
        *,
        say: SayHint = lambda _, __: None,
    ) -> None:
        super().__init__(matrix, state, options)
        self._settings = settings
        self._say = say
        self._attempts: dict[str, FleetAttempt] = {}
        self._cells = {cell.id: cell for cell in matrix.cells}
        self._nightly = hashlib.sha256(msgspec.json.encode(state.head)).hexdigest()[:20]
        self._records = AttemptRecords(
            settings.results, self._nightly, state.directory, wait=settings.wait, say=say, tick=self._tick
        )
        self._placement = CellPlacement(
            matrix, results=settings.results, parallel=self.parallel, harness=settings.harness, engine=engine_version(),
            hold=settings.hold, say=say,
        )  # fmt: skip
        self._looked = self._noted = 0.0
        self._drained: set[str] = set()
        self._told: set[str] = set()
        self._able = time.monotonic()

    @property
    def running(self) -> list[FleetAttempt]:
        """The attempts that are under way."""
        return list(self._attempts.values())

    @property
    def _slots(self) -> int:
        return self.parallel * len(self._placement.hosts)

    def run(self) -> None:
        """Run until all cells have ended, or none of the rest is expected to end in time.

        Raises UsageError if no host can run a cell. Raises InfrastructureError if the scheduler, the hosts or the
        exchange stay unreachable for too long. Raises KeyboardInterrupt after the attempts under way were cancelled.
        The journal keeps its outcomes.
        """
        self._records.check()
        self._sweep()
        if not self._queue:
            return
        engine = Engine.connect(self._settings.scheduler, self._settings.tls)
        try:
            self._begin(engine)
            while self._queue or self._attempts:
                try:
                    self._look(engine)
                    self._start(engine)
                    if not self._attempts and self._queue and self._out_of_time():
                        self._state.out_of_time = f"not enough time before {shown(self.until or 0)}"
                        break
                    for ended in engine.ended(TICK):
                        self._over(engine, ended)
                    for name in engine.begun():
                        if name in self._attempts:
                            self._attempts[name].begin()
                    self._end_late(engine)
                    self._publish(engine)
                except SchedulerLost as error:
                    engine = self._again(engine, error)
                self._tick()
        finally:
            self.ending = bool(self._attempts)
            with uninterrupted():
                self._publish_end(engine)
                engine.close()
        self._sweep()
        self._records.close()

    # -- hosts

    def _begin(self, engine: Engine) -> None:
        """Wait for a host. Check that each cell has a host that can run it."""
        deadline = Deadline(self._settings.wait, "wait for a host")

        def there() -> bool:
            self._placement.look(engine)
            if self._placement.refused and not self._placement.hosts:
                raise self._nobody("and all connected hosts are left out")
            return bool(self._placement.hosts)

        if not there():
            self._say(
                f"no host is connected to {self._settings.scheduler} yet",
                f"Waits {self._settings.wait:g} s for one. On each host: "
                + invocation("worker", "--scheduler", self._settings.scheduler),
            )
        deadline.poll(there, interval=1.0, error=lambda: self._nobody(f"within {self._settings.wait:g} s"))
        machines = dict.fromkeys(one.cell.machine for one in self._queue)
        unable = [
            machine for machine in machines
            if all(self._placement.cannot(machine).values())
        ]  # fmt: skip
        if unable:
            cells = sum(one.cell.machine in unable for one in self._queue)
            lines = "\n".join(table(self._placement, unable))
            raise UsageError(
                f"no host of the fleet can run {cells} of {len(self._queue)} runs:\n{lines}",
                hint="Supply what is missing, or leave these runs out with [[skip]] or --only. Nothing was started.",
            )
        self._looked = time.monotonic()
        self._say_drained()

    def _nobody(self, when: str) -> InfrastructureError:
        left_out = "; ".join(
            f"{key.partition('|')[0]}: {why}" for key, why in self._placement.refused.items()
        )
        aside = "; ".join(f"{name} is set aside: {why}" for name, why in self._placement.aside.items())
        drained = ", ".join(sorted(self._placement.drained))
        return InfrastructureError(
            f"no host that can run the rest connected to {self._settings.scheduler}, {when}"
            + "".join(f". {text}" for text in (left_out, aside, drained and f"drained: {drained}") if text),
            hint="Start a worker on each host: "
            + invocation("worker", "--scheduler", self._settings.scheduler)
            + "\nThe same command then continues with the rest.",
        )

    def _look(self, engine: Engine) -> None:
        if time.monotonic() < self._looked + LOOK_S:
            return
        self._note_ending(engine)
        for host in self._placement.look(engine):
            self._lose_host(engine, host)
        self._looked = time.monotonic()
        self._say_drained()
        if self._attempts or any(self._placement.able(one.cell.machine) for one in self._queue):
            self._able = self._looked
        elif self._looked > self._able + self._settings.wait or self._all_aside():
            raise self._nobody("and none is left")

    def _note_ending(self, engine: Engine) -> None:
        """Note the workers that were told to end: they get no more orders, and their loss does not count as a failure of their hosts."""
        self._told.update(engine.ending())
        for host in self._placement.hosts.values():
            host.told = host.offered.session in self._told

    def _say_drained(self) -> None:
        """Report once that no host is usable because all are drained, and how that ends."""
        names = {host.name for host in self._placement.hosts.values()}
        drained = names if names and names <= self._placement.drained else set()
        if drained and drained != self._drained:
            self._say(
                f"no usable host: {', '.join(sorted(names))} {'are' if len(names) > 1 else 'is'} drained",
                f"Waits {self._settings.wait:g} s for a host. To use one again: "
                + invocation("fleet", "drain", min(names), "--undo", "--scheduler", self._settings.scheduler),
            )
        self._drained = drained

    def _all_aside(self) -> bool:
        hosts = [host.name for host in self._placement.hosts.values()]
        return bool(hosts) and all(name in self._placement.aside for name in hosts)

    def _again(self, engine: Engine, error: SchedulerLost) -> Engine:
        """Connect again after the scheduler was lost. The attempts under way are abandoned, and their hosts end
        them."""
        self._say(
            error.message, f"All records are kept. The connection is retried for {self._settings.wait:g} s."
        )
        for attempt in self.running:
            self._requeue(attempt)
        engine.close()
        self._placement.hosts.clear()
        found = reachable(
            self._settings.scheduler, self._settings.tls, Deadline(self._settings.wait, "reach the scheduler again"),
            self._tick,
        )  # fmt: skip
        self._say("the scheduler is reachable again: the nightly run continues", "")
        self._looked = 0.0
        self._able = time.monotonic()
        return found

    # -- cells

    def _out_of_time(self) -> bool:
        return not any(self._in_time(one.cell) for one in self._queue)

    def _start(self, engine: Engine) -> None:
        full: set[tuple[str, ...]] = set()
        for waiting in list(self._queue):
            cell = waiting.cell
            # Alike are cells that may go to the same hosts: a repeated one may not go where it failed.
            alike = (cell.point, *waiting.without)
            if alike in full or not self._in_time(cell):
                continue
            if (skipped := self._skipped(waiting)) is not None:
                self._queue.remove(waiting)
                self._settle(skipped)
                continue
            host = self._placement.choose(cell, waiting.without)
            if host is None:
                full.add(alike)
                continue
            self._send(engine, waiting, host)
            self._queue.remove(waiting)

    def _send(self, engine: Engine, waiting: QueuedCell, host: FleetHost) -> None:
        attempt = FleetAttempt(
            waiting.cell, waiting.number, waiting.runs, host, self._matrix.document.timeout
        )
        cell = waiting.cell
        asked = self._matrix.requests[cell.point]
        order = CellOrder(
            attempt=attempt.id,
            nightly=self._nightly,
            digest=self._matrix.digest,
            session=host.offered.session,
            cell=cell,
            plan=asked.text,
            # The nightly run repeats it itself, on another host.
            options=[word for word in hosted(asked.options.words()) if word != "--retry"],
            seconds=self._matrix.document.timeout,
            results=self._settings.results,
            number=attempt.number,
            retry_of=run_name(waiting.runs[-1]) if waiting.runs else "",
        )
        request = host.counted(self._placement.requests[cell.point])
        engine.send(
            attempt.id, encode(order), host.offered, {"vcpus": request.vcpus, "memory": request.memory}
        )
        host.running[attempt.id] = request
        self._attempts[attempt.id] = attempt

    def _over(self, engine: Engine, ended: EndedOrder) -> None:
        self._note_ending(engine)
        attempt = self._attempts.get(ended.attempt)
        if attempt is None:
            # The attempt was abandoned. The sweep at the end keeps its records.
            return
        host = attempt.host.name
        if ended.cancelled:
            self._placement.hold(host, "its order was cancelled at the scheduler")
            self._requeue(attempt)
            return
        if ended.lost:
            self._lose_host(engine, attempt.host)
            return
        if ended.answer is None:
            self._lose(attempt, f"host {host}: {ended.why}")
            return
        try:
            report: AttemptReport = decode(ended.answer, AttemptReport, whose=f"host {host}")
            check_report(report, attempt.id, attempt.cell)
        except InfrastructureError as error:
            self._lose(attempt, error.message)
            return
        if report.refused:
            self._placement.hold(host, report.refused)
            self._requeue(attempt)
            return
        if report.interrupted:
            self._placement.note_interrupted(attempt.host, attempt.id, report.ended[:LONGEST_REASON])
            self._abandon(attempt, f"host {host}: {report.ended}")
            return
        if report.unsent or report.outcome is None:
            self._lose(attempt, f"host {host}: {report.unsent or report.ended}")
            return
        try:
            note = self._records.note(attempt.id)
            outcome = self._records.received(note, msgspec.structs.replace(report.outcome, host=host))
        except DamagedAttempt as error:
            self._lose(attempt, f"host {host}: {error.message}")
            return
        self._forget(attempt)
        failed = report.again or outcome.code is ExitCode.INFRASTRUCTURE
        self._placement.note(host, outcome.reason or "it left no result" if failed else "")
        self._finish(attempt, outcome, failed=failed)

    def _finish(self, attempt: FleetAttempt, outcome: CellOutcome, *, failed: bool) -> None:
        outcome = msgspec.structs.replace(outcome, runs=[*attempt.runs, *outcome.runs])
        if failed and attempt.number < ATTEMPTS and outcome.failure_class != FailureClass.PLAN:
            self._queue.appendleft(
                QueuedCell(attempt.cell, attempt.number + 1, outcome.runs, [attempt.host.name])
            )
            return
        self._boots.note(outcome.boot)
        self._settle(outcome)

    def _lose_host(self, engine: Engine, host: FleetHost) -> None:
        """Abandon all attempts of a host whose worker was lost: those that it had begun, and those that were sent to it
        before that was noticed. This is one failure of the host, or none if the worker was told to end."""
        self._note_ending(engine)
        host.told = host.offered.session in self._told
        said = self._placement.note_lost(host)
        if said:
            self._state.lost_workers.append(said)
        for attempt in [one for one in self.running if one.host is host]:
            engine.cancel(attempt.id)
            self._abandon(attempt, f"host {host.name}: its worker was lost")

    def _lose(self, attempt: FleetAttempt, why: str) -> None:
        """Abandon an attempt without a result here, as an infrastructure failure of its host."""
        self._placement.note(attempt.host.name, why)
        self._abandon(attempt, why)

    def _abandon(self, attempt: FleetAttempt, why: str) -> None:
        self._forget(attempt)
        outcome = CellOutcome(
            cell=attempt.cell.id,
            state="done",
            exit_code=ExitCode.INFRASTRUCTURE,
            verdict="unknown",
            failure_class=FailureClass.INFRASTRUCTURE,
            reason=why[:1000],
            seconds=round(time.monotonic() - attempt.began, 1),
            host=attempt.host.name,
        )
        self._finish(attempt, outcome, failed=True)

    def _requeue(self, attempt: FleetAttempt) -> None:
        """Return a cell to the queue after an attempt that says nothing about its host."""
        self._forget(attempt)
        self._queue.appendleft(QueuedCell(attempt.cell, attempt.number, attempt.runs))

    def _forget(self, attempt: FleetAttempt) -> None:
        self._attempts.pop(attempt.id, None)
        attempt.host.running.pop(attempt.id, None)

    def _end_late(self, engine: Engine) -> None:
        for attempt in self.running:
            if time.monotonic() > attempt.ends:
                engine.cancel(attempt.id)
                self._lose(attempt, f"host {attempt.host.name} did not answer in time")

    def _record(self, outcome: CellOutcome) -> CellOutcome:
        """Record an outcome with the hosts of its run directories."""
        hosts = outcome.hosts | {
            name: self._records.hosts[name]
            for name in map(run_name, outcome.runs)
            if name in self._records.hosts
        }
        single = len(outcome.runs) < 2 and set(hosts.values()) <= {outcome.host}
        outcome = msgspec.structs.replace(outcome, hosts={} if single else hosts)
        self._state.record(outcome)
        return outcome

    # -- run directories

    def _sweep(self) -> None:
        """Take in attempts that are not under way here: those of a killed nightly run, or of disconnected hosts.

        A result of a cell without an outcome counts. Any other is kept as an earlier attempt of its cell. One that cannot be used
        is said, and stays where it is.
        """
        waiting = {one.cell.id: one for one in self._queue}
        for name in self._records.attempts():
            if name in self._attempts:
                continue
            try:
                self._take_in(name, waiting)
            except DamagedAttempt as error:
                self._say(error.message, "It is not counted, and stays where it is.")

    def _take_in(self, name: str, waiting: dict[str, QueuedCell]) -> None:
        note = self._records.note(name)
        report = note.report
        cell = self._cells.get(report.cell)
        if report.digest != self._matrix.digest or cell is None:
            return
        try:
            check_report(report, name, cell)
        except InfrastructureError as error:
            raise DamagedAttempt(error.message) from error
        outcome = report.outcome
        if report.cell in waiting and outcome is not None and outcome.code is not ExitCode.INFRASTRUCTURE:
            found = self._records.received(note, msgspec.structs.replace(outcome, host=report.host[:100]))
            self._queue.remove(waiting.pop(report.cell))
            self._settle(found)
            return
        runs = [str(path) for path in self._records.fetch(note, report.host[:100]).values()]
        known = self._state.outcomes.get(report.cell)
        if known is not None and runs:
            self._record(msgspec.structs.replace(known, runs=[*runs, *known.runs][-MOST_KEPT:]))
        elif report.cell in waiting:
            waiting[report.cell].runs += runs

    # -- what others see

    def _publish(self, engine: Engine) -> None:
        if time.monotonic() < self._noted + LOOK_S:
            return
        self._noted = time.monotonic()
        head = self._state.head
        note = NightlyNote(
            name=head.name,
            lab=head.lab,
            host=head.host,
            left=self.left,
            under_way=[PlacedCell(one.cell.id, one.host.name, one.stage) for one in self.running],
            waiting=[
                WaitingCell(one.cell.id, self._placement.waits_for(one.cell))
                for one in itertools.islice(self._queue, MOST_WAITING)
            ],
            aside=dict(self._placement.aside),
            time=time.time(),
        )
        engine.note(["nightlies", self._nightly], msgspec.to_builtins(note))

    def _publish_end(self, engine: Engine) -> None:
        try:
            engine.note(["nightlies", self._nightly], None)
        except SchedulerLost:
            return
