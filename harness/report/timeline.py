# SPDX-License-Identifier: MIT
"""The merged timeline of a run as text: host, QEMU, firmware, driver and guest, one line each, in the order recorded.

Lines stand in file order, the order in which the harness learnt of things; the time in front is the host's clock when
it did. A driver line is therefore never earlier than the driver's own moment, and two lines of different lanes are
not ordered by their times (:mod:`harness.history.record`). How long a callback took is in the driver's own clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.history import driver as d
from harness.history import record as r
from harness.history.absent import ReadableRecords
from harness.history.nt_status import status_name
from harness.report.sentence import call_result, lane, sentence
from harness.report.style import PLAIN, Style

HEADING = f"{'ms':>9} {'who':<8} what"

QUIET_COMMANDS = ("query-", "qom-", "qmp_capabilities", "getfd", "closefd", "human-monitor-command")
"""QMP commands that change nothing a reader of the timeline asks for."""

TELLING_EVENTS = frozenset(
    {
        "RESET", "SHUTDOWN", "POWERDOWN", "STOP", "RESUME", "SUSPEND", "WAKEUP", "GUEST_PANICKED", "GUEST_CRASHLOADED",
        "WATCHDOG", "DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR", "MEM_UNPLUG_ERROR", "BLOCK_IO_ERROR",
    }
)  # fmt: skip
"""QMP events that are shown by default; ``ACPI_DEVICE_OST`` has a record of its own."""

LOUD_CALLS = frozenset(
    {"driver_entry", "unload", "reg_sync", "dereg_sync", "reg_async", "unreg_ex", "unreg_old"}
)

ALWAYS = (
    r.Migration, r.OperationProgress, r.Ost, r.Count, r.Agreement, r.Expectation, r.Quiesced, r.GuestEvent, r.Console, r.RunFailure, r.End, r.Boot,
    d.Hello, d.SyncEnter, d.SyncExit, d.AsyncEnter, d.AsyncExit, d.PnpEnter, d.PnpExit, d.Grow, d.Overrun,
)  # fmt: skip


def timeline(records: Iterable[r.Record], *, everything: bool = False, style: Style = PLAIN) -> Iterator[str]:
    """Yield the lines of the timeline of ``records``, without heading; no line holds a control character.

    ``records`` is iterated twice (a :class:`~harness.history.reader.History` or a list, not an iterator): zero is
    that of :func:`zero_of`, or the first record where nothing was added. With ``everything``, each record gives exactly one
    line. Otherwise records that explain little are left out, copies of a driver record from a second channel too,
    and a callback's return joins the line of its entry when nothing else is shown between them. With a ``style``
    that has a width, what does not fit goes on below itself.
    """
    zero = zero_of(records)
    if zero is None:
        zero = next((record.host_ns for record in records), 0)
    readable = ReadableRecords(records)
    lines = record_lines(readable, zero) if everything else TimelineSelection(zero).lines(readable)
    for line in lines:
        yield from style.fold(line, indent=HEADING.index("what"), breaking=True)


def zero_of(records: Iterable[r.Record]) -> int | None:
    """Return the ``host_ns`` from which the times of a run are counted: its first add or removal, None without one."""
    return next((record.host_ns for record in records if isinstance(record, r.Add | r.Removal)), None)


def record_lines(records: Iterable[r.Record], zero: int | None) -> Iterator[str]:
    """Yield exactly one line for each record. ``zero`` is that of :func:`zero_of`; without one no line has a time."""
    replies = Replies()
    for record in records:
        yield _line(record, zero, sentence(record, answers=replies.answered(record)))


def _line(record: r.Record, zero: int | None, what: str) -> str:
    time = "-" if zero is None else _milliseconds(record.host_ns - zero)
    return f"{time:>9} {lane(record):<8} {what}"


def _milliseconds(after_zero: int) -> str:
    tenths = after_zero // 100_000
    sign = "-" if tenths < 0 else ""
    whole, part = divmod(abs(tenths), 10)
    return f"{sign}{str(whole)[:18]}.{part}"


def _telling(record: r.Qmp, answers: str) -> bool:
    """Return whether a QMP message changes the machine, refuses to, or reports a change."""
    message = record.message
    if "event" in message:
        return str(message["event"]) in TELLING_EVENTS
    if "error" in message:
        return True
    command = answers if record.direction == "in" else str(message.get("execute", ""))
    return bool(command) and not command.startswith(QUIET_COMMANDS)


class Replies:
    """Remembers which QMP command has which id, so that a reply can be called by its command."""

    def __init__(self) -> None:
        self._sent: dict[tuple[int, str], str] = {}

    def answered(self, record: r.Record) -> str:
        """Return the command a reply answers, "" for anything else."""
        if not isinstance(record, r.Qmp) or "id" not in record.message:
            return ""
        key = (record.monitor, str(record.message["id"]))
        if record.direction == "out":
            self._sent[key] = str(record.message.get("execute", record.message.get("exec-oob", "")))
            return ""
        return self._sent.pop(key, "")


class TimelineSelection:
    """The default timeline: what is left out, and which two records share a line. ``zero`` is that of :func:`zero_of`;
    it may become known later."""

    def __init__(self, zero: int | None) -> None:
        self.zero = zero
        self._replies = Replies()
        self._seen: dict[tuple[str, str], set[int]] = {}
        self._rates: dict[str, int] = {}

    def lines(self, records: Iterable[r.Record]) -> Iterator[str]:
        """Yield a line for each record that is shown, or for two that share one."""
        waiting: tuple[r.Record, str] | None = None
        for record in records:
            answers = self._replies.answered(record)
            if isinstance(record, d.Hello):
                self._rates[record.boot] = record.hz
            if not self.shows(record, answers, waiting[0] if waiting else None):
                continue
            if waiting:
                joined = self._joined(waiting[0], record)
                yield self._one(waiting[0], waiting[1] + joined)
                if joined:
                    waiting = None
                    continue
            waiting = (record, sentence(record, answers=answers))
        if waiting:
            yield self._one(*waiting)

    def _one(self, record: r.Record, text: str) -> str:
        return _line(record, self.zero, text)

    def shows(self, record: r.Record, answers: str, before: r.Record | None) -> bool:
        """Return whether a record is shown by default; call it with each record in file order.

        ``answers`` is what :class:`Replies` says of it, ``before`` the record shown last, if it could share its line.
        """
        if isinstance(record, d.DriverRecord):
            seen = self._seen.setdefault((record.boot, record.driver), set())
            if record.seq in seen:
                return False
            seen.add(record.seq)
        if isinstance(record, r.Qmp):
            return _telling(record, answers)
        if isinstance(record, r.Add):
            # The reply to device_add, if it is in the history, has just said "accepted" or "refused".
            answered = isinstance(before, r.Qmp) and before.direction == "in"
            return record.phase in ("begin", "unsure") or (record.phase != "settled" and not answered)
        if isinstance(record, r.Removal):
            return record.phase in ("begin", "unsure", "settled")
        if isinstance(record, r.OperationProgress):
            # Adds and expectations have records of their own that say more.
            told = record.name.startswith("add-") or record.name in ("expect", "unplug")
            return record.phase == "fail" or (record.phase == "begin" and not told)
        if isinstance(record, r.Stage):
            return record.phase == "fail"
        if isinstance(record, r.Channel):
            return bool(record.lost or record.torn or record.corrupt or record.oversized)
        if isinstance(record, d.CallEnter | d.CallExit):
            return record.call in LOUD_CALLS
        return isinstance(record, ALWAYS)

    def _joined(self, first: r.Record, second: r.Record) -> str:
        """Return what ``second`` adds to the line of ``first``, "" if it needs a line of its own."""
        pairs = (
            (d.SyncEnter, d.SyncExit),
            (d.AsyncEnter, d.AsyncExit),
            (d.CallEnter, d.CallExit),
            (d.PnpEnter, d.PnpExit),
        )
        for enter, leave in pairs:
            if isinstance(first, enter) and isinstance(second, leave):
                same = (first.boot, first.driver, first.seq) == (second.boot, second.driver, second.enter)
                return self._returned(first, second) if same else ""
        return ""

    def _returned(self, first: d.DriverRecord, second: d.DriverRecord) -> str:
        took = self._took(first, second)
        if isinstance(second, d.SyncExit):
            veto = "" if d.nt_success(second.op) else f", vetoed with {status_name(second.op)}"
            return f"{veto}{took}"
        if isinstance(second, d.CallExit):
            return f", returned {call_result(second)}{took}"
        status = second.ret if isinstance(second, d.AsyncExit | d.PnpExit) else 0
        return took if status == 0 else f", returned {status_name(status)}{took}"

    def _took(self, first: d.DriverRecord, second: d.DriverRecord) -> str:
        hz = self._rates.get(first.boot, 0)
        ticks = second.qpc - first.qpc
        if not 0 < hz < 1 << 63 or not 0 <= ticks < 1 << 63:
            return ""
        return f", took {ticks * 1000 / hz:.2f} ms"
