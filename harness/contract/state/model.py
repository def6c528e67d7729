# SPDX-License-Identifier: MIT
"""The model that one pass over a history keeps: boots, host commands, drivers, registrations, windows.

It turns records into the subjects of :mod:`harness.contract.state.entities`, once, so that rules stay small. It keeps what
is open and what may still be contradicted. Everything else goes to the rules and is forgotten, so the model's size
follows the number of processors, registrations and open attempts, not the length of the history. Parts of it are kept in
modules of their own: attempts (:mod:`harness.contract.state.attempts`), the host's commands
(:mod:`harness.contract.state.commands`), the guest's counts (:mod:`harness.contract.state.counts`), losses and contradictions
(:mod:`harness.contract.state.evidence`), processors (:mod:`harness.contract.state.processors`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from harness.contract.state.attempts import MOST_ATTEMPTS, MOST_EVENTS, Attempts
from harness.contract.state.commands import HostCommands
from harness.contract.state.counts import ReportedCounts
from harness.contract.state.entities import (
    CONTEXT,
    SAMPLE,
    Arrival,
    Attempt,
    Callback,
    CallSpan,
    DriverLoad,
    Epoch,
    HeldObject,
    Registration,
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
from harness.history import driver as d
from harness.history import record as r
from harness.history.absent import Absent
from harness.history.driver import COMPLETE, FAILURE, START, nt_success

MOST_LINKS = 65536
"""Symbolic links remembered per registration."""

MOST_REGISTRATIONS = 64
"""Registrations remembered per load of a driver; a correct one makes three."""

MOST_REQUESTS = 64
"""Plug and Play requests remembered per device."""

MOST_WRITES = 16
"""Callbacks remembered that changed their context."""

MOST_OPEN = 65536
"""Calls and callbacks remembered as entered and not yet returned, per driver."""

_CALL_FACTS = {
    "dereg_sync": "deregistration", "unreg_ex": "unregistration", "unreg_old": "legacy unregistration",
    "unload": "unload of a driver", "etw_reg": "ETW registration", "etw_unreg": "ETW registration",
}  # fmt: skip
_STATE_FACTS = {COMPLETE: "Complete", FAILURE: "Failure"}
_HOT_ADD_FACTS = {START: "Start of a hot-add", COMPLETE: "completed hot-add", FAILURE: "failed hot-add"}
_REGISTERING = frozenset({"reg_sync", "reg_async", "dereg_sync", "unreg_ex", "unreg_old"})

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
    words of the rules' needs; ``told`` and ``told_hot`` are the states of callbacks, and of those of hot-adds, whose facts
    are among them. ``mapped`` are the mapped drivers, ``promised`` the profiles of the others. ``steady`` counts the samples
    in which nothing changed. ``registered_at`` is the place of the latest registration found.

    Since the last boot: ``streams`` and the current ``stream``; ``attempts``; ``processors``. ``active`` is the last sampled
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
        self.told: set[int] = set()
        self.told_hot: set[int] = set()
        self.mapped: set[str] = set()
        # Runs from before there was a record of profiles were of this driver.
        self.promised = {"hpnotify": SAMPLE}
        self.driver_records = 0
        self.registered_at = 0
        self.steady = 0
        self.group_options = ""
        self.opted_out: dict[str, str] = {}
        self.environment: dict[str, None] = {}
        self._migrations: list[tuple[int, int]] = []
        self.commands = HostCommands(self)
        self.counts = ReportedCounts(self)
        self._begin_epoch(0, "")
        self.update: dict[type, Callable[[Any], Any]] = {
            r.Boot: self._boot, r.Quiesced: self._quiesced, r.Count: self.counts.take, r.Add: self.commands.add,
            r.Removal: self.commands.removal, r.Migration: self._migration, r.Stage: self.commands.stage,
            r.Agreement: self.commands.agreement, r.OperationProgress: self.commands.operation, r.Channel: self.evidence.account, r.End: self._end,
            r.GuestEvent: self._guest, Gap: self._gap, Conflict: self._conflict, Carried: self.evidence.carried,
            UnrecordedBoot: self._unrecorded, Repeat: self._repeat, Behind: self._behind, Disorder: self._disorder, Displaced: self._displace, Stale: self._stale, d.Hello: self._hello,
            d.SyncEnter: self._sync_enter, d.SyncExit: self._sync_exit, d.AsyncEnter: self._async_enter,
            d.AsyncExit: self._async_exit, d.CallEnter: self._call_enter, d.CallExit: self._call_exit,
            d.Alloc: self._alloc, d.Free: self._free, d.Bind: self._bind, d.PnpEnter: self._pnp_enter, d.PnpExit: self._pnp_exit,
        }  # fmt: skip

    # -- epochs ------------------------------------------------------------------------------------------------

    def _begin_epoch(self, number: int, cause: str) -> None:
        self.epoch = number
        self.cause = cause
        self.epoch_at = self.at
        self.commands.begin_boot(restored=cause == "restored")
        self.counts.begin_boot()
        self.attempts = Attempts(self.at, self._sealed)
        self.processors = SystemProcessors()
        self.streams: dict[tuple[str, str], DriverLoad] = {}
        self.stream: DriverLoad = DriverLoad(driver="", boot="", began_at=0)
        self.uncaused: list[Callback] = []
        self.active = self.previous_active = self.counted_at = 0
        self.level: d.DriverRecord | None = None
        self.quiesced: r.Quiesced | None = None
        self.all_links: dict[str, int] = {}
        self.removed_links: set[str] = set()
        self.devices: dict[tuple[str, str], list[tuple[int, d.PnpEnter | d.PnpExit]]] = {}
        self.query_stop_at = self.refused_stop_at = 0
        self.open_registrations: dict[Registration, None] = {}
        self.freed: HeldObject | None = None
        self.writes: list[Callback] = []

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

    def registrations(self, *, earlier: bool = False) -> Iterator[Registration]:
        """Yield the registrations of all drivers, with ``earlier`` also those of a driver's former loads in this boot."""
        for stream in self.streams.values():
            yield from stream.registrations.values()
            if earlier:
                yield from stream.earlier.values()

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
        elif event.event == "rebalance-opt-out" and len(self.opted_out) < MOST_LOSSES:
            # "DEVICE: PROPERTY=1"; without a device it applies to all.
            device, _, said = event.detail.rpartition(": ")
            self.opted_out[device] = said
            self.facts.add("device that opted out (a rebalance-opt-out event of the guest)")
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
        if self.open_registrations:
            self._presume()
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
        for registration in self.registrations():
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

    def _opened(self, number: int, entered: CallSpan | Callback | Arrival | r.Record) -> None:
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
            stream.earlier = before.earlier | before.registrations
            while len(stream.earlier) > MOST_REGISTRATIONS:
                del stream.earlier[next(iter(stream.earlier))]
            self.streams[hello.boot, hello.driver] = self.stream = stream
            for key in [key for key in self.devices if key[0] == hello.driver]:
                del self.devices[key]
        stream.hz = hello.hz
        stream.mode = hello.mode
        if hello.mode == "pnp":
            self.facts.add("Plug and Play driver")

    def _registration(self, number: int, *, sync: bool) -> Registration:
        stream = self.stream
        registration = stream.registrations.get(number) or stream.earlier.get(number)
        if registration is None:
            registration = Registration(stream=stream, id=number, sync=sync)
            if self.evidence.missing(stream.driver, self.epoch_at, self.at):
                self.open_registrations[registration] = None
            else:
                registration.done_at = stream.began_at
                self.registered_at = self.at
                if self.cause == "restored":
                    self._restored(registration)
                elif not stream.mapped:
                    last = stream.last
                    self.evidence.contradict(
                        f"registration {number} of driver {stream.driver} was used and never made",
                        () if last is None else (last,), driver=stream.driver, begin=self.epoch_at,
                    )  # fmt: skip
            self._register(registration)
        return registration

    def _register(self, registration: Registration) -> None:
        """Remember a registration. Nothing can be judged about one beyond the limit, nor about its callbacks."""
        stream = registration.stream
        if len(stream.registrations) < MOST_REGISTRATIONS or registration.id in stream.registrations:
            stream.registrations[registration.id] = registration
        elif not stream.crowded:
            stream.crowded = True
            why = f"driver {stream.driver} made more than {MOST_REGISTRATIONS} registrations"
            self.evidence.lose(stream.driver, self.epoch_at, FOREVER, why)

    def _restored(self, registration: Registration) -> None:
        """Take a registration made before the snapshot: in force since the restore, with the baseline taken after it."""
        registration.done_at = self.epoch_at
        if self.counts.baseline_at and self.counts.count is not None:
            registration.base, registration.base_at = self.counts.count.processors, self.counts.baseline_at

    def _presume(self) -> None:
        """Record that the guest is quiet: calls whose exit records were lost have returned."""
        for registration in list(self.open_registrations):
            begun = registration.span.at if registration.span is not None else self.epoch_at
            if self.evidence.missing(registration.driver, begun, self.at):
                registration.presumed = True
                registration.done_at = self.at
                self.registered_at = self.at
                del self.open_registrations[registration]

    def _call_enter(self, call: d.CallEnter) -> CallSpan:
        stream = self.stream
        span = CallSpan(at=self.at, stream=stream, enter=call)
        if call.call in _REGISTERING and (call.reg == 0 or (call.call == "reg_async" and not call.cls)):
            self._incomplete(call)
        self._opened(call.seq, span)
        self._occurred(call)
        if call.call in ("reg_sync", "reg_async"):
            self._not_in_force(call)
            registration = Registration(stream=stream, id=call.reg, sync=call.call == "reg_sync", span=span)
            registration.device = (stream.asking.get(call.thread) or [""])[-1]
            registration.races_add = bool(self.commands.cpu_in_flight) or not self.attempts.all_closed
            self._register(registration)
            span.registration = registration
            self.open_registrations[registration] = None
        elif call.call in ("dereg_sync", "unreg_ex", "unreg_old"):
            registration = self._registration(call.reg, sync=call.call == "dereg_sync")
            span.registration = registration
            registration.leaves += 1
            if registration.leave is None:
                registration.leave = span
                if self.commands.cpu_window is not None and not self.commands.cpu_window.closed_at:
                    self.commands.owe(registration, self.commands.cpu_window)
        elif call.call == "unload":
            stream.unload = span
        elif call.call == "etw_unreg":
            stream.etw = "unregistered"
        return span

    def _not_in_force(self, call: d.CallEnter) -> None:
        """Check that a registering call has a number of its own: from another with that number on, it is not known which acts."""
        known = self.stream.registrations.get(call.reg)
        if known is not None and known.alive:
            why = f"record {call.n} registers under the number of {known}, which is in force"
            self.evidence.disbelieve(call, why, known.done_at)

    def _incomplete(self, call: d.CallEnter) -> None:
        """Record that a call lacks what no call of its kind can be without: registrations have numbers from 1, and a class."""
        lacks = "class" if call.reg else "number of its registration"
        why = f"{call.call} of driver {call.driver} (record {call.n}) does not give the {lacks}"
        self.evidence.distrust(call.boot, call.driver, why)
        self.evidence.contradict(why, (call,), driver=call.driver, begin=self.epoch_at)

    def _call_exit(self, call: d.CallExit) -> CallSpan | None:
        stream = self.stream
        span = stream.opens.get(call.enter)
        if not isinstance(span, CallSpan):
            self._unentered(call)
            return None
        del stream.opens[call.enter]
        span.exit, span.exit_at = call, self.at
        registration = span.registration
        if registration is not None:
            if span.enter.call in ("reg_sync", "reg_async"):
                registration.handle = bool(call.handle) if registration.sync else nt_success(call.result)
                registration.done_at = self.at
                self.registered_at = self.at
                registration.races_add = registration.races_add or bool(self.commands.cpu_in_flight)
                registration.existing_processors = frozenset(
                    event.enter.nt for event in registration.existing if event.enter.state == START
                )
                self.open_registrations.pop(registration, None)
                if registration.sync and not registration.handle:
                    self.facts.add("registration that returned NULL")
            elif registration.leave is span:
                registration.left_at = self.at
        if call.call == "etw_reg" and nt_success(call.result):
            stream.etw = "registered"
        elif call.call == "unload" or (call.call == "driver_entry" and not nt_success(call.result)):
            stream.finished = True
        return span

    def _occurred(self, call: d.CallEnter) -> None:
        """Note what kind of call has occurred, in the words of the rules' needs."""
        kind = call.call
        if kind == "reg_sync":
            existing = bool(call.flags & d.ADD_EXISTING)
            self.facts.add(
                "registration with ADD_EXISTING" if existing else "registration without ADD_EXISTING"
            )
            if any(known.sync for known in self.registrations()):
                self.facts.add("second synchronous registration")
        elif kind == "reg_async":
            existing = bool(call.flags & d.INCLUDE_EXISTING)
            self.facts.add(
                "registration that includes existing interfaces"
                if existing
                else "registration without existing interfaces"
            )
            if call.cls == "cpu":
                self.facts.add("processor registration")
        fact = _CALL_FACTS.get(kind)
        if fact is not None:
            self.facts.add(fact)
        if kind in _REGISTERING:
            self.facts.add("registering call")

    def _unentered(self, call: d.CallExit) -> None:
        """Take the return of a call whose enter record was lost: keep what its exit record says of the registration."""
        stream = self.stream
        known = self.cause != "restored" and not stream.mapped
        if known and not self.evidence.missing(stream.driver, self.epoch_at, self.at):
            # Nothing was lost, so no such call was under way: this line is not evidence of a registration.
            self.evidence.contradict(
                f"{call.call} of driver {stream.driver} returned and was not under way",
                (call,), driver=stream.driver, begin=self.epoch_at,
            )  # fmt: skip
            return
        if call.call in ("reg_sync", "reg_async"):
            registration = self._registration(call.reg, sync=call.call == "reg_sync")
            registration.handle = bool(call.handle) if registration.sync else nt_success(call.result)
            registration.done_at = self.at
            self.registered_at = self.at
            self.open_registrations.pop(registration, None)
        elif call.call in ("dereg_sync", "unreg_ex", "unreg_old"):
            registration = self._registration(call.reg, sync=call.call == "dereg_sync")
            registration.handle = False
        elif call.call == "unload":
            self.stream.finished = True

    # -- synchronous callbacks -----------------------------------------------------------------------------------

    def _sync_enter(self, enter: d.SyncEnter) -> Callback:
        written = self._written(enter) if self.writes else {}
        if written:
            enter = msgspec.structs.replace(enter, **{name: before for name, (before, _) in written.items()})
        registration = self.stream.registrations.get(enter.reg) or self._registration(enter.reg, sync=True)
        if not registration.sync:
            self._of_the_other_kind(enter, registration)
        call = Callback(at=self.at, enter=enter, registration=registration, written=written)
        self._opened(enter.seq, call)
        self.stream.calling[enter.reg, enter.nt] = call
        if enter.state not in self.told:
            self.facts.add("synchronous callback")
            self.facts.add(_STATE_FACTS.get(enter.state, "synchronous callback"))
            if enter.state in d.STATE_NAMES:
                self.told.add(enter.state)
        if enter.state == START and not nt_success(enter.op):
            self.facts.add("Start with an error already set")
        if self._of_existing(call):
            if len(registration.existing) < MOST_ATTEMPTS:
                registration.existing.append(call)
            if enter.state == START and not registration.implied:
                self.processors.active(call, self.at)
        else:
            self._hot_added(call)
        if enter.state == COMPLETE:
            self.stream.completed.add(enter.nt)
            self.processors.active(call, self.at)
        return call

    def _of_the_other_kind(self, enter: d.SyncEnter | d.AsyncEnter, registration: Registration) -> None:
        """Record that a callback names a registration of the other kind: it is not known which number is wrong."""
        kinds = ("synchronous", "asynchronous")
        callback, registered = kinds if isinstance(enter, d.SyncEnter) else reversed(kinds)
        why = f"{registration} is {registered}, and record {enter.n} is a callback of it that is {callback}"
        self.evidence.disbelieve(enter, why, registration.done_at)

    def _written(self, enter: d.SyncEnter) -> dict[str, tuple[int, int]]:
        """Return the fields of the context that an earlier client of this processor's round had changed, with both values.

        All clients share one context: later ones find there what that client wrote, not what Windows wrote.
        """
        for call in reversed(self.writes):
            before, after = call.enter, call.exit
            if after is None or (before.state != enter.state and after.state != enter.state):
                continue
            changed = {
                name: (getattr(before, name), getattr(after, name))
                for name in CONTEXT
                if getattr(before, name) != getattr(after, name)
            }
            as_left = all(
                getattr(enter, name) == getattr(after, name) for name in CONTEXT if name != "status"
            )
            if as_left and ("status" not in changed or enter.status == after.status):
                return changed
        return {}

    def _of_existing(self, call: Callback) -> bool:
        """Return whether a callback is about a processor that existed at its registration, as far as is known."""
        registration = call.registration
        if registration.open and (registration.add_existing or registration.implied):
            return True
        if not (registration.implied and registration.stream.mapped):
            return False
        # A map need not give the registering call: a report of an active processor was made at registration.
        enter = call.enter
        if enter.state == START:
            attempt = self.attempts.newest.get(enter.nt)
            if attempt is not None and not (attempt.closed or attempt.completes or attempt.quiet):
                return False
            known = self.processors.known(enter.nt)
            told = known is not None and (known[1] is None or known[1].closed)
            return not self.commands.cpu_adds or told or enter.nt < self.counts.counted()
        return any(other.enter.nt == enter.nt for other in registration.existing)

    def _hot_added(self, call: Callback) -> None:
        enter, attempts = call.enter, self.attempts
        if call.registration.presumed:
            call.registration.proved = True
        failures, completed, opened = attempts.failures, attempts.completed_count, attempts.opened
        attempts.join(
            call,
            self.at,
            active_before=self.previous_active,
            last_command=self.commands.last_cpu_add_at,
            commands=self.commands.cpu_plugged,
        )
        if failures and attempts.opened > opened:
            self.facts.add("hot-add after a failed one")
        if enter.state not in self.told_hot:
            self.facts.add("hot-add of a processor")
            if enter.state in d.STATE_NAMES:
                self.facts.add(_HOT_ADD_FACTS[enter.state])
                self.told_hot.add(enter.state)
        window = self.commands.cpu_window
        if window is not None and not window.closed_at:
            window.completes += attempts.completed_count - completed
            window.failures += attempts.failures - failures
            if enter.state == START and window.unannounced:
                for arrival in window.unannounced:
                    if arrival.registration.stream is self.stream and arrival.start is None:
                        arrival.start = call
        if attempts.failures > failures:
            self.commands.retry_possible = True

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

    def _sync_exit(self, leave: d.SyncExit) -> Callback | None:
        stream = self.stream
        call = stream.opens.get(leave.enter)
        if not isinstance(call, Callback):
            return None
        del stream.opens[leave.enter]
        key = call.enter.reg, call.enter.nt
        if stream.calling.get(key) is call:
            del stream.calling[key]
        if call.written:
            kept = {
                name: before for name, (before, now) in call.written.items() if getattr(leave, name) == now
            }
            leave = msgspec.structs.replace(leave, **kept)
        call.returned(leave, self.at)
        if call.altered:
            self.writes.append(call)
            del self.writes[:-MOST_WRITES]
        failures = self.attempts.failures
        self.attempts.left(call, self.at)
        if self.attempts.failures > failures:
            self.commands.retry_possible = True
            if self.commands.cpu_window is not None and not self.commands.cpu_window.closed_at:
                self.commands.cpu_window.failures += 1
        if call.refused:
            existing = call.attempt is None
            self.facts.add("error in a Start of ADD_EXISTING" if existing else "vetoed hot-add")
            if existing and stream.allocates:
                self.facts.add("error in a Start of ADD_EXISTING with allocation records")
        return call

    # -- asynchronous callbacks ------------------------------------------------------------------------------------

    def _async_enter(self, enter: d.AsyncEnter) -> Arrival:
        registration = self._registration(enter.reg, sync=False)
        if registration.sync:
            self._of_the_other_kind(enter, registration)
        arrival = Arrival(at=self.at, enter=enter, registration=registration)
        self._opened(enter.seq, arrival)
        self.facts.add("asynchronous callback")
        registration.first_cls = registration.first_cls or enter.cls
        links = registration.links
        if enter.event == "removal":
            links.pop(enter.link, None)
            if len(self.removed_links) < MOST_LINKS:
                # A disabled device existed before, even if no driver was notified of it.
                self.removed_links.add(enter.link)
            return arrival
        if enter.event != "arrival":
            return arrival
        if enter.cls == "memory":
            self.facts.add("memory arrival")
        if enter.cls == "cpu":
            self.facts.add("processor arrival")
            self.stream.arrived_at = self.at
        arrival.times = links.get(enter.link, 0) + 1
        arrival.seen_at = self.all_links.get(enter.link, self.at)
        if len(links) < MOST_LINKS:
            links[enter.link] = arrival.times
            self.all_links.setdefault(enter.link, self.at)
        fresh = enter.link not in registration.known_links and enter.link not in registration.new_links
        if fresh and len(registration.told) < MOST_LINKS:
            registration.told.append(self.at)
        if registration.base < 0 or enter.link in self.removed_links:
            if fresh and (not self.commands.cpu_in_flight or registration.base >= 0):
                registration.known_links.add(enter.link)
        elif fresh:
            registration.new_links.add(enter.link)
            arrival.new = True
            if enter.cls == "cpu":
                self._explained(arrival)
        arrival.existing = enter.link in registration.known_links
        return arrival

    def _explained(self, arrival: Arrival) -> None:
        """Find the window of the adds that explain a new link: the one in which any registration first saw it."""
        window, registration = self.commands.cpu_window, arrival.registration
        if window is None or window.closed_at or not registration.base_at < window.at <= arrival.seen_at:
            return
        arrival.window = window
        arrival.index = window.links[registration] = window.links.get(registration, 0) + 1

    def _async_exit(self, leave: d.AsyncExit) -> Arrival | None:
        arrival = self.stream.opens.get(leave.enter)
        if not isinstance(arrival, Arrival):
            return None
        del self.stream.opens[leave.enter]
        arrival.exit = leave
        return arrival

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

    def _pnp_enter(self, enter: d.PnpEnter) -> None:
        stream = self.stream
        self._opened(enter.seq, enter)
        if len(stream.devices) < MOST_LOSSES:
            stream.devices.add(enter.device)
        if len(stream.asking) < MOST_LOSSES:
            asking = stream.asking.setdefault(enter.thread, [])
            asking.append(enter.device)
            del asking[:-MOST_REQUESTS]
        self.facts.add("Plug and Play request record")
        if enter.minor == "QUERY_STOP":
            self.query_stop_at = self.at
            if self.opts_out(enter.device):
                self.refused_stop_at = self.at
        self._device(enter)

    def opts_out(self, device: str) -> str:
        """Return how a device opted out of rebalances, "" if it did not. Devices of one hardware id are told apart by ``#n``."""
        return (
            self.opted_out.get(device.rpartition("#")[0] or device)
            or self.opted_out.get(device)
            or self.opted_out.get("", "")
        )

    def _device(self, record: d.PnpEnter | d.PnpExit) -> None:
        """Remember the latest requests of each device, enough for the longest rule on their order."""
        key = (record.driver, record.device)
        if key in self.devices or len(self.devices) < MOST_LOSSES:
            entries = self.devices.setdefault(key, [])
            entries.append((self.at, record))
            del entries[:-MOST_REQUESTS]

    def _pnp_exit(self, leave: d.PnpExit) -> None:
        self.stream.opens.pop(leave.enter, None)
        asking = self.stream.asking.get(leave.thread)
        if asking:
            asking.pop()
            if not asking:
                del self.stream.asking[leave.thread]
        self._device(leave)
