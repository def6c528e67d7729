# SPDX-License-Identifier: MIT
"""Groups the callbacks of hot-added processors into attempts.

A hot-add callback with processor number n belongs to A(n, k). A Start of registration R joins the newest attempt on n
unless everything started there is closed, and a quiesced point, or a host command with nothing under way, lies between: as
long as a Start has no end, another client may be slow. It opens A(n, k+1), too, if R already has a Start there, with its
terminal or veto or before a quiesced point. An end that R does not await, after everything was closed and the guest quiet,
belongs to A(n, k+1). Rules on attempts see an attempt when it is *sealed*: when the next one on n has opened and the guest
was quiet since, when the epoch ends, or when too many are remembered.

A failed add may be tried again, and its calls may then come in another order of registrations. A Start that came when
everything of a failed attempt had ended is therefore *late*: it moves to the next attempt if one opens before the Start
is answered.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.contract.state.entities import Attempt, Callback, Registration, RegistrationView
from harness.history.driver import COMPLETE, FAILURE, START, nt_success
from harness.history.record import Quiesced

MOST_ATTEMPTS = 8192
"""Attempts remembered at once; the oldest is sealed beyond that."""

MOST_EVENTS = 512
"""Callbacks remembered of one attempt. A correct system delivers two per registration."""


class Attempts:
    """The attempts of one boot epoch. ``seal`` is called with each attempt when it is over.

    ``newest`` maps a processor to its latest attempt. ``unsettled`` are those not yet closed at a quiesced point.
    ``opened`` and ``completed_count`` count. ``failed`` is the number of the last attempt that failed, -1 if none did.
    ``failures`` counts the attempts that were refused. ``announced`` has the processors for which an attempt opened since
    the last quiet point; its value is True for one that was refused and not completed since. ``barrier`` is the last place
    at which no attempt was under way.
    """

    def __init__(self, at: int, seal: Callable[[Attempt], None]) -> None:
        self._emit = seal
        self.barrier = at
        self.newest: dict[int, Attempt] = {}
        self.unsettled: dict[Attempt, None] = {}
        self._open_ones: dict[Attempt, None] = {}
        self._restless: dict[Attempt, None] = {}
        self._superseded: list[Attempt] = []
        self.opened = 0
        self.completed_count = 0
        self.failed = -1
        self.failures = 0
        self.announced: dict[int, bool] = {}

    @property
    def all_closed(self) -> bool:
        """Whether nothing is under way."""
        return not self._open_ones

    def midway(self, registration: Registration) -> bool:
        """Return whether ``registration`` has a Start without its end."""
        return any(registration in one.views and not one.views[registration].closed for one in self.unsettled)

    def quiesced(self, at: int, proof: Quiesced, active: int) -> None:
        """Record that the guest is quiet with ``active`` processors: settle what is closed; what was superseded will
        get nothing more.
        """
        superseded, self._superseded = self._superseded, []
        for attempt in self._restless:
            if not attempt.quiet:
                attempt.quiet, attempt.proof = at, proof
                attempt.active_after = 0 if attempt.overlapped else active
            if attempt.closed:
                attempt.settled = at
                self.unsettled.pop(attempt, None)
        self._restless.clear()
        for attempt in superseded:
            self._seal(attempt, at)
        if not self.unsettled:
            self.barrier = at

    def end(self, at: int, *, rebooted: bool, in_flight: bool) -> None:
        """Record that the epoch is over. A boot cuts short what was open, and the attempts of a command in flight."""
        for attempt in [*self._superseded, *self.newest.values()]:
            settled = attempt.closed and attempt.settled
            if rebooted and not settled and (in_flight or not attempt.closed):
                attempt.cut = "the guest was reset or restored inside this attempt"
            self._seal(attempt, at)
        self._superseded = []

    def join(self, call: Callback, at: int, *, active_before: int, last_command: int, commands: int) -> None:
        """Put a hot-add callback into its attempt, opening one if need be.

        ``last_command`` is the place of the last host command to add a processor, ``commands`` how many there were.
        """
        enter, registration = call.enter, call.registration
        attempt = self.newest.get(enter.nt)
        if attempt is None:
            attempt = self._open(enter.nt, 1, at, active_before)
        elif enter.state == START and self._begins_anew(attempt, registration):
            before, late = attempt, self._late(attempt)
            attempt = self._follow(before, at, active_before=active_before, last_command=last_command)
            attempt.ambiguous = before.mixed
            for other in late:
                self._take_over(other, attempt)
        elif enter.state == START:
            if attempt.closed and attempt.refused:
                attempt.late.append(call)
            if commands > self.opened:
                attempt.ambiguous |= attempt.closed
                attempt.doubtful |= any(other.exit is None for other in attempt.starts)
        elif self._ends_another(attempt, registration):
            # Everything of this attempt was over: an end that comes now belongs to a Start that is not here.
            attempt = self._follow(attempt, at, active_before=active_before, last_command=last_command)
        call.attempt = attempt
        attempt.last = at
        attempt.settled = attempt.quiet = 0
        self.unsettled[attempt] = self._restless[attempt] = None
        if len(attempt.events) >= MOST_EVENTS:
            attempt.crowded = True
            return
        view = attempt.views.get(registration)
        if view is None:
            view = attempt.views[registration] = RegistrationView()
        self._count(call, attempt)
        was_open = not view.closed
        attempt.events.append(call)
        if enter.state == START:
            view.starts.append(call)
            attempt.starts.append(call)
        else:
            view.terminals.append(call)
            attempt.terminals.append(call)
            if enter.state == COMPLETE:
                attempt.completes.append(call)
        if enter.state == FAILURE or (enter.state == START and not nt_success(enter.op)):
            self._refused(attempt)
        elif enter.state == COMPLETE and attempt.n in self.announced:
            self.announced[attempt.n] = False
        if was_open is view.closed:
            self._opened_or_closed(attempt, was_open=was_open, is_open=not was_open)

    def _refused(self, attempt: Attempt) -> None:
        if not attempt.refused:
            attempt.refused = True
            self.failures += 1
            if not attempt.completes:
                self.announced[attempt.n] = True

    def _late(self, attempt: Attempt) -> list[Callback]:
        """Remove from a failed attempt, and return, the Starts that came after its end and are not answered."""
        late = (
            []
            if attempt.quiet
            else [
                call
                for call in attempt.late
                if (view := attempt.views.get(call.registration))
                and view.starts == [call]
                and not view.closed
            ]
        )
        for call in late:
            del attempt.views[call.registration]
            attempt.events.remove(call)
            attempt.starts.remove(call)
        if late:
            attempt.waiting = sum(not view.closed for view in attempt.views.values())
            if not attempt.waiting:
                self._open_ones.pop(attempt, None)
            attempt.vetoed = any(call.refused for call in attempt.starts)
            attempt.last = max((call.exit_at or call.at for call in attempt.events), default=attempt.first)
        return late

    def _take_over(self, call: Callback, attempt: Attempt) -> None:
        """Move a Start that was counted in the failed attempt to this one."""
        call.attempt = attempt
        attempt.first = min(attempt.first, call.at)
        attempt.since = min(attempt.since, call.at)
        view = attempt.views.setdefault(call.registration, RegistrationView())
        view.starts.append(call)
        view.vetoed = call.veto
        attempt.events.append(call)
        attempt.starts.append(call)
        attempt.vetoed |= call.refused
        self._opened_or_closed(attempt, was_open=False, is_open=not view.closed)

    def _opened_or_closed(self, attempt: Attempt, *, was_open: bool, is_open: bool) -> None:
        attempt.waiting += is_open - was_open
        if attempt.waiting:
            self._open_ones[attempt] = None
        else:
            self._open_ones.pop(attempt, None)

    def _count(self, call: Callback, attempt: Attempt) -> None:
        """Count the first Start and the first Complete that a driver sees of an attempt."""
        stream, state = call.registration.stream, call.enter.state
        if state == START:
            for owner, view in attempt.views.items():
                if view.starts and owner.stream is stream:
                    return
            stream.starts += 1
        elif state == COMPLETE:
            if not any(call.registration.stream is stream for call in attempt.completes):
                stream.completes += 1
                stream.complete_calls.append(call)
                if len(stream.complete_calls) > MOST_ATTEMPTS:
                    del stream.complete_calls[:-MOST_ATTEMPTS]
            self.completed_count += not attempt.completes

    def left(self, call: Callback, at: int) -> None:
        """Record that a callback returned, and what it left in the operation status."""
        attempt = call.attempt
        if attempt is None:
            return
        attempt.last = at
        view = attempt.views.get(call.registration)
        attempt.overwritten |= call.overwrites
        if call.refused and view is not None:
            attempt.vetoed = True
            self._refused(attempt)
            if call.veto and not view.vetoed:
                was_open = not view.closed
                view.vetoed = True
                self._opened_or_closed(attempt, was_open=was_open, is_open=False)

    def _rested(self, attempt: Attempt) -> bool:
        """Return whether the guest was quiet, or a command was sent with nothing under way, since the last event."""
        return bool(attempt.quiet) or self.barrier > attempt.last

    def _ends_another(self, attempt: Attempt, registration: Registration) -> bool:
        """Return whether an end cannot be of ``attempt``: that is over, and its registration awaits none or has its end."""
        view = attempt.views.get(registration)
        awaits = view is not None and bool(view.starts) and not view.terminals
        return not awaits and attempt.closed and self._rested(attempt)

    def _begins_anew(self, attempt: Attempt, registration: Registration) -> bool:
        """Return whether a Start of ``registration`` begins a new attempt rather than joining ``attempt``."""
        rested = self._rested(attempt)
        if rested and attempt.closed:
            return True
        view = attempt.views.get(registration)
        if view is None or not view.starts:
            return False
        return bool(rested or view.terminals or view.vetoed)

    def _open(self, number: int, k: int, at: int, active_before: int) -> Attempt:
        attempt = Attempt(n=number, k=k, since=self.barrier, first=at, active_before=active_before, last=at)
        self.opened += 1
        self.announced[number] = False
        if self._open_ones:
            attempt.overlapped = True
            if len(self._open_ones) == 1:
                next(iter(self._open_ones)).overlapped = True
        if len(self.newest) >= MOST_ATTEMPTS:
            self._seal(next(iter(self.newest.values())), at)
        self.newest.pop(number, None)
        self.newest[number] = attempt
        return attempt

    def _follow(self, before: Attempt, at: int, *, active_before: int, last_command: int) -> Attempt:
        """Open the next attempt on the processor of ``before``."""
        self._supersede(before, at)
        attempt = self._open(before.n, before.k + 1, at, active_before)
        attempt.retried = last_command < before.last
        return attempt

    def _supersede(self, attempt: Attempt, at: int) -> None:
        """Record that the next attempt on the processor begins. What this one lacks shows when the guest is next quiet."""
        if attempt.quiet or len(self._superseded) >= MOST_ATTEMPTS:
            self._seal(attempt, at)
        else:
            self._superseded.append(attempt)

    def _seal(self, attempt: Attempt, at: int) -> None:
        self.unsettled.pop(attempt, None)
        self._restless.pop(attempt, None)
        self._open_ones.pop(attempt, None)
        if self.newest.get(attempt.n) is attempt:
            del self.newest[attempt.n]
        attempt.sealed_at = at
        self._emit(attempt)
        if not attempt.completes and (attempt.terminals or attempt.vetoed):
            self.failed = attempt.n
        attempt.release()
