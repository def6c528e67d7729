# SPDX-License-Identifier: MIT
"""One record becomes one short sentence in the words of the field, and gets a lane: who did or saw it.

Every string in a record may have been chosen by a guest, so every sentence goes through :func:`printable`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.history import driver as d
from harness.history import record as r
from harness.history.absent import Absent
from harness.history.bug_check import PANICKED, bug_check_of
from harness.history.nt_status import status_name
from harness.report.escape import printable

LONGEST_SENTENCE = 400

LANES = ("host", "QEMU", "firmware", "driver", "guest")

OST_SOURCES = {0: "bus check", 1: "device check", 3: "eject request", 0x103: "ejection", 0x200: "insertion"}
"""Source events of ``_OST``, ACPI 6.5 section 6.3.5."""

OST_STATUSES = {0: "success", 1: "failure", 2: "notification not recognised"}
"""Status codes of ``_OST`` that mean the same for every source event, ACPI 6.5 section 6.3.5."""

EJECTIONS = (3, 0x103)
EJECTION_STATUSES = {
    0x80: "not supported",
    0x81: "device in use",
    0x82: "device busy",
    0x83: "another device is in use that depends on it",
    0x84: "in progress",
}
"""Status codes of ``_OST`` for an ejection alone, ACPI 6.5 section 6.3.5."""

CALLS = d.CALL_NAMES

CLASSES = {"cpu": "processor interfaces", "memory": "memory interfaces"}
"""The classes that records abbreviate."""


def lane(record: r.Record) -> str:
    """Return whose lane of the timeline ``record`` belongs to: one of :data:`LANES`."""
    if isinstance(record, d.DriverRecord):
        return "driver"
    if isinstance(record, r.Ost):
        return "firmware"
    if isinstance(record, r.GuestEvent | r.Console | r.Count | r.Boot):
        return "guest"
    if isinstance(record, r.Qmp):
        return "QEMU" if record.direction == "in" else "host"
    return "host"


def sentence(record: r.Record, *, answers: str = "") -> str:
    """Return one printable sentence for ``record``, on one line and of bounded length.

    ``answers`` is the QMP command that a reply belongs to; the reply itself does not name it.
    """
    if isinstance(record, r.Qmp):
        text = _qmp(record.message, record.direction, answers)
    else:
        describe = _SENTENCES.get(type(record))
        text = describe(record) if describe else type(record).__name__
    return printable(text, LONGEST_SENTENCE)


def size(count: int) -> str:
    """Return a size in bytes in GiB, MiB or KiB: exactly where one of them fits, else in MiB to one decimal."""
    for unit, shift in (("GiB", 30), ("MiB", 20)):
        if count >= 1 << shift and count % (1 << shift) == 0:
            return f"{count >> shift} {unit}"
    if 1 << 20 <= count < 1 << 60:
        return f"{count / (1 << 20):.1f} MiB"
    return f"{count >> 10} KiB" if count >= 1 << 10 and count % (1 << 10) == 0 else f"{count} bytes"


def _pairs(arguments: dict[str, Any]) -> str:
    return " ".join(
        f"{key}={'{' + _pairs(value) + '}' if isinstance(value, dict) else value}"
        for key, value in arguments.items()
    )


def _qmp(message: dict[str, Any], direction: str, answers: str) -> str:
    if direction == "out":
        arguments = message.get("arguments")
        command = message.get("execute", message.get("exec-oob", "message without a command"))
        return f"{command} {_pairs(arguments) if isinstance(arguments, dict) else ''}".rstrip()
    if "event" in message:
        data = message.get("data")
        if (
            message["event"] == PANICKED
            and isinstance(data, dict)
            and (found := bug_check_of(data)) is not None
        ):
            return f"event {message['event']} action={data.get('action')} {found}"
        return f"event {message['event']} {_pairs(data) if isinstance(data, dict) else ''}".rstrip()
    to = f"{answers}: " if answers else "reply: "
    if "error" in message:
        error = message["error"]
        words = error.get("desc", error) if isinstance(error, dict) else error
        return f"{to}error: {words}"
    if "return" in message:
        value = message["return"]
        return f"{to}ok" if value in ({}, None) else f"{to}{str(value)[:LONGEST_SENTENCE]}"
    return "greeting" if "QMP" in message else str(message)[:LONGEST_SENTENCE]


def _header(e: r.Header) -> str:
    return f"history of run {e.run}, guest {e.guest}, recorded by harness {e.harness} on {e.wall}"


def _stage(e: r.Stage) -> str:
    phase = {"begin": "begins", "end": "done", "fail": "failed", "note": "note"}[e.phase]
    return f"stage {e.name} {phase}{': ' + e.detail if e.detail else ''}"


def _operation(e: r.OperationProgress) -> str:
    phase = {"begin": "", "end": " done", "fail": " failed"}[e.phase]
    detail = f": {e.detail}" if e.detail else ""
    return f"operation {e.index}: {e.name} {_pairs(e.arguments)}".rstrip() + phase + detail


_REPLIED = {
    "accepted": "the machine accepted it",
    "refused": "the machine refused it",
    "unsure": "the monitor dropped before the reply",
}


def _add(e: r.Add) -> str:
    what = "processor" if e.what == "cpu" else f"DIMM of {size(e.bytes)}"
    name = f"add {e.attempt}"
    detail = f": {e.detail}" if e.detail else ""
    if e.phase == "begin":
        where = f" into slot {e.slot}" if e.slot else ""
        return f"{name}: {what}{where} as {e.device}, expected {e.expected}{detail}"
    return f"{name}: {_REPLIED.get(e.phase, 'settled')}{detail}"


def _removal(e: r.Removal) -> str:
    what = "processor" if e.what == "cpu" else f"DIMM of {size(e.bytes)}"
    name = f"take {e.device} out ({e.request})"
    detail = f": {e.detail}" if e.detail else ""
    if e.phase == "begin":
        return f"{name}: {what} in slot {e.slot}, expected {e.expected}{detail}"
    settled = f"settled, {e.outcome or 'not finished'}"
    return f"{name}: {_REPLIED.get(e.phase, settled)}{detail}"


def _ost(e: r.Ost) -> str:
    device = f" ({e.device})" if e.device else ""
    return f"_OST {e.slot_type} slot {e.slot}{device}: {ost_answer(e.source, e.status)}"


def ost_answer(source: int, status: int) -> str:
    """Return an answer of ``_OST`` in words: ``eject request, not supported``."""
    of = EJECTION_STATUSES if source in EJECTIONS else {}
    said = of.get(status) or OST_STATUSES.get(status, f"status {status:#x}")
    return f"{OST_SOURCES.get(source, f'source {source:#x}')}, {said}"


def _count(e: r.Count) -> str:
    why = f" ({e.why})" if e.why else ""
    return f"counts {e.processors} processors, {size(e.memory)} of memory{why}"


_UNSHOWN = {"qemu": "QEMU", "ost": "_OST"}


def _agreement(e: r.Agreement) -> str:
    answers = "; ".join(ost_answer(*answer) for answer in e.ost[:4]) or "none"
    head = "agreed" if e.agreed else "NOT agreed"
    detail = f"; {e.detail}" if e.detail else ""
    if e.unshown:
        head = "as expected" if e.agreed else "NOT as expected"
        absent = " and ".join(f"no {name}" for key, name in _UNSHOWN.items() if key in e.unshown)
        return (
            f"{e.attempt}: {head}, {e.expected}: guest count {_counted(e.counted_before)} -> "
            f"{_counted(e.counted_after)}; {absent} here{detail}"
        )
    return (
        f"{e.attempt}: {head} on {e.expected}: QEMU {'lists' if e.qemu_lists else 'does not list'} it, "
        f"_OST ({answers}), guest count {_counted(e.counted_before)} -> {_counted(e.counted_after)}{detail}"
    )


def _counted(count: int) -> str:
    """A count of an attempt is of processors, or of bytes of memory, of which no guest has fewer than a million."""
    return str(count) if count < 1_000_000 else size(count)


def _expect(e: r.Expectation) -> str:
    if e.met and e.seen == e.demanded:
        return f"expected {e.demanded}: met"
    return f"expected {e.demanded}: {'met' if e.met else 'NOT met'}, seen {e.seen}"


def _quiesced(e: r.Quiesced) -> str:
    return f"no driver record for {_milliseconds(e.quiet_ns)} ms, and the guest answered {e.nonce}"


def _milliseconds(nanoseconds: int) -> int:
    return nanoseconds // 1_000_000


def _channel(e: r.Channel) -> str:
    damage = [
        f"{count} {name}"
        for name in ("lost", "torn", "corrupt", "foreign", "oversized", "stale")
        if (count := getattr(e, name))
    ]
    if e.cut:
        damage += [f"at least {e.dropped} bytes dropped"] if e.dropped else []
        damage += [f"records left out: at least {e.left_out}"] if e.left_out else []
        return f"channel {e.name} cut: {printable(e.cut)}; {', '.join([f'{e.records} records', *damage])}"
    end = "closed" if e.closed else "account"
    return f"channel {e.name} {end}: {e.records} records, {', '.join(damage) if damage else 'nothing lost'}"


def _console(e: r.Console) -> str:
    first, *more = e.text.split("\n")
    lines = f" (and {len(more)} more {'line' if len(more) == 1 else 'lines'})" if more else ""
    return f"console {e.severity}: {printable(first)}{lines}"


def _hello(e: d.Hello) -> str:
    at_most = "" if isinstance(e.maximum, Absent) else f", at most {e.maximum}"
    return f"{e.driver} {e.version} loaded, {_active(e)}{at_most}, QPC at {e.hz} Hz"


def _active(e: d.DriverRecord) -> str:
    active = "" if isinstance(e.active, Absent) else f"{e.active} active, "
    return f"{active}{'' if isinstance(e.irql, Absent) else f'IRQL {e.irql}, '}CPU {e.cpu}"


def _state(state: int) -> str:
    return d.STATE_NAMES.get(state, f"state {state}")


def _sync_enter(e: d.SyncEnter) -> str:
    status = ""
    if e.state == d.FAILURE:
        status = f", {'with Status' if d.nt_success(e.status) else 'because of'} {status_name(e.status)}"
    before = "" if e.op == 0 else f", *OperationStatus already {status_name(e.op)}"
    return f"{_state(e.state)} NtNumber={e.nt} (group {e.group}, number {e.number}), {_active(e)}{status}{before}"


def _sync_exit(e: d.SyncExit) -> str:
    how = "returns"
    if not d.nt_success(e.op):
        # Only Start can veto.
        how += " and vetoes with " if e.state == d.START else " with *OperationStatus "
        how += status_name(e.op)
    return f"{_state(e.state)} NtNumber={e.nt} {how}"


def _async_enter(e: d.AsyncEnter) -> str:
    what = {"cpu": "processor", "memory": "memory"}.get(e.cls) or d.class_name(e.cls)
    memory = f", {size(e.memory)} in all" if e.memory else ""
    return f"{what} {e.event}, {_active(e)}{memory}, {printable(e.link, 80)}"


def _call_enter(e: d.CallEnter) -> str:
    cls = f" for {CLASSES.get(e.cls, e.cls)}" if e.cls else ""
    flags = f", flags {e.flags:#x}" if e.flags else ""
    if e.call == "reg_sync" and e.flags & d.ADD_EXISTING:
        flags = ", ADD_EXISTING"
    if e.call == "reg_async" and e.flags & d.INCLUDE_EXISTING:
        flags = ", INCLUDE_EXISTING"
    return f"{CALLS[e.call]}{cls} entered{flags}"


def call_result(e: d.CallExit) -> str:
    """Return what a call gave back: ``a handle`` or ``NULL`` for the synchronous registration, else its status."""
    if e.call == "reg_sync":
        return "a handle" if e.handle else "NULL"
    return status_name(e.result)


def _migration(e: r.Migration) -> str:
    why = f": {printable(e.detail)}" if e.detail else ""
    if e.phase == "begin":
        return f"the guest is to go on in process {e.target}, from process {e.source}{why}"
    if e.phase == "moved":
        return f"the guest goes on in process {e.target}; process {e.source} is gone{why}"
    return f"the guest stays in process {e.source}{why}"


_SENTENCES: dict[type[r.Record], Callable[[Any], str]] = {
    r.Header: _header,
    r.Clock: lambda e: f"clock {e.domain} runs at {e.hz} Hz",
    r.Boot: lambda e: f"boot {e.epoch} ({e.cause})",
    r.Stage: _stage,
    r.Migration: _migration,
    r.OperationProgress: _operation,
    r.Add: _add,
    r.Removal: _removal,
    r.Ost: _ost,
    r.Count: _count,
    r.Agreement: _agreement,
    r.Expectation: _expect,
    r.Quiesced: _quiesced,
    r.GuestEvent: lambda e: f"{e.event}{': ' + e.detail if e.detail else ''}",
    r.Console: _console,
    r.Channel: _channel,
    r.Mapped: lambda e: f"records of {e.driver} are made from trace events of provider {e.provider}",
    r.Profile: lambda e: f"driver {e.driver} has the profile {e.promises}",
    r.Offset: lambda e: (
        f"the driver read {e.qpc} within {_milliseconds(e.high_ns - e.low_ns)} ms of the host's time"
    ),
    r.RunFailure: lambda e: f"{e.failure_class} in stage {e.stage}: {e.message}",
    r.End: lambda e: f"run {e.outcome}",
    d.Hello: _hello,
    d.SyncEnter: _sync_enter,
    d.SyncExit: _sync_exit,
    d.AsyncEnter: _async_enter,
    d.AsyncExit: lambda e: f"arrival callback returns {status_name(e.ret)}",
    d.CallEnter: _call_enter,
    d.CallExit: lambda e: f"{CALLS[e.call]} returned {call_result(e)}",
    d.Alloc: lambda e: f"allocated {e.size} bytes for NtNumber={e.nt} (object {e.object:#x})",
    d.Free: lambda e: f"freed object {e.object:#x} of NtNumber={e.nt}",
    d.Bind: lambda e: f"bound a {e.what} to NtNumber={e.nt} (group {e.group}, number {e.number})",
    d.Work: lambda e: f"worker of NtNumber={e.nt} ran on CPU {e.cpu}, {e.done} done",
    d.Grow: lambda e: f"buffer grew from {size(e.before)} to {size(e.after)}",
    d.PnpEnter: lambda e: f"{e.minor} for {e.device}",
    d.PnpExit: lambda e: f"{e.minor} for {e.device} returns {status_name(e.ret)}",
    d.Mark: lambda e: f"reports mark {e.nonce}, which the host had requested",
    d.Overrun: lambda e: f"ring overwrote {e.count} records nobody had read",
}
