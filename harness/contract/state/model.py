# SPDX-License-Identifier: MIT
"""The model that one pass over a history keeps: boots, host commands, drivers, registrations, windows.

It turns records into the subjects of :mod:`harness.contract.state.entities`, once, so that rules stay small. It holds what
is open and what may still be contradicted; everything else is handed to the rules and forgotten, so that its size
follows the number of processors, registrations and open attempts, not the length of the history. Attempts are grouped
by :mod:`harness.contract.state.attempts`, losses kept by :mod:`harness.contract.state.losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.contract.state.attempts import MOST_ATTEMPTS, MOST_EVENTS, Attempts
from harness.contract.state.entities import (
    Arrival,
    Attempt,
    Callback,
    CallSpan,
    DriverLoad,
    Epoch,
    HostAdd,
    Registration,
)
from harness.contract.state.losses import FOREVER, MOST_LOSSES, Losses
from harness.contract.state.merge import Gap
from harness.history.driver import (
    COMPLETE,
    START,
    Alloc,
    AsyncEnter,
    AsyncExit,
    CallEnter,
    CallExit,
    DriverRecord,
    Free,
    Hello,
    PnpEnter,
    PnpExit,
    SyncEnter,
    SyncExit,
    nt_success,
)
from harness.history.record import (
    Add,
    Agreement,
    Boot,
    Channel,
    Count,
    End,
    GuestEvent,
    OperationProgress,
    Quiesced,
)

MOST_LINKS = 65536
"""Symbolic links remembered per registration."""

MOST_REGISTRATIONS = 64
"""Registrations remembered per load of a driver; a sane one makes three."""

MOST_REQUESTS = 64
"""Plug and Play requests remembered per device."""

MOST_OPEN = 65536
"""Calls and callbacks remembered as entered and not yet returned, per driver."""

Emit = Callable[[Any, Any], None]


class Model:
    """What the checker knows at one place of the stream. Rules read it.

    ``emit`` is called with (kind, subject) for subjects that are no record: Attempt, HostAdd, Epoch. ``update`` maps a
    kind of record to what takes it in and returns the subject; a driver record first goes to :meth:`enter`, and to
    :meth:`sampled` once the rules on samples saw it.

    Over the whole history: ``at`` the place of the current record; ``losses``; ``operations`` begun and not ended;
    ``host_known`` if the host's side is in the history. Since the last boot: ``streams`` and the current ``stream``;
    ``attempts``; ``adds`` whose outcome is not established; ``cpu_in_flight``; ``window`` the last command, until the
    next; ``active`` the last sampled count and ``previous_active`` the one before; ``ran`` and ``ran_high`` the first
    record sampled on each processor, below DISPATCH_LEVEL and from there on; ``added`` processors agreed on and
    ``arrived`` ones announced asynchronously; ``uncaused`` and ``DriverLoad.unannounced`` are notes of one rule each.
    """

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.at = 0
        self.previous_active = 0
        self.active = 0
        self.host_known = False
        self.booted = False
        self.operations: dict[int, OperationProgress] = {}
        self.ended: End | None = None
        self.losses = Losses()
        self.lost = self.losses.between
        self.driver_records = 0
        self.group_options = ""
        self.opt_out = ""
        self.environment: dict[str, None] = {}
        self._begin_epoch(0, "")
        self.update: dict[type, Callable[[Any], Any]] = {
            Boot: self._boot, Quiesced: self._quiesced, Count: self._count, Add: self._add,
            Agreement: self._agreement, OperationProgress: self._operation, Channel: self._channel, End: self._end,
            GuestEvent: self._guest, Gap: self._gap, Hello: self._hello,
            SyncEnter: self._sync_enter, SyncExit: self._sync_exit, AsyncEnter: self._async_enter,
            AsyncExit: self._async_exit, CallEnter: self._call_enter, CallExit: self._call_exit,
            Alloc: self._alloc, Free: self._free, PnpEnter: self._pnp_enter, PnpExit: self._pnp_exit,
        }  # fmt: skip

    # -- epochs ------------------------------------------------------------------------------------------------

    def _begin_epoch(self, number: int, cause: str) -> None:
        self.epoch = number
        self.cause = cause
        self.epoch_at = self.at
        self.attempts = Attempts(self.at, self._sealed)
        self.streams: dict[tuple[str, str], DriverLoad] = {}
        self.stream: DriverLoad = DriverLoad(driver="", boot="", began_at=0)
        self.adds: dict[str, HostAdd] = {}
        self.cpu_in_flight: dict[str, HostAdd] = {}
        self.window: HostAdd | None = None
        self.cpu_adds = 0
        self.last_cpu_add_at = 0
        self.first_cpu_add: HostAdd | None = None
        self.uncaused: list[Callback] = []
        self.added = 0
        self.arrived = 0
        self.baseline_at = 0
        self.active = self.previous_active = 0
        self.quiesced: Quiesced | None = None
        self.count: Count | None = None
        self.ran: dict[int, DriverRecord] = {}
        self.ran_high: dict[int, DriverRecord] = {}
        self.all_links: dict[str, int] = {}
        self.devices: dict[str, list[tuple[int, PnpEnter | PnpExit]]] = {}
        self.open_registrations: dict[Registration, None] = {}

    def _end_epoch(self, ended_by: str, *, last: bool) -> None:
        if last:
            self.losses.end(self.streams.values())
        else:
            self.losses.boot()
        self.attempts.end(self.at, rebooted=ended_by == "boot", in_flight=bool(self.cpu_in_flight))
        if self.window is not None:
            self._close_window()
        self.emit(Epoch, Epoch(number=self.epoch, began_at=self.epoch_at, ended_by=ended_by, last=last))

    def _boot(self, boot: Boot) -> Boot:
        if self.booted or self.streams or self.adds:
            self._end_epoch("boot", last=False)
        self.booted = True
        self._begin_epoch(boot.epoch, boot.cause)
        return boot

    def _end(self, end: End) -> End:
        self.ended = end
        return end

    def finish(self, damage: str) -> None:
        """The stream is over; ``damage`` says why reading stopped early, "" if it did not."""
        self.at += 1
        if damage or self.ended is None:
            why = (
                f"the history is damaged: {damage}"
                if damage
                else "the history has no end: the run was killed"
            )
            self.losses.add("", self._last_driver_at(), FOREVER, why)
        self._end_epoch("cut" if damage or self.ended is None else "end", last=True)

    def _last_driver_at(self) -> int:
        return max((stream.last_at for stream in self.streams.values()), default=self.epoch_at)

    # -- losses ------------------------------------------------------------------------------------------------

    def _gap(self, gap: Gap) -> Gap:
        stream = self.streams.get((gap.boot, gap.driver))
        self.losses.gap(gap, stream.last_at if stream is not None else self.epoch_at, self.at)
        return gap

    def _channel(self, channel: Channel) -> Channel:
        self.losses.account(channel, self.at)
        return channel

    def touched(self, attempt: Attempt) -> str:
        """Say why something of ``attempt`` may be missing, "" if everything of it is here."""
        if attempt.cut:
            return attempt.cut
        if attempt.crowded:
            return f"more than {MOST_EVENTS} callbacks came for one attempt"
        lost = self.lost("", attempt.since, attempt.settled or attempt.sealed_at)
        if lost:
            return lost
        for call in attempt.events:
            if call.exit is None:
                return f"the callback of record {call.enter.n} was entered and never seen to return"
        return ""

    # -- what the host did ---------------------------------------------------------------------------------------

    def _operation(self, operation: OperationProgress) -> OperationProgress:
        self.host_known = True
        if operation.phase == "begin" and len(self.operations) < MOST_LOSSES:
            self.operations[operation.index] = operation
        elif operation.phase in ("end", "fail"):
            self.operations.pop(operation.index, None)
        return operation

    def _add(self, add: Add) -> HostAdd:
        self.host_known = True
        if add.phase == "begin":
            return self._begin_add(add)
        if add.attempt not in self.adds:
            return HostAdd(begin=add, at=self.at, settled_at=self.at)
        host = self.adds[add.attempt]
        if add.phase == "accepted":
            host.accepted = True
        elif add.phase == "refused":
            host.refused, host.detail = True, add.detail
        elif add.phase == "unsure":
            host.unsure = True
        if add.phase in ("settled", "refused"):
            host.settled_at = self.at
            self.cpu_in_flight.pop(add.attempt, None)
            self._forget(host)
        return host

    def _forget(self, host: HostAdd) -> None:
        if host.agreed and host.settled_at:
            self.adds.pop(host.begin.attempt, None)

    def _begin_add(self, add: Add) -> HostAdd:
        host = HostAdd(begin=add, at=self.at, starts_before=self.attempts.opened)
        if self.window is not None:
            if not self.window.settled_at:
                self.window.clean = host.clean = False
            self._close_window()
        if add.what == "cpu":
            if not self.cpu_in_flight and self.attempts.all_closed:
                self.attempts.barrier = self.at
            self.cpu_adds += 1
            self.last_cpu_add_at = self.at
            self.first_cpu_add = self.first_cpu_add or host
            for other in self.adds.values():
                if not other.settled_at:
                    other.clean = False
            self.cpu_in_flight[add.attempt] = host
        elif self.cpu_in_flight or not self.attempts.all_closed or self.attempts.opened < self.cpu_adds:
            host.clean = False
        self.adds[add.attempt] = host
        if len(self.adds) > MOST_ATTEMPTS:
            del self.adds[next(iter(self.adds))]
        self.window = host
        return host

    def _close_window(self) -> None:
        window, self.window = self.window, None
        self.emit(HostAdd, window)

    def _agreement(self, agreement: Agreement) -> Agreement:
        host = self.adds.get(agreement.attempt)
        if host is not None:
            host.agreed, host.detail = agreement.agreed, agreement.detail
            host.unshown = bool(agreement.unshown)
            self.added += host.begin.what == "cpu" and agreement.agreed and host.begin.expected == "added"
            self._forget(host)
        return agreement

    def _count(self, count: Count) -> Count:
        self.count = count
        return count

    def _guest(self, event: GuestEvent) -> GuestEvent:
        """Take what the guest says of itself: boot options on groups, the rebalance policy, what keeps hardware out."""
        if event.event == "boot-option" and ("groupsize" in event.detail or "maxgroup" in event.detail):
            self.group_options = event.detail
        elif event.event == "rebalance-opt-out":
            self.opt_out = event.detail
        elif event.event == "preflight" and any(
            f": {one}: " in event.detail for one in ("broken", "doubtful")
        ):
            self.environment[event.detail[:400]] = None
        return event

    def _quiesced(self, quiesced: Quiesced) -> Quiesced:
        self.quiesced = quiesced
        if self.open_registrations:
            self._presume()
        self.attempts.quiesced(self.at, quiesced)
        if self.attempts.unsettled:
            return quiesced
        if not self.cpu_adds and not self.attempts.opened:
            self.baseline_at = self.at
        if not self.cpu_in_flight and self.arrived >= max(self.attempts.completed_count, self.added):
            counted = self.count.processors if self.count is not None else 0
            for stream in self.streams.values():
                for registration in stream.registrations.values():
                    if registration.base < 0 and registration.alive:
                        registration.base = max(self.active, counted)
                        registration.base_at = self.at
                        registration.starts_at_base = stream.starts
                        registration.completes_at_base = stream.completes
                        registration.all_completes_at_base = self.attempts.completed_count
        return quiesced

    # -- the driver's streams ------------------------------------------------------------------------------------

    def enter(self, record: DriverRecord) -> DriverLoad:
        """Make the stream of ``record`` the current one, beginning it if it is new."""
        stream = self.streams.get((record.boot, record.driver))
        if stream is None:
            stream = DriverLoad(
                driver=record.driver,
                boot=record.boot,
                began_at=self.at,
            )
            self.streams[record.boot, record.driver] = stream
            if not isinstance(record, Hello) and self.cause != "restored":
                self.losses.add(
                    record.driver, self.epoch_at, self.at,
                    f"the first records of driver {record.driver} are missing: its history does not begin with hello",
                    record,
                )  # fmt: skip
        elif len(stream.opens) > MOST_OPEN:
            del stream.opens[next(iter(stream.opens))]
        self.stream = stream
        return stream

    def sampled(self, stream: DriverLoad, record: DriverRecord) -> None:
        """Take the fields that every driver record carries; after this it is the stream's last."""
        stream.last = record
        stream.last_at = self.at
        self.driver_records += 1
        self.previous_active = self.active
        self.active = record.active
        if record.cpu not in self.ran and record.irql < 2 and len(self.ran) < MOST_ATTEMPTS:
            self.ran[record.cpu] = record
        elif record.irql >= 2 and record.cpu not in self.ran_high and len(self.ran_high) < MOST_ATTEMPTS:
            self.ran_high[record.cpu] = record

    def _hello(self, hello: Hello) -> Hello:
        stream = self.stream
        if stream.began_at != self.at:
            stream = DriverLoad(driver=hello.driver, boot=hello.boot, began_at=self.at)
            stream.last, stream.last_at = hello, self.at
            stream.opens, stream.unannounced = self.stream.opens, self.stream.unannounced
            self.streams[hello.boot, hello.driver] = self.stream = stream
        stream.hz = hello.hz
        stream.mode = hello.mode
        return hello

    def _registration(self, number: int, *, sync: bool) -> Registration:
        registrations = self.stream.registrations
        registration = registrations.get(number)
        if registration is None:
            registration = Registration(stream=self.stream, id=number, sync=sync)
            if self.lost(self.stream.driver, self.epoch_at, self.at):
                self.open_registrations[registration] = None
            else:
                registration.done_at = self.stream.began_at
                if self.cause == "restored":
                    self._restored(registration)
            self._register(registration)
        return registration

    def _register(self, registration: Registration) -> None:
        """Remember a registration; of one too many nothing can be said, nor of what it might have been called for."""
        stream = registration.stream
        if len(stream.registrations) < MOST_REGISTRATIONS or registration.id in stream.registrations:
            stream.registrations[registration.id] = registration
        elif not stream.crowded:
            stream.crowded = True
            why = f"driver {stream.driver} made more than {MOST_REGISTRATIONS} registrations"
            self.losses.add(stream.driver, self.epoch_at, FOREVER, why)

    def _restored(self, registration: Registration) -> None:
        """A registration made before the snapshot: in force since the restore, with the baseline taken after it."""
        registration.done_at = self.epoch_at
        if self.baseline_at and self.count is not None:
            registration.base, registration.base_at = self.count.processors, self.baseline_at

    def _presume(self) -> None:
        """The guest is quiet: calls whose exit records were lost have returned."""
        for registration in list(self.open_registrations):
            begun = registration.span.at if registration.span is not None else self.epoch_at
            if self.lost(registration.driver, begun, self.at):
                registration.presumed = True
                registration.done_at = self.at
                del self.open_registrations[registration]

    def _call_enter(self, call: CallEnter) -> CallSpan:
        stream = self.stream
        span = CallSpan(at=self.at, stream=stream, enter=call)
        stream.opens[call.seq] = span
        if call.call in ("reg_sync", "reg_async"):
            registration = Registration(stream=stream, id=call.reg, sync=call.call == "reg_sync", span=span)
            registration.races_add = bool(self.cpu_in_flight) or not self.attempts.all_closed
            self._register(registration)
            span.registration = registration
            self.open_registrations[registration] = None
        elif call.call in ("dereg_sync", "unreg_ex", "unreg_old"):
            registration = self._registration(call.reg, sync=call.call == "dereg_sync")
            span.registration = registration
            registration.leaves += 1
            if registration.leave is None:
                registration.leave = span
        elif call.call == "unload":
            stream.unload = span
        elif call.call == "etw_unreg":
            stream.etw = "unregistered"
        return span

    def _call_exit(self, call: CallExit) -> CallSpan | None:
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
                registration.races_add = registration.races_add or bool(self.cpu_in_flight)
                registration.existing_processors = frozenset(
                    event.enter.nt for event in registration.existing if event.enter.state == START
                )
                self.open_registrations.pop(registration, None)
            elif registration.leave is span:
                registration.left_at = self.at
        if call.call == "etw_reg" and nt_success(call.result):
            stream.etw = "registered"
        elif call.call == "unload" or (call.call == "driver_entry" and not nt_success(call.result)):
            stream.finished = True
        return span

    def _unentered(self, call: CallExit) -> None:
        """A call returned whose enter record was lost: keep what its exit record says of the registration."""
        if call.call in ("reg_sync", "reg_async"):
            registration = self._registration(call.reg, sync=call.call == "reg_sync")
            registration.handle = bool(call.handle) if registration.sync else nt_success(call.result)
            registration.done_at = self.at
            self.open_registrations.pop(registration, None)
        elif call.call in ("dereg_sync", "unreg_ex", "unreg_old"):
            registration = self._registration(call.reg, sync=call.call == "dereg_sync")
            registration.handle = False
        elif call.call == "unload":
            self.stream.finished = True

    # -- synchronous callbacks -----------------------------------------------------------------------------------

    def _sync_enter(self, enter: SyncEnter) -> Callback:
        registration = self._registration(enter.reg, sync=True)
        call = Callback(at=self.at, enter=enter, registration=registration)
        self.stream.opens[enter.seq] = call
        if registration.open and (registration.add_existing or registration.implied):
            if len(registration.existing) < MOST_ATTEMPTS:
                registration.existing.append(call)
            if enter.state == COMPLETE:
                self.stream.completed.add(enter.nt)
            return call
        self.attempts.join(
            call,
            self.at,
            active_before=self.previous_active,
            last_command=self.last_cpu_add_at,
            commands=self.cpu_adds,
        )
        if enter.state == COMPLETE:
            self.stream.completed.add(enter.nt)
        return call

    def _sealed(self, attempt: Attempt) -> None:
        if attempt.mixed:
            why = f"it cannot be told which host command the callbacks of {attempt.name} belong to"
            self.losses.add("", attempt.since, self.at, why, attempt.events[0].enter)
        attempt.ran_on = (self.ran.get(attempt.n), self.ran_high.get(attempt.n))
        self.emit(Attempt, attempt)

    def _sync_exit(self, leave: SyncExit) -> Callback | None:
        call = self.stream.opens.get(leave.enter)
        if not isinstance(call, Callback):
            return None
        del self.stream.opens[leave.enter]
        call.exit, call.exit_at = leave, self.at
        self.attempts.left(call, self.at)
        return call

    # -- asynchronous callbacks ------------------------------------------------------------------------------------

    def _async_enter(self, enter: AsyncEnter) -> Arrival:
        registration = self._registration(enter.reg, sync=False)
        arrival = Arrival(at=self.at, enter=enter, registration=registration)
        self.stream.opens[enter.seq] = arrival
        registration.first_cls = registration.first_cls or enter.cls
        links = registration.links
        if enter.event == "removal":
            links.pop(enter.link, None)
            return arrival
        if enter.event != "arrival":
            return arrival
        arrival.times = links.get(enter.link, 0) + 1
        if len(links) < MOST_LINKS:
            links[enter.link] = arrival.times
            self.all_links.setdefault(enter.link, self.at)
        new = enter.link not in registration.known_links and enter.link not in registration.new_links
        if registration.base < 0:
            if not self.cpu_in_flight:
                registration.known_links.add(enter.link)
        elif new:
            registration.new_links.add(enter.link)
            if enter.cls == "cpu":
                arrival.index = len(registration.new_links)
                self.arrived = max(self.arrived, registration.all_completes_at_base + arrival.index)
            if self.window is not None:
                self.window.arrivals += enter.cls == "memory"
        arrival.existing = enter.link in registration.known_links
        return arrival

    def _async_exit(self, leave: AsyncExit) -> Arrival | None:
        arrival = self.stream.opens.get(leave.enter)
        if not isinstance(arrival, Arrival):
            return None
        del self.stream.opens[leave.enter]
        arrival.exit = leave
        return arrival

    # -- the driver's own objects, Plug and Play -------------------------------------------------------------------

    def _alloc(self, alloc: Alloc) -> Alloc:
        self.stream.allocates = True
        objects = self.stream.objects
        if len(objects) < MOST_ATTEMPTS:
            held = objects.setdefault((alloc.reg, alloc.nt), {})
            if len(held) < MOST_EVENTS:
                held[alloc.object] = alloc
        return alloc

    def _free(self, free: Free) -> Free:
        held = self.stream.objects.get((free.reg, free.nt))
        if held is not None:
            held.pop(free.object, None)
            if not held:
                del self.stream.objects[free.reg, free.nt]
        return free

    def _pnp_enter(self, enter: PnpEnter) -> PnpEnter:
        self.stream.opens[enter.seq] = enter
        self._device(enter)
        return enter

    def _device(self, record: PnpEnter | PnpExit) -> None:
        """Remember the latest requests of each device, enough for the longest rule on their order."""
        if record.device in self.devices or len(self.devices) < MOST_LOSSES:
            entries = self.devices.setdefault(record.device, [])
            entries.append((self.at, record))
            del entries[:-MOST_REQUESTS]

    def _pnp_exit(self, leave: PnpExit) -> PnpExit:
        self.stream.opens.pop(leave.enter, None)
        self._device(leave)
        return leave
