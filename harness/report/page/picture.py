# SPDX-License-Identifier: MIT
"""What the picture of a run shows besides single records: spans, gaps of the capture, and the known order."""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.history import driver as d
from harness.history import record as r
from harness.history.nt_status import status_name
from harness.report.escape import printable
from harness.report.page import lanes
from harness.report.sentence import CALLS, call_result

MOST_OPEN = 100_000
"""Entries whose return is awaited at once, at most; a forged history may have any number."""

MOST_GAPS = 2_000
MOST_LABEL = 60

SpanLook = Literal["start", "complete", "failure", "arrival", "call", "stage", "operation", "add", "bad"]

REASONS = {
    "call": "entry and return of one call",
    "reply": "a command comes before its reply",
    "causality": "a command comes before its effect on the same device",
    "program": "both were logged by one driver under its lock, one after the other",
    "host": "the harness did both, one after the other",
}
"""Why one record is known to come before another. None of them compares two times."""


class Span(msgspec.Struct, kw_only=True):
    """A span of time, from ``begin`` to ``end`` in nanoseconds; ``end`` is -1 if it is not known to have ended.

    ``first`` and ``last`` are the records at its ends, 0 for none.
    """

    lane: str
    begin: int
    end: int
    first: int
    last: int
    label: str
    look: SpanLook


