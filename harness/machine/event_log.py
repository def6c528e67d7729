# SPDX-License-Identifier: MIT
"""The event log: every message about one machine, recorded in the history and passed to waiting callers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from harness import locks
from harness.deadline import Deadline
from harness.errors import GuestError, GuestHang, InfrastructureError
from harness.history.record import Qmp
from harness.history.writer import HistoryWriter
from harness.machine.machine import QmpEvent
from harness.machine.qmp_schema import read_event

MOST_EVENTS = 100_000
"""Events that one machine may send. A guest can make QEMU send them without end (one for each write to ACPI's _OST
register). A run of hours has some hundreds."""

LONGEST_NAP = 0.25
"""Seconds between two checks that the machine is still there, while no message arrives."""


class EventLog:
    """Messages in the order in which they were received. ``check`` raises when the machine is gone; any thread may call.

    ``changed`` is notified of every event, and by :meth:`wake`; ``version`` grows with each of them. ``broken`` is the
    error that stopped the recording. The history and ``check`` are called without the lock. One thread at a time takes a
    message to the history and then to the waiting callers.

    Several connections may report to it: one after another to one QEMU, or two at once while a guest migrates. ``ids``
    numbers the commands of all of them, :meth:`joined` the connections themselves.
    """

    def __init__(self, writer: HistoryWriter, check: Callable[[str], None]) -> None:
        self.changed = locks.condition("event log")
        self.version = 0
        self._turn = locks.turn("events")
        self._writer = writer
        self.check_machine = check
        self.ids = itertools.count(1)
        self._connections = 0
        self._serial = 0
        self._events: list[QmpEvent] = []
        self.broken: Exception | None = None

    def joined(self) -> int:
        """Return the number of a new connection, 1 for the first."""
        with self.changed:
            self._connections += 1
            return self._connections

    def vanished(self, number: int) -> None:
        """Record that the connection failed: the next one gets its number, if there is no later one."""
        with self.changed:
            self._connections -= self._connections == number

    def passed(self, direction: Literal["in", "out"], message: dict[str, Any], connection: int) -> None:
        """Record a message in the history and, if it is an event, pass it to the waiting callers."""
        with self._turn:
            host_ns = time.monotonic_ns()
            if self.broken is None:
                try:
                    self._writer.write(
                        Qmp(direction=direction, message=message, monitor=connection), host_ns=host_ns
                    )
                except UnicodeError as error:
                    self.fail(
                        InfrastructureError(
                            f"a message from or to QEMU is not Unicode text: {error}",
                            hint="A name in it has half of a surrogate pair, which no file can hold.",
                        )
                    )
                except Exception as error:  # noqa: BLE001  raised where the caller is, not on the thread of events
                    self.fail(error)
            with self.changed:
                self._serial += 1
                if "event" in message:
                    self._keep(message, host_ns)
                    self.wake()

    def fail(self, error: Exception) -> None:
        """Record that the recording failed: every caller gets ``error``, and nothing more is recorded."""
        with self.changed:
            self.broken = self.broken or error
            self.wake()

    def _keep(self, message: dict[str, Any], host_ns: int) -> None:
        if len(self._events) >= MOST_EVENTS:
            self.fail(
                GuestError(
                    f"the guest made QEMU send {MOST_EVENTS} events, the last of them {message['event']}",
                    hint="It writes to an event register without end; see console.log.",
                )
            )
            return
        try:
            event = read_event(message)
        except InfrastructureError as error:
            self.fail(error)
            return
        stamp = event.timestamp
        self._events.append(
            QmpEvent(
                name=event.event,
                data=event.data,
                serial=self._serial,
                host_ns=host_ns,
                qemu_us=stamp.seconds * 1_000_000 + stamp.microseconds,
            )
        )

    def wake(self) -> None:
        """Make all waiting callers check again."""
        with self.changed:
            self.version += 1
            self.changed.notify_all()

    def wait_change(self, version: int, seconds: float) -> None:
        """Wait until something happens after ``version`` was read, at most ``seconds``."""
        with self.changed:
            self.changed.wait_for(lambda: self.version != version, seconds)

    def check(self, doing: str) -> None:
        """Raise the error that broke the recording, or what ``check`` raises for a machine that is gone."""
        if self.broken is not None:
            raise self.broken
        self.check_machine(doing)

    def serial(self) -> int:
        """Return the serial of the last message."""
        return self._serial

    def events(self, name: str, after: int = 0) -> list[QmpEvent]:
        """Return the events called ``name`` later than ``after``."""
        with self.changed:
            return [event for event in self._events if event.serial > after and event.name == name]

    def wait_event(self, name: str, deadline: Deadline, *, after: int, match: Mapping[str, Any]) -> QmpEvent:
        """Return the first event that matches; see :meth:`harness.machine.machine.Machine.wait_event`."""
        wanted = " ".join([name, *(f"{key}={expected}" for key, expected in match.items())])
        seen = 0
        while True:
            with self.changed:
                version, unseen, seen = self.version, self._events[seen:], len(self._events)
            for event in unseen:
                if event.serial > after and event.name == name and matches(event.data, match):
                    return event
            self.check(f"waiting for {wanted}")
            if deadline.expired:
                raise GuestHang(
                    f"{deadline.what}: no {wanted} within {deadline.seconds:.3g} s",
                    hint="The guest did nothing that makes QEMU send it; see console.log.",
                )
            self.wait_change(version, min(deadline.remaining(), LONGEST_NAP))


def matches(data: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether ``data`` holds every wanted value; a dot in a key leads into a nested object."""
    for key, expected in wanted.items():
        found: Any = data
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return False
            found = found[part]
        if found != expected:
            return False
    return True
