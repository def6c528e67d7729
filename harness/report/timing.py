# SPDX-License-Identifier: MIT
"""The timing of a run: how long each of its stages took, from its own records.

All times are the host's when the harness learnt of something. So a record of the guest is never timed earlier than it happened,
and the time until the harness read it counts as the guest's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from harness.history.driver import COMPLETE, START, AsyncEnter, SyncEnter
from harness.history.record import Add, End, GuestEvent, OperationProgress, Ost, Qmp, Record, Stage
from harness.report.escape import printable


class TimedStage(msgspec.Struct, frozen=True, kw_only=True):
    """One stage: when it began, in milliseconds from the first record, and the milliseconds that it took.

    A stage that was still going on at the end of the history took None. ``of`` is the added device whose consequence this is; it
    began when QEMU was sent the command.
    """

    stage: str
    at_ms: float
    took_ms: float | None
    of: str = ""

    @property
    def line(self) -> str:
        """The line of a table with these columns."""
        took = "-" if self.took_ms is None else f"{self.took_ms:.1f}"
        return f"{self.at_ms:>10.1f} {took:>10} {f'{self.of}: ' if self.of else ''}{printable(self.stage)}"


HEADING = f"{'at, ms':>10} {'took, ms':>10} stage"


class _Attempt:
    """An add from its command on. ``alone`` is false if another one was in progress: the driver's records do not say whose they are."""

    def __init__(self, what: str, began: int) -> None:
        self.what = what
        self.began = began
        self.sent = 0
        self.alone = True
        self.seen: dict[str, int] = {}

    def note(self, what: str, at: int) -> None:
        if self.sent:
            self.seen.setdefault(what, at)


def stages(records: Iterable[Record]) -> list[TimedStage]:
    """Return the stages of a run in the order in which they began."""
    return sorted(_Clock().stages(records), key=lambda one: (one.at_ms, bool(one.of), one.took_ms or 0))


class _Clock:
    def __init__(self) -> None:
        self._first = 0
        self._last = 0
        self._open: dict[str, int] = {}
        self._attempts: dict[str, _Attempt] = {}

    def stages(self, records: Iterable[Record]) -> Iterator[TimedStage]:
        for record in records:
            now = record.host_ns
            self._first = self._first or now
            match record:
                case Stage(name=name, phase="begin"):
                    self._open[name] = now
                case Stage(name=name, phase="end" | "fail") if name in self._open:
                    yield self._took(name, self._open.pop(name), now)
                    self._last = now
                case OperationProgress(index=index, name=name, phase="begin"):
                    self._open[f"{index}. {name}"] = now
                case OperationProgress(index=index, name=name) if f"{index}. {name}" in self._open:
                    yield self._took(f"{index}. {name}", self._open.pop(f"{index}. {name}"), now)
                    self._last = now
                case Add():
                    yield from self._added(record)
                case End() if self._last:
                    yield self._took("end", self._last, now)
                case _:
                    self._consequence(record)
        for name, began in self._open.items():
            yield self._took(name, began, None)

    def _took(self, stage: str, began: int, ended: int | None, of: str = "") -> TimedStage:
        took = None if ended is None else round((ended - began) / 1e6, 3)
        return TimedStage(stage=stage, at_ms=round((began - self._first) / 1e6, 3), took_ms=took, of=of)

    def _added(self, add: Add) -> Iterator[TimedStage]:
        if add.phase == "begin":
            attempt = _Attempt(add.what, add.host_ns)
            for other in self._attempts.values():
                attempt.alone = other.alone = False
            self._attempts[add.device] = attempt
        elif (known := self._attempts.get(add.device)) is not None:
            if add.phase == "accepted":
                known.note("QEMU's reply", add.host_ns)
                return
            if add.phase == "settled":
                known.note("settled", add.host_ns)
            del self._attempts[add.device]
            for what, at in known.seen.items():
                yield self._took(what, known.sent, at, add.device)

    def _consequence(self, record: Record) -> None:
        now = record.host_ns
        if isinstance(record, Qmp):
            if record.direction == "out" and record.message.get("execute") == "device_add":
                arguments = record.message.get("arguments")
                device = arguments.get("id") if isinstance(arguments, dict) else None
                if isinstance(device, str) and device in self._attempts and not self._attempts[device].sent:
                    self._attempts[device].sent = now
        elif isinstance(record, Ost) and record.device in self._attempts:
            self._attempts[record.device].note("_OST", now)
        else:
            what = _of_the_guest(record)
            for attempt in self._attempts.values():
                if attempt.alone and what is not None and what[0] in ("", attempt.what):
                    attempt.note(what[1], now)


def _of_the_guest(record: Record) -> tuple[str, str] | None:
    """Return the kind of device that a record of the guest is about, "" for any, and what it shows."""
    if isinstance(record, SyncEnter):
        shown = {START: "Start", COMPLETE: "Complete"}.get(record.state)
        return ("cpu", shown) if shown is not None else None
    if isinstance(record, AsyncEnter):
        return "", "arrival"
    if isinstance(record, GuestEvent):
        kind = {"online": "cpu", "memory": "dimm"}.get(record.event)
        return (kind, "the guest says online") if kind is not None else None
    return None
