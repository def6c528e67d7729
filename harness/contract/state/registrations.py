# SPDX-License-Identifier: MIT
"""Registrations of drivers, and the calls that make them, end them, or enclose them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.contract.state.entities import CallSpan, DriverLoad, Registration
from harness.contract.state.evidence import FOREVER
from harness.history import driver as d
from harness.history.driver import START, nt_success

if TYPE_CHECKING:
    from harness.contract.state.model import Model

MOST_REGISTRATIONS = 64
"""Registrations remembered per load of a driver; a correct one makes three."""

_CALL_FACTS = {
    "dereg_sync": "deregistration", "unreg_ex": "unregistration", "unreg_old": "legacy unregistration",
    "unload": "unload of a driver", "etw_reg": "ETW registration", "etw_unreg": "ETW registration",
}  # fmt: skip
_REGISTERING = frozenset({"reg_sync", "reg_async", "dereg_sync", "unreg_ex", "unreg_old"})


class Registrations:
    """The registrations of all drivers since the last boot; each driver's own are kept with its load.

    ``open`` are those whose registering call has not returned. ``latest_at`` is the place of the latest that was found, over the
    whole history.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.latest_at = 0
        self.begin_boot()

    def begin_boot(self) -> None:
        """Record that the guest boots: no call of before is under way."""
        self.open: dict[Registration, None] = {}

    def begin_load(self, load: DriverLoad, before: DriverLoad) -> None:
        """Record that a driver was loaded again: what it registered before may be named still."""
        load.earlier = before.earlier | before.registrations
        while len(load.earlier) > MOST_REGISTRATIONS:
            del load.earlier[next(iter(load.earlier))]

    def each(self, *, earlier: bool = False) -> Iterator[Registration]:
        """Yield the registrations of all drivers, with ``earlier`` also those of a driver's former loads in this boot."""
        for stream in self._model.streams.values():
            yield from stream.registrations.values()
            if earlier:
                yield from stream.earlier.values()

    def find(self, number: int, *, sync: bool) -> Registration:
        """Return the registration of the current driver that has a number. One that was never made is noted, and may be lost."""
        model, stream = self._model, self._model.stream
        registration = stream.registrations.get(number) or stream.earlier.get(number)
        if registration is None:
            registration = Registration(stream=stream, id=number, sync=sync)
            if model.evidence.missing(stream.driver, model.epoch_at, model.at):
                self.open[registration] = None
            else:
                registration.done_at = stream.began_at
                self.latest_at = model.at
                if model.cause == "restored":
                    self._restored(registration)
                elif not stream.mapped:
                    last = stream.last
                    model.evidence.contradict(
                        f"registration {number} of driver {stream.driver} was used and never made",
                        () if last is None else (last,), driver=stream.driver, begin=model.epoch_at,
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
            self._model.evidence.lose(stream.driver, self._model.epoch_at, FOREVER, why)

    def _restored(self, registration: Registration) -> None:
        """Take a registration made before the snapshot: in force since the restore, with the baseline taken after it."""
        model = self._model
        registration.done_at = model.epoch_at
        if model.counts.baseline_at and model.counts.count is not None:
            registration.base, registration.base_at = model.counts.count.processors, model.counts.baseline_at

    def presume(self) -> None:
        """Record that the guest is quiet: calls whose exit records were lost have returned."""
        model = self._model
        for registration in list(self.open):
            begun = registration.span.at if registration.span is not None else model.epoch_at
            if model.evidence.missing(registration.driver, begun, model.at):
                registration.presumed = True
                registration.done_at = model.at
                self.latest_at = model.at
                del self.open[registration]

    def enter(self, call: d.CallEnter) -> CallSpan:
        """Take the beginning of a call. Return its span."""
        model, stream = self._model, self._model.stream
        span = CallSpan(at=model.at, stream=stream, enter=call)
        if call.call in _REGISTERING and (call.reg == 0 or (call.call == "reg_async" and not call.cls)):
            self._incomplete(call)
        model.opened(call.seq, span)
        self._occurred(call)
        if call.call in ("reg_sync", "reg_async"):
            self._not_in_force(call)
            registration = Registration(stream=stream, id=call.reg, sync=call.call == "reg_sync", span=span)
            registration.device = (stream.asking.get(call.thread) or [""])[-1]
            registration.races_add = bool(model.commands.cpu_in_flight) or not model.attempts.all_closed
            self._register(registration)
            span.registration = registration
            self.open[registration] = None
        elif call.call in ("dereg_sync", "unreg_ex", "unreg_old"):
            registration = self.find(call.reg, sync=call.call == "dereg_sync")
            span.registration = registration
            registration.leaves += 1
            if registration.leave is None:
                registration.leave = span
                if model.commands.cpu_window is not None and not model.commands.cpu_window.closed_at:
                    model.commands.owe(registration, model.commands.cpu_window)
        elif call.call == "unload":
            stream.unload = span
        elif call.call == "etw_unreg":
            stream.etw = "unregistered"
        return span

    def _not_in_force(self, call: d.CallEnter) -> None:
        """Check that a registering call has a number of its own: from another with that number on, it is not known which acts."""
        known = self._model.stream.registrations.get(call.reg)
        if known is not None and known.alive:
            why = f"record {call.n} registers under the number of {known}, which is in force"
            self._model.evidence.disbelieve(call, why, known.done_at)

    def _incomplete(self, call: d.CallEnter) -> None:
        """Record that a call lacks what no call of its kind can be without: registrations have numbers from 1, and a class."""
        model = self._model
        lacks = "class" if call.reg else "number of its registration"
        why = f"{call.call} of driver {call.driver} (record {call.n}) does not give the {lacks}"
        model.evidence.distrust(call.boot, call.driver, why)
        model.evidence.contradict(why, (call,), driver=call.driver, begin=model.epoch_at)

    def exit(self, call: d.CallExit) -> CallSpan | None:
        """Take the return of a call. Return its span, None if its beginning is not known."""
        model, stream = self._model, self._model.stream
        span = stream.opens.get(call.enter)
        if not isinstance(span, CallSpan):
            self._unentered(call)
            return None
        del stream.opens[call.enter]
        span.exit, span.exit_at = call, model.at
        registration = span.registration
        if registration is not None:
            if span.enter.call in ("reg_sync", "reg_async"):
                registration.handle = bool(call.handle) if registration.sync else nt_success(call.result)
                registration.done_at = model.at
                self.latest_at = model.at
                registration.races_add = registration.races_add or bool(model.commands.cpu_in_flight)
                registration.existing_processors = frozenset(
                    event.enter.nt for event in registration.existing if event.enter.state == START
                )
                self.open.pop(registration, None)
                if registration.sync and not registration.handle:
                    model.facts.add("registration that returned NULL")
            elif registration.leave is span:
                registration.left_at = model.at
        if call.call == "etw_reg" and nt_success(call.result):
            stream.etw = "registered"
        elif call.call == "unload" or (call.call == "driver_entry" and not nt_success(call.result)):
            stream.finished = True
        return span

    def _occurred(self, call: d.CallEnter) -> None:
        """Note what kind of call has occurred, in the words of the rules' needs."""
        model = self._model
        kind = call.call
        if kind == "reg_sync":
            existing = bool(call.flags & d.ADD_EXISTING)
            model.facts.add(
                "registration with ADD_EXISTING" if existing else "registration without ADD_EXISTING"
            )
            if any(known.sync for known in self.each()):
                model.facts.add("second synchronous registration")
        elif kind == "reg_async":
            existing = bool(call.flags & d.INCLUDE_EXISTING)
            model.facts.add(
                "registration that includes existing interfaces"
                if existing
                else "registration without existing interfaces"
            )
            if call.cls == "cpu":
                model.facts.add("processor registration")
        fact = _CALL_FACTS.get(kind)
        if fact is not None:
            model.facts.add(fact)
        if kind in _REGISTERING:
            model.facts.add("registering call")

    def _unentered(self, call: d.CallExit) -> None:
        """Take the return of a call whose enter record was lost: keep what its exit record says of the registration."""
        model, stream = self._model, self._model.stream
        known = model.cause != "restored" and not stream.mapped
        if known and not model.evidence.missing(stream.driver, model.epoch_at, model.at):
            # Nothing was lost, so no such call was under way: this line is not evidence of a registration.
            model.evidence.contradict(
                f"{call.call} of driver {stream.driver} returned and was not under way",
                (call,), driver=stream.driver, begin=model.epoch_at,
            )  # fmt: skip
            return
        if call.call in ("reg_sync", "reg_async"):
            registration = self.find(call.reg, sync=call.call == "reg_sync")
            registration.handle = bool(call.handle) if registration.sync else nt_success(call.result)
            registration.done_at = model.at
            self.latest_at = model.at
            self.open.pop(registration, None)
        elif call.call in ("dereg_sync", "unreg_ex", "unreg_old"):
            registration = self.find(call.reg, sync=call.call == "dereg_sync")
            registration.handle = False
        elif call.call == "unload":
            model.stream.finished = True

    def of_the_other_kind(self, enter: d.SyncEnter | d.AsyncEnter, registration: Registration) -> None:
        """Record that a callback names a registration of the other kind: it is not known which number is wrong."""
        kinds = ("synchronous", "asynchronous")
        callback, registered = kinds if isinstance(enter, d.SyncEnter) else reversed(kinds)
        why = f"{registration} is {registered}, and record {enter.n} is a callback of it that is {callback}"
        self._model.evidence.disbelieve(enter, why, registration.done_at)