class CaptureGap(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch in which records are known to be missing: why, and the record that shows it."""

    begin: int
    end: int
    text: str
    record: int


class KnownOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Record ``before`` is known to come before ``after``; ``why`` is a key of :data:`REASONS`."""

    before: int
    after: int
    why: str


class Picture:
    """Takes the records in file order, each with its place on the time axis."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.gaps: list[CaptureGap] = []
        self.order: list[KnownOrder] = []
        self._open: dict[tuple[object, ...], Span] = {}
        self._commands: dict[tuple[int, str], int] = {}
        self._devices: dict[str, int] = {}
        self._sequence: dict[tuple[str, str], tuple[int, int, int]] = {}
        self._seen: set[tuple[str, str, int]] = set()
        self._last = 0

    def take(self, record: r.Record, at: int) -> None:
        """Take a record that stands at ``at``."""
        self._last = max(self._last, at)
        if isinstance(record, d.DriverRecord):
            self._of_driver(record, at)
        elif isinstance(record, r.Qmp):
            self._qmp(record)
        elif isinstance(record, r.Stage):
            self._stage(record, at)
        elif isinstance(record, r.OperationProgress):
            self._operation(record, at)
        elif isinstance(record, r.Add | r.Removal):
            self._attempt(record, at)
        elif isinstance(record, r.Agreement):
            self._follows(record.attempt, record)
        elif isinstance(record, r.Ost):
            self._follows(record.device, record)
        elif isinstance(record, r.Channel):
            self._channel(record, at)

    def finish(self, damage: str) -> None:
        """Close what is open. ``damage`` says why the history could not be read further, "" if it could."""
        for span in self._open.values():
            span.end = self._last
        if damage:
            self._gap(self._last, self._last, f"the history ends here: {damage}", 0)

    def _begin(
        self, key: tuple[object, ...], record: r.Record, at: int, *, lane: str, label: str, look: SpanLook
    ) -> None:
        label = printable(label, MOST_LABEL)
        span = Span(lane=lane, begin=at, end=-1, first=record.n, last=0, label=label, look=look)
        self.spans.append(span)
        if len(self._open) < MOST_OPEN:
            self._open[key] = span

    def _end(self, key: tuple[object, ...], record: r.Record, at: int) -> Span | None:
        span = self._open.pop(key, None)
        if span is not None:
            span.end, span.last = max(at, span.begin), record.n
            self._known(span.first, record.n, "call" if isinstance(record, d.DriverRecord) else "host")
        return span

    def _known(self, before: int, after: int, why: str) -> None:
        if before and after:
            self.order.append(KnownOrder(before=before, after=after, why=why))

    def _gap(self, begin: int, end: int, text: str, record: int) -> None:
        if len(self.gaps) < MOST_GAPS:
            self.gaps.append(CaptureGap(begin=begin, end=end, text=printable(text, 300), record=record))

    def _of_driver(self, record: d.DriverRecord, at: int) -> None:
        one = record.boot, record.driver, record.seq
        if one in self._seen:
            # The copy of another channel.
            return
        self._seen.add(one)
        self._numbered(record, at)
        name = record.boot, record.driver
        if isinstance(record, d.SyncEnter):
            look: tuple[SpanLook, SpanLook, SpanLook] = ("start", "complete", "failure")
            label = f"{d.STATE_NAMES.get(record.state, f'state {record.state}')} {record.nt}"
            self._callback(record, at, label, look[record.state] if 0 <= record.state < 3 else "bad")
        elif isinstance(record, d.AsyncEnter):
            what = {"cpu": "processor", "memory": "memory"}.get(record.cls, record.cls)
            self._callback(record, at, f"{what} {record.event}", "arrival")
        elif isinstance(record, d.PnpEnter):
            self._callback(record, at, f"{record.minor} {record.device}", "arrival")
        elif isinstance(record, d.CallEnter):
            self._callback(record, at, CALLS[record.call], "call")
        elif isinstance(record, d.SyncExit | d.AsyncExit | d.PnpExit | d.CallExit):
            if (span := self._end((*name, record.enter), record, at)) is not None:
                status = record.op if isinstance(record, d.SyncExit) else getattr(record, "ret", 0)
                if isinstance(record, d.CallExit):
                    span.label += f": {call_result(record)}"
                elif not d.nt_success(status):
                    span.label += f": {status_name(status)}"
                    span.look = "bad"
        elif isinstance(record, d.Overrun):
            self._gap(at, at, f"the driver's ring overwrote {record.count} records nobody had read", record.n)

    def _callback(self, record: d.DriverRecord, at: int, label: str, look: SpanLook) -> None:
        key = record.boot, record.driver, record.seq
        self._begin(key, record, at, lane=lanes.key(record), label=label, look=look)

    def _numbered(self, record: d.DriverRecord, at: int) -> None:
        """Find what is missing between a record and the last one of its driver."""
        name = record.boot, record.driver
        before = self._sequence.get(name)
        if before is not None and record.seq <= before[0]:
            return
        if before is not None:
            missing = record.seq - before[0] - 1
            if missing > 0:
                last = f" to #{record.seq - 1}" if missing > 1 else ""
                text = f"{missing} records of {record.driver} are missing: #{before[0] + 1}{last}"
                self._gap(min(before[1], at), at, text, record.n)
            self._known(before[2], record.n, "program")
        self._sequence[name] = record.seq, at, record.n

    def _qmp(self, record: r.Qmp) -> None:
        message = record.message
        if "id" in message:
            at = record.monitor, str(message["id"])
            if record.direction == "in":
                self._known(self._commands.pop(at, 0), record.n, "reply")
            elif len(self._commands) < MOST_OPEN:
                self._commands[at] = record.n
        arguments = message.get("arguments")
        if record.direction == "out" and isinstance(arguments, dict):
            device = str(arguments.get("id", ""))
            if str(message.get("execute", "")) in ("device_add", "device_del") and device:
                self._known(self._devices.get(device, 0), record.n, "host")
                self._devices[device] = record.n

    def _follows(self, name: str, record: r.Record) -> None:
        self._known(self._devices.get(name, 0), record.n, "causality")

    def _stage(self, record: r.Stage, at: int) -> None:
        if record.phase == "begin":
            key = "stage", record.name
            self._begin(key, record, at, lane=lanes.STAGES, label=record.name, look="stage")
        elif record.phase != "note" and (ended := self._end(("stage", record.name), record, at)) is not None:
            ended.look = "bad" if record.phase == "fail" else "stage"

    def _operation(self, record: r.OperationProgress, at: int) -> None:
        if record.phase == "begin":
            key, label = ("operation", record.index), f"{record.index}. {record.name}"
            self._begin(key, record, at, lane=lanes.HOST, label=label, look="operation")
        elif (
            ended := self._end(("operation", record.index), record, at)
        ) is not None and record.phase == "fail":
            ended.look = "bad"

    def _attempt(self, record: r.Add | r.Removal, at: int) -> None:
        name = record.attempt if isinstance(record, r.Add) else record.request
        if record.phase == "begin":
            verb = "add" if isinstance(record, r.Add) else "take out"
            label = f"{verb} {record.device}"
            self._begin(("attempt", name), record, at, lane=lanes.HOST, label=label, look="add")
            self._devices[record.device] = self._devices[name] = record.n
        elif record.phase in ("settled", "refused"):
            self._end(("attempt", name), record, at)

    def _channel(self, record: r.Channel, at: int) -> None:
        counts = [
            f"{count} {name}"
            for name in ("lost", "torn", "corrupt", "oversized")
            if (count := getattr(record, name)) > 0
        ]
        if record.cut:
            self._gap(at, at, f"channel {record.name} was cut from here on: {record.cut}", record.n)
        elif counts:
            self._gap(at, at, f"channel {record.name} has lost up to here: {', '.join(counts)}", record.n)
