# SPDX-License-Identifier: MIT
"""The model that one pass over a history keeps: boots, host commands, drivers, registrations, windows.

It turns records into the subjects of :mod:`harness.contract.state.entities`, once, so that rules stay small. It keeps what
is open and what may still be contradicted. Everything else goes to the rules and is forgotten, so the model's size
follows the number of processors, registrations and open attempts, not the length of the history.

Its parts, each in a module of its own, take their kinds of record in, and read the model where another part knows more:
registrations and calls, synchronous callbacks, attempts, arrivals, Plug and Play requests, the host's commands, the guest's
counts, processors, and losses and contradictions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.contract.state.arrivals import Arrivals
from harness.contract.state.attempts import MOST_ATTEMPTS, MOST_EVENTS, Attempts
from harness.contract.state.callbacks import SyncCallbacks
from harness.contract.state.commands import HostCommands
from harness.contract.state.counts import ReportedCounts
from harness.contract.state.entities import (
    SAMPLE,
    Arrival,
    Attempt,
    Callback,
    CallSpan,
    DriverLoad,
    Epoch,
    HeldObject,
)
from harness.contract.state.evidence import FOREVER, MOST_LOSSES, HistoryEvidence
from harness.contract.state.merge import (
    FIRST,
    Behind,
    Carried,
    Conflict,
    Disorder,
    Displaced,
    Gap,
    Repeat,
    Stale,
    UnrecordedBoot,
)
from harness.contract.state.processors import SystemProcessors
from harness.contract.state.registrations import Registrations
from harness.contract.state.requests import DeviceRequests
from harness.history import driver as d
from harness.history import record as r
from harness.history.absent import Absent

MOST_OPEN = 65536
"""Calls and callbacks remembered as entered and not yet returned, per driver."""

COMPLETED = frozenset({r.Add, d.SyncEnter, d.SyncExit, d.AsyncEnter, d.AsyncExit, d.CallEnter, d.CallExit})
"""Kinds of record of which the model makes subjects: a host command, a callback, an arrival, a call."""

Emit = Callable[[Any, Any], None]


class Model:
    """The checker's knowledge at one place of the stream. Rules read it.

    ``emit`` is called with (kind, subject) for subjects that are not records: Attempt, HostAdd, AddWindow, Growth, Epoch.
    ``update`` maps a kind of record to the method that takes it in; one of the kinds ``COMPLETED`` returns the subject that it
    makes of the record. A driver record first goes to :meth:`enter`, and to :meth:`sampled` once the rules on samples saw it.

    ``unended`` is the reason for a missing end of a live run.

    Over the whole history: ``at`` is the place of the current record. ``evidence`` has losses and contradictions.
    ``commands`` is what the host did, ``counts`` what the guest counts for it. ``facts`` are the facts that occurred, in the
    words of the rules' needs. ``mapped`` are the mapped drivers, ``promised`` the profiles of the others. ``steady`` counts the
    samples in which nothing changed.

    Since the last boot: ``streams`` and the current ``stream``; ``registrations``, ``callbacks`` and the ``attempts`` that they
    make, ``arrivals``, ``requests``; ``processors``. ``active`` is the last sampled
    count, ``counted_at`` where it was sampled first, ``previous_active`` the count before. ``level`` is the last sample if
    all rules on samples held for it and no count was higher before. ``uncaused`` is a note of one rule.
    """

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.at = 0
        self.previous_active = 0
        self.active = 0
        self.booted = False
        self.ended: r.End | None = None
        self.unended = ""
        self.evidence = HistoryEvidence()
        self.facts: set[str] = set()
        self.mapped: set[str] = set()
        # Runs from before there was a record of profiles were of this driver.
        self.promised = {"hpnotify": SAMPLE}
        self.driver_records = 0
        self.steady = 0
        self.group_options = ""
        self.environment: dict[str, None] = {}
        self._migrations: list[tuple[int, int]] = []
        self.commands = HostCommands(self)
        self.counts = ReportedCounts(self)
        self.registrations = Registrations(self)
        self.callbacks = SyncCallbacks(self)
        self.arrivals = Arrivals(self)
        self.requests = DeviceRequests(self)
        self._begin_epoch(0, "")
        self.update: dict[type, Callable[[Any], Any]] = {
            r.Boot: self._boot, r.Quiesced: self._quiesced, r.Count: self.counts.take, r.Add: self.commands.add,
            r.Removal: self.commands.removal, r.Migration: self._migration, r.Stage: self.commands.stage,
            r.Agreement: self.commands.agreement, r.OperationProgress: self.commands.operation, r.Channel: self.evidence.account, r.End: self._end,
            r.GuestEvent: self._guest, Gap: self._gap, Conflict: self._conflict, Carried: self.evidence.carried,
            UnrecordedBoot: self._unrecorded, Repeat: self._repeat, Behind: self._behind, Disorder: self._disorder, Displaced: self._displace, Stale: self._stale, d.Hello: self._hello,
            d.SyncEnter: self.callbacks.enter, d.SyncExit: self.callbacks.exit, d.AsyncEnter: self.arrivals.enter,
            d.AsyncExit: self.arrivals.exit, d.CallEnter: self.registrations.enter, d.CallExit: self.registrations.exit,
            d.Alloc: self._alloc, d.Free: self._free, d.Bind: self._bind,
            d.PnpEnter: self.requests.enter, d.PnpExit: self.requests.exit,
        }  # fmt: skip

    # -- epochs ------------------------------------------------------------------------------------------------

    def _begin_epoch(self, number: int, cause: str) -> None:
        self.epoch = number
        self.cause = cause
        self.epoch_at = self.at
        self.commands.begin_boot(restored=cause == "restored")
        for part in (self.counts, self.registrations, self.callbacks, self.arrivals, self.requests):
            part.begin_boot()
        self.attempts = Attempts(self.at, self._sealed)
        self.processors = SystemProcessors()
        self.streams: dict[tuple[str, str], DriverLoad] = {}
        self.stream: DriverLoad = DriverLoad(driver="", boot="", began_at=0)
        self.uncaused: list[Callback] = []
        self.active = self.previous_active = self.counted_at = 0
        self.level: d.DriverRecord | None = None
        self.quiesced: r.Quiesced | None = None
        self.freed: HeldObject | None = None

    def _end_epoch(self, ended_by: str, *, last: bool) -> None:
        if last:
            self.evidence.end(self.streams.values(), self.epoch_at)
        else:
            self.evidence.boot_over(self.streams.values(), self.at)
        self.attempts.end(self.at, rebooted=ended_by == "boot", in_flight=bool(self.commands.cpu_in_flight))
        self.commands.end_boot()
        self.emit(Epoch, Epoch(number=self.epoch, began_at=self.epoch_at, ended_by=ended_by, last=last))

    def _boot(self, boot: r.Boot) -> None:
        if self.booted or self.streams or self.commands.adds:
            self._end_epoch("boot", last=False)
        self.booted = True
        self._begin_epoch(boot.epoch, boot.cause)

    def _unrecorded(self, boot: UnrecordedBoot) -> None:
        """Record that the guest booted again without a boot record: the knowledge of this boot ends here."""
        self.evidence.contradict(
            f"driver {boot.driver} says hello with boot nonce {boot.boot} after {boot.before}, and no boot was recorded",
            (boot,), begin=self.epoch_at,
        )  # fmt: skip
        self.evidence.distrust(boot.boot, "", f"the boot with nonce {boot.boot} was not recorded")
        self._end_epoch("boot", last=False)
        self._begin_epoch(self.epoch + 1, "unrecorded")

    def _migration(self, migration: r.Migration) -> None:
        if migration.phase == "begin" and len(self._migrations) < MOST_LOSSES:
            self._migrations.append((self.at, FOREVER))
        elif self._migrations and self._migrations[-1][1] == FOREVER:
            self._migrations[-1] = self._migrations[-1][0], self.at

    def migrated(self, begin: int, end: int) -> bool:
        """Return whether a migration happened or was tried between two places: the counter may have stood still meanwhile."""
        return any(first < end and last > begin for first, last in self._migrations)

    def _bind(self, _bind: d.Bind) -> None:
        self.facts.add("bind record")

    def _end(self, end: r.End) -> None:
        self.facts.add("record of the run")
        self.ended = end

    def finish(self, damage: str) -> None:
        """Record that the stream is over. ``damage`` says why reading stopped early, "" if it did not."""
        self.at += 1
        if damage or self.ended is None:
            why = (
                f"the history is damaged: {damage}"
                if damage
                else self.unended or "the history has no end: the run was killed"
            )
            self.evidence.lose("", self._last_driver_at(), FOREVER, why)
        self._end_epoch("cut" if damage or self.ended is None else "end", last=True)

    def _last_driver_at(self) -> int:
        return max((stream.last_at for stream in self.streams.values()), default=self.epoch_at)

    # -- losses ------------------------------------------------------------------------------------------------

    def _gap(self, gap: Gap) -> None:
        stream = self.streams.get((gap.boot, gap.driver))
        self.evidence.gap(gap, stream.last_at if stream is not None else self.epoch_at, self.at)

    def _repeat(self, repeat: Repeat) -> None:
        self.evidence.twice(repeat, self.epoch_at)

    def _disorder(self, disorder: Disorder) -> None:
        self.evidence.disorder(disorder, self.epoch_at)

    def _displace(self, displaced: Displaced) -> None:
        self.evidence.displace(displaced, self.epoch_at)

    def _stale(self, stale: Stale) -> None:
        """Record that a record without a place may be one that its driver's stream lacks, in this boot or in an earlier one."""
        loaded = (stream.last_at for (_, driver), stream in self.streams.items() if driver == stale.driver)
        begin, end = max(loaded, default=self.epoch_at), self.at
        if stale.earlier:
            begin, end = 0, self.epoch_at
        why = f"record #{stale.seq} of driver {stale.driver} cannot be judged: {stale.why}"
        self.evidence.lose(stale.driver, begin, end, why, stale)

    def _behind(self, behind: Behind) -> None:
        self.evidence.contradict(
            f"the history ended in record {behind.end}, and further records follow", (behind,)
        )

    def _conflict(self, conflict: Conflict) -> None:
        self.evidence.dispute(conflict, self.epoch_at)

    def _sealed(self, attempt: Attempt) -> None:
        if attempt.mixed:
            why = f"it is not known which host command the callbacks of {attempt.name} belong to"
            self.evidence.lose("", attempt.since, self.at, why, attempt.events[0].enter)
        newer = self.attempts.newest.get(attempt.n)
        ran = []
        for first in (self.processors.ran, self.processors.ran_high):
            record, at = first.get(attempt.n, (None, 0))
            later = at > attempt.over or (newer is not None and newer is not attempt and at > newer.first)
            ran.append(None if later else record)
        attempt.ran_on = (ran[0], ran[1])
        self.emit(Attempt, attempt)

    def touched(self, attempt: Attempt) -> str:
        """Return why something of ``attempt`` may be missing, "" if everything of it is here."""
        if attempt.cut:
            return attempt.cut
        if attempt.crowded:
            return f"more than {MOST_EVENTS} callbacks came for one attempt"
        for call in attempt.events:
            if call.exit is None:
                return f"the callback of record {call.enter.n} was entered and never seen to return"
        return ""

    # -- what the host did ---------------------------------------------------------------------------------------

    def _guest(self, event: r.GuestEvent) -> None:
        """Take the guest's own reports: boot options on groups, the rebalance policy, reasons to refuse hardware."""
        if event.event == r.BOOT_OPTION and ("groupsize" in event.detail or "maxgroup" in event.detail):
            self.group_options = event.detail
            if self.driver_records:
                why = f"the guest told its boot option {event.detail[:60]} only in record {event.n}"
                self.evidence.unseen("", self.at, self.at, why)
        elif event.event == r.BOOT_OPTION and not event.detail:
            self.evidence.contradict("the guest named a boot option without saying which", (event,))
        elif event.event == "rebalance-opt-out":
            self.requests.opt_out(event.detail)
        elif event.event == r.EDITION:
            self.facts.add("guest that said what its edition takes (an edition event of the guest)")
        elif event.event == "preflight" and any(
            f": {one}: " in event.detail for one in ("broken", "doubtful")
        ):
            self.environment[event.detail[:400]] = None

    def _quiesced(self, quiesced: r.Quiesced) -> None:
        if quiesced.quiet_ns <= 0:
            self.evidence.contradict(
                f"the quiesced record reports {quiesced.quiet_ns} ns of silence, which proves nothing",
                (quiesced,), begin=self.at, end=self.at,
            )  # fmt: skip
            return
        self.quiesced = quiesced
        self.counts.agree()
        self.counts.unexplained(self.active, quiesced)
        if self.registrations.open:
            self.registrations.presume()
        self.attempts.quiesced(self.at, quiesced, self.counts.counted())
        if self.attempts.unsettled:
            return
        window = self.commands.cpu_window
        if (
            window is not None
            and not window.closed_at
            and not window.completes
            and self.active <= window.base
        ):
            for arrival in (*window.unannounced, *window.uncounted):
                arrival.quiet = True
        if not self.commands.cpu_adds and not self.attempts.opened:
            self.counts.baseline_at = self.at
            self.counts.baseline_count = self.counts.counted()
        if not self.commands.cpu_in_flight:
            self._baselines()
            self.counts.rest(quiesced)

    def _baselines(self) -> None:
        for registration in self.registrations.each():
            if registration.base < 0 and registration.alive:
                registration.base = self.counts.counted()
                registration.base_at = self.at
                registration.completes_at_base = registration.stream.completes

    # -- the driver's streams ------------------------------------------------------------------------------------

    def enter(self, record: d.DriverRecord) -> DriverLoad:
        """Make the stream of ``record`` the current one. Begin it if it is new."""
        stream = self.streams.get((record.boot, record.driver))
        if stream is None:
            stream = DriverLoad(
                driver=record.driver,
                boot=record.boot,
                began_at=self.at,
                mapped=record.driver in self.mapped,
                promises=self.promised.get(record.driver, ""),
            )
            self.streams[record.boot, record.driver] = stream
            self.facts.add("driver record")
            if self.cause == "restored" and stream.mapped:
                # The hello of a mapped driver is made where its records begin.
                self._unknown_first(record.driver)
            elif not isinstance(record, d.Hello):
                begins = record.seq <= FIRST or (
                    isinstance(record, d.CallEnter) and record.call in ("etw_reg", "driver_entry")
                )
                if self.cause == "restored" and not begins:
                    self._unknown_first(record.driver)
                else:
                    stream.headless = True
                    self.evidence.distrust(
                        record.boot, record.driver, f"the first records of driver {record.driver} are missing"
                    )
                    self.evidence.lose(
                        record.driver, self.epoch_at, self.at,
                        f"the first records of driver {record.driver} are missing: its history does not begin with hello",
                        record,
                    )  # fmt: skip
        self.stream = stream
        return stream

    def _unknown_first(self, driver: str) -> None:
        """Record that the number of a restored driver's first record is unknown, and so what came before it."""
        why = f"driver {driver} was restored, and its first record may not be its first"
        self.evidence.unseen(driver, self.epoch_at, self.at, why)

    def opened(self, number: int, entered: CallSpan | Callback | Arrival | r.Record) -> None:
        """Remember an entered call or callback that has not returned yet. Beyond the limit the oldest is forgotten."""
        opens = self.stream.opens
        if len(opens) > MOST_OPEN:
            del opens[next(iter(opens))]
        opens[number] = entered

    def sampled(self, stream: DriverLoad, record: d.DriverRecord) -> None:
        """Take the fields that every driver record carries; after this it is the stream's last."""
        stream.last = record
        stream.last_at = self.at
        self.driver_records += 1
        processors = self.processors
        self.level = None
        self.previous_active = self.active
        if record.active != self.active:
            self.active, self.counted_at = record.active, self.at
        counted, grouped = processors.counted, processors.grouped
        if (
            counted is None
            or grouped is None
            or record.active > counted.active
            or record.groups > grouped.groups
        ):
            processors.sampled(record)
        self.ran(record)

    def ran(self, record: d.DriverRecord) -> None:
        """Note on which processor the driver ran."""
        first = self.processors.ran if record.irql < 2 else self.processors.ran_high
        if record.cpu not in first and len(first) < MOST_ATTEMPTS:
            first[record.cpu] = (record, self.at)

    def settle(self, record: d.DriverRecord) -> None:
        """Record that all rules on samples held for ``record``. At the highest counts, the next one is compared with it alone."""
        counted, grouped = self.processors.counted, self.processors.grouped
        if counted is not None and grouped is not None:
            high = record.active == counted.active and record.groups == grouped.groups
            self.level = record if high else None

    def sampled_by_map(self, stream: DriverLoad, record: d.DriverRecord) -> None:
        """Take the fields that a map gives. Fields that it leaves out are not compared."""
        if not any(
            isinstance(field, Absent) for field in (record.active, record.groups, record.maximum, record.irql)
        ):
            self.sampled(stream, record)
            return
        stream.last, stream.last_at = record, self.at
        self.driver_records += 1
        self.level = None
        if not isinstance(record.active, Absent):
            self.previous_active, self.active, self.counted_at = self.active, record.active, self.at

    def _hello(self, hello: d.Hello) -> None:
        stream = self.stream
        if stream.began_at != self.at:
            before = self.stream
            left = before.finished or not any(known.alive for known in before.registrations.values())
            if not left and not before.mapped:
                self.evidence.contradict(
                    f"driver {hello.driver} says hello again and was not seen to be unloaded",
                    (hello,), driver=hello.driver, begin=self.epoch_at,
                )  # fmt: skip
            stream = DriverLoad(
                driver=hello.driver, boot=hello.boot, began_at=self.at, mapped=before.mapped, promises=before.promises
            )  # fmt: skip
            stream.last, stream.last_at = hello, self.at
            stream.opens, stream.headless = before.opens, before.headless
            self.streams[hello.boot, hello.driver] = self.stream = stream
            self.registrations.begin_load(stream, before)
            self.requests.begin_load(hello.driver)
        stream.hz = hello.hz
        stream.mode = hello.mode
        if hello.mode == "pnp":
            self.facts.add("Plug and Play driver")

    # -- the driver's own objects, Plug and Play -------------------------------------------------------------------

    def _alloc(self, alloc: d.Alloc) -> None:
        stream = self.stream
        stream.allocates = True
        self.facts.add("allocation record")
        if stream.held < MOST_OPEN:
            held = stream.objects.setdefault((alloc.reg, alloc.nt), {})
            stream.held += alloc.object not in held
            held[alloc.object] = HeldObject(alloc, stream.calling.get((alloc.reg, alloc.nt)))
        else:
            stream.crowded = True

    def _free(self, free: d.Free) -> None:
        stream = self.stream
        held = stream.objects.get((free.reg, free.nt))
        self.freed = held.pop(free.object, None) if held is not None else None
        stream.held -= self.freed is not None
        if held is not None and not held:
            del stream.objects[free.reg, free.nt]
