# SPDX-License-Identifier: MIT
"""How a guest comes to rest: the driver is silent, and the guest is alive. And what is said of a wait that becomes long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import GuestHang
from harness.guest.guest import Guest, GuestCounts
from harness.history.record import Quiesced
from harness.history.writer import HistoryWriter
from harness.run.options import Timeouts
from harness.run.watch import Watch

LONG_WAIT = 2.0
"""Seconds after which :attr:`Rest.tell` is called with what is waited for."""


@dataclass(eq=False)
class Rest:
    """Waits for one guest. ``drain`` forwards everything the guest has written so far.

    ``nonces`` draws what the guest is to repeat. ``while_quiet`` is work for the time in which the driver must be silent
    anyway. ``tell`` is called with what is waited for, and for how long, when a wait becomes long.
    """

    guest: Guest
    writer: HistoryWriter
    watch: Watch
    budget: Timeouts
    drain: Callable[[], None]
    nonces: random.Random
    while_quiet: Callable[[], None] = lambda: None
    tell: Callable[[str], None] = lambda _: None

    def nonce(self) -> str:
        """Return a new nonce: 16 hexadecimal digits."""
        return f"{self.nonces.getrandbits(64):016x}"

    def counts(self, what: str = "count") -> GuestCounts:
        """Return what the guest counts. ``what`` it is asked for is named if it does not answer."""
        return self.guest.counts(Deadline(self.budget.operation, what))

    def after(self, what: str) -> None:
        """Wait until the guest is at rest after ``what``, "" for nothing in particular. Raises as :meth:`quiesce` does."""
        name = f"come to rest after {what}" if what else "come to rest"
        self.quiesce(self.budget.quiet, Deadline(self.budget.operation, name))

    def quiesce(self, quiet: float, deadline: Deadline, *, ask: Callable[[], None] = lambda: None) -> None:
        """Wait for ``quiet`` seconds without driver records, check that the guest is alive, and record that.

        The silence begins with the driver's last record, not with this call. ``ask`` puts a question to the guest during
        the silence, and again if a record of the driver came after it: the last answer lies within the silence that is
        recorded. Raises GuestHang if the driver never becomes silent or the guest does not answer.
        """
        asked_after = -1.0
        look = self.patience(f"{quiet:g} s without a record of the driver", deadline)
        self.drain()
        while True:
            seen = self.watch.last_driver
            if asked_after != seen:
                asked_after = seen
                ask()
            left = seen + quiet - time.monotonic()
            if left > 0:
                self.while_quiet()
                left = max(0.0, seen + quiet - time.monotonic())
                self.watch.wait(
                    lambda seen=seen: look() or self.watch.last_driver > seen,  # type: ignore[misc]
                    Deadline(left, "quiet"),
                )
                if deadline.expired:
                    raise GuestHang(
                        f"the driver did not fall silent for {quiet:g} s within {deadline.seconds:g} s"
                    )
                continue
            nonce = self.nonce()
            self.guest.prove_alive(nonce, deadline)
            # Events that the guest reports only on request are complete up to that request.
            asked = time.monotonic()
            self.drain()
            silent = asked - self.watch.last_driver
            if silent >= quiet:
                self.writer.write(Quiesced(nonce=nonce, quiet_ns=int(silent * 1e9)))
                return

    def patience(self, what: str, deadline: Deadline) -> Callable[[], bool]:
        """Return a function to call from time to time while one waits. It tells once what is waited for. It returns False."""
        began = time.monotonic()
        told: list[str] = []

        def look() -> bool:
            if not told and time.monotonic() >= began + LONG_WAIT:
                told.append(what)
                self.tell(f"waiting for {what}, at most {deadline.remaining():.0f} s more")
            return False

        return look

    def handed_on(self, met: Callable[[], bool]) -> Callable[[], bool]:
        """Return ``met``; if it is false, evaluate it again with the events that the guest reports only on request."""

        def asked() -> bool:
            if met():
                return True
            self.guest.hand_on(Deadline(self.budget.operation, "ask for the driver's events"))
            return met()

        return asked
