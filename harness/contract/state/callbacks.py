# SPDX-License-Identifier: MIT
"""Synchronous callbacks: which processor each is about, and whether that existed already or is being added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.contract.state.attempts import MOST_ATTEMPTS
from harness.contract.state.entities import CONTEXT, Callback
from harness.history import driver as d
from harness.history.driver import COMPLETE, FAILURE, START, nt_success

if TYPE_CHECKING:
    from harness.contract.state.model import Model

MOST_WRITES = 16
"""Callbacks remembered that changed their context."""

_STATE_FACTS = {COMPLETE: "Complete", FAILURE: "Failure"}
_HOT_ADD_FACTS = {START: "Start of a hot-add", COMPLETE: "completed hot-add", FAILURE: "failed hot-add"}


class SyncCallbacks:
    """Synchronous callbacks since the last boot. Those of hot-adds become attempts.

    The states of callbacks, and of those of hot-adds, whose facts are among the model's are kept over the whole history.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._told: set[int] = set()
        self._told_hot: set[int] = set()
        self.begin_boot()

    def begin_boot(self) -> None:
        """Record that the guest boots: no context of before is in use."""
        self._writes: list[Callback] = []

    def enter(self, enter: d.SyncEnter) -> Callback:
        """Take the entry of a callback. Return it, joined to the registration and the attempt that it belongs to."""
        model = self._model
        written = self._written(enter) if self._writes else {}
        if written:
            enter = msgspec.structs.replace(enter, **{name: before for name, (before, _) in written.items()})
        registration = model.stream.registrations.get(enter.reg) or model.registrations.find(
            enter.reg, sync=True
        )
        if not registration.sync:
            model.registrations.of_the_other_kind(enter, registration)
        call = Callback(at=model.at, enter=enter, registration=registration, written=written)
        model.opened(enter.seq, call)
        model.stream.calling[enter.reg, enter.nt] = call
        if enter.state not in self._told:
            model.facts.add("synchronous callback")
            model.facts.add(_STATE_FACTS.get(enter.state, "synchronous callback"))
            if enter.state in d.STATE_NAMES:
                self._told.add(enter.state)
        if enter.state == START and not nt_success(enter.op):
            model.facts.add("Start with an error already set")
        if self._of_existing(call):
            if len(registration.existing) < MOST_ATTEMPTS:
                registration.existing.append(call)
            if enter.state == START and not registration.implied:
                model.processors.active(call, model.at)
        else:
            self._hot_added(call)
        if enter.state == COMPLETE:
            model.stream.completed.add(enter.nt)
            model.processors.active(call, model.at)
        return call

    def _written(self, enter: d.SyncEnter) -> dict[str, tuple[int, int]]:
        """Return the fields of the context that an earlier client of this processor's round had changed, with both values.

        All clients share one context: later ones find there what that client wrote, not what Windows wrote.
        """
        for call in reversed(self._writes):
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
        model = self._model
        registration = call.registration
        if registration.open and (registration.add_existing or registration.implied):
            return True
        if not (registration.implied and registration.stream.mapped):
            return False
        # A map need not give the registering call: a report of an active processor was made at registration.
        enter = call.enter
        if enter.state == START:
            attempt = model.attempts.newest.get(enter.nt)
            if attempt is not None and not (attempt.closed or attempt.completes or attempt.quiet):
                return False
            known = model.processors.known(enter.nt)
            told = known is not None and (known[1] is None or known[1].closed)
            return not model.commands.cpu_adds or told or enter.nt < model.counts.counted()
        return any(other.enter.nt == enter.nt for other in registration.existing)

    def _hot_added(self, call: Callback) -> None:
        model = self._model
        enter, attempts = call.enter, model.attempts
        if call.registration.presumed:
            call.registration.proved = True
        failures, completed, opened = attempts.failures, attempts.completed_count, attempts.opened
        attempts.join(
            call,
            model.at,
            active_before=model.previous_active,
            last_command=model.commands.last_cpu_add_at,
            commands=model.commands.cpu_plugged,
        )
        if failures and attempts.opened > opened:
            model.facts.add("hot-add after a failed one")
        if enter.state not in self._told_hot:
            model.facts.add("hot-add of a processor")
            if enter.state in d.STATE_NAMES:
                model.facts.add(_HOT_ADD_FACTS[enter.state])
                self._told_hot.add(enter.state)
        window = model.commands.cpu_window
        if window is not None and not window.closed_at:
            window.completes += attempts.completed_count - completed
            window.failures += attempts.failures - failures
            if enter.state == START and window.unannounced:
                for arrival in window.unannounced:
                    if arrival.registration.stream is model.stream and arrival.start is None:
                        arrival.start = call
        if attempts.failures > failures:
            model.commands.retry_possible = True

    def exit(self, leave: d.SyncExit) -> Callback | None:
        """Take the return of a callback. Return the callback, None if its entry is not known."""
        model, stream = self._model, self._model.stream
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
        call.returned(leave, model.at)
        if call.altered:
            self._writes.append(call)
            del self._writes[:-MOST_WRITES]
        failures = model.attempts.failures
        model.attempts.left(call, model.at)
        if model.attempts.failures > failures:
            model.commands.retry_possible = True
            if model.commands.cpu_window is not None and not model.commands.cpu_window.closed_at:
                model.commands.cpu_window.failures += 1
        if call.refused:
            existing = call.attempt is None
            model.facts.add("error in a Start of ADD_EXISTING" if existing else "vetoed hot-add")
            if existing and stream.allocates:
                model.facts.add("error in a Start of ADD_EXISTING with allocation records")
        return call
