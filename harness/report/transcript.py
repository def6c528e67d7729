# SPDX-License-Identifier: MIT
"""The transcript of a run: what happened in it, in a form in which the same plan on two guests reads the same.

A transcript is a set of *stories*. A story is an ordered list of steps in words: the calls of one registration about one
processor, the calls of one load of the driver, the arrivals of one class, the order in which callbacks were entered, or the
outcome of each attempt. Stories have no order between them, because the documents promise none and guests differ.

What must differ between guests is left out:

- clocks, sequence numbers, addresses and threads;
- the processor that a callback ran on;
- names of services and interfaces, of which only the first, the second … is kept;
- sizes of memory and allocations, and the maximum number of processors;
- records of the driver's own threads (``bind``, ``work``), which come whenever those run;
- the ``mark`` record of a nonce, which the harness asked for.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from harness.history import driver as d
from harness.history.driver import STATE_NAMES, DriverRecord, nt_success
from harness.history.reader import History
from harness.history.record import Agreement, Channel, End, Expectation, OperationProgress
from harness.report.sentence import CALLS

MOST_STEPS = 200_000
"""Steps that are kept of one run; what comes later is not compared, and the comparison says so."""

MOST_STREAMS = 10_000
"""Drivers, boot by boot, that are told apart."""

QEMU = "QEMU's list of devices"
FIRMWARE = "the firmware's _OST"
ABSENT = {"qemu": QEMU, "ost": FIRMWARE}
"""The story that each name in ``Agreement.unshown`` stands for."""

DEVICE = ", device "
"""What the story of a device has in its name. Guests have different devices, and none is missed where there is none."""

ORDER = "order of callbacks"
ATTEMPTS = "attempts"
OPERATIONS = "operations of the plan"

_CALLS = {**CALLS, "unload": "EvtDriverUnload"}


class Transcript(msgspec.Struct, kw_only=True):
    """One run. ``plan`` are the operations that it was told to do, ``guest`` the label of its guest.

    ``records`` has the number of each step's record, story by story. ``unshown`` are stories that this guest's machine cannot tell. ``missing`` says in words why the transcript may not be
    whole; ``cut`` is true if it only ends early, so that what is there is as it was, and ``lossy`` if any of the driver's
    stories may have a hole.
    """

    run: str
    guest: str
    plan: list[str] = []
    stories: dict[str, list[str]] = {}
    records: dict[str, list[int]] = {}
    unshown: set[str] = set()
    missing: list[str] = []
    cut: bool = False
    lossy: bool = False


class _Load:
    """What is remembered of one load of one driver while it is read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.registering = False
        self.links: dict[str, int] = {}
        self.completes = 0
        self.hot_arrivals = 0


class TranscriptReader:
    """Turns records into a transcript: :meth:`take` each in file order, then :meth:`finish`."""

    def __init__(self, run: str, guest: str) -> None:
        self.transcript = Transcript(run=run, guest=guest)
        self._loads: dict[tuple[str, str], _Load] = {}
        self._count: Counter[str] = Counter()
        self._drivers: dict[str, int] = {}
        self._channel: dict[tuple[str, str], str] = {}
        self._last: dict[tuple[str, str], int] = {}
        self._ended = False
        self._steps = 0
        self._number = 0

    def take(self, record: object) -> None:
        """Take one record of any kind."""
        self._number = getattr(record, "n", 0)
        match record:
            case DriverRecord():
                self._driver(record)
            case OperationProgress(phase="begin"):
                self.transcript.plan.append(_operation(record))
            case OperationProgress():
                self._operation(record)
            case Agreement():
                self._agreement(record)
            case Expectation():
                self._tell(OPERATIONS, f"expect: {'met' if record.met else 'NOT met'}")
            case Channel() if record.cut:
                self._lost(f"channel {record.name} was cut")
            case Channel() if record.lost or record.torn or record.corrupt or record.oversized:
                self._lost(f"channel {record.name} lost or damaged lines")
            case End():
                self._ended = True
                if record.outcome != "completed" and not self.transcript.cut:
                    self._cut(
                        {"failed": "the run failed"}.get(record.outcome, f"the run was {record.outcome}")
                    )
            case _:
                pass

    def finish(self, damage: str = "") -> Transcript:
        """Return the transcript. ``damage`` says why the history could not be read to its end."""
        if damage:
            self._cut(f"the history is damaged: {damage}")
        elif not self._ended:
            self._cut("the history has no end")
        return self.transcript

    def _tell(self, story: str, step: str) -> None:
        if self._steps == MOST_STEPS:
            self._lost(f"only its first {MOST_STEPS} steps are compared")
        self._steps += 1
        if self._steps <= MOST_STEPS:
            self.transcript.stories.setdefault(story, []).append(step)
            self.transcript.records.setdefault(story, []).append(self._number)

    def _cut(self, why: str) -> None:
        self.transcript.cut = True
        self._missing(why)

    def _lost(self, why: str) -> None:
        self.transcript.lossy = True
        self._missing(why)

    def _missing(self, why: str) -> None:
        if why not in self.transcript.missing and len(self.transcript.missing) < 20:
            self.transcript.missing.append(why)

    # -- the host's side ----------------------------------------------------------------------------------------

    def _operation(self, operation: OperationProgress) -> None:
        if operation.phase == "fail":
            self._cut(f"operation {operation.index} ({operation.name}) failed: {operation.detail}")
        else:
            self._tell(OPERATIONS, f"{operation.name}: done")

    def _agreement(self, agreement: Agreement) -> None:
        grown = agreement.counted_after - agreement.counted_before
        # Of a DIMM's bytes guests keep different shares for themselves; whether they are enough, "agreed" says.
        more = "more memory" if grown >= 1 << 20 else f"{grown} more" if grown else "nothing more"
        if grown < 0:
            more = "less memory" if grown <= -1 << 20 else f"{-grown} fewer"
        verdict = "as expected" if agreement.agreed else f"NOT as expected: {agreement.detail}"
        self._tell(ATTEMPTS, f"{agreement.attempt} {agreement.expected}: {verdict}; {more} counted")
        absent = {ABSENT[name] for name in agreement.unshown if name in ABSENT}
        self.transcript.unshown |= absent
        if agreement.expected == "refused":
            return
        if QEMU not in absent:
            self._tell(QEMU, f"{agreement.attempt}: {'listed' if agreement.qemu_lists else 'not listed'}")
        if FIRMWARE not in absent:
            told = any(answer in ((1, 0), (0x200, 0), (3, 0), (0x103, 0)) for answer in agreement.ost)
            self._tell(FIRMWARE, f"{agreement.attempt}: {'success' if told else 'no success'}")

    # -- the driver's side --------------------------------------------------------------------------------------

    def _driver(self, record: DriverRecord) -> None:
        key = (record.boot, record.driver)
        if key not in self._channel:
            if len(self._channel) >= MOST_STREAMS:
                self._lost(f"more than {MOST_STREAMS} drivers and boots")
                return
            self._channel[key] = record.channel
        if self._channel[key] != record.channel:
            return
        last = self._last.get(key, 0)
        if record.seq <= last:
            return
        if record.seq > last + 1:
            self._lost(f"records of {record.driver} are missing before number {record.seq}")
        self._last[key] = record.seq
        if isinstance(record, d.Hello) or key not in self._loads:
            self._count[record.driver] += 1
            driver = self._drivers.setdefault(record.driver, len(self._drivers) + 1)
            self._loads[key] = _Load(f"driver {driver}, load {self._count[record.driver]}")
        self._step(self._loads[key], record)

    def _step(self, load: _Load, record: DriverRecord) -> None:
        match record:
            case d.Hello():
                self._tell(load.name, f"loaded: version {record.version}, {record.mode}")
            case d.CallEnter():
                load.registering |= record.call == "reg_sync"
                self._tell(
                    load.name, f"{_call(record.call, record.reg, record.cls)}: flags {record.flags:#x}"
                )
            case d.CallExit():
                load.registering &= record.call != "reg_sync"
                gave = " and a handle" if record.handle else ""
                self._tell(load.name, f"{_call(record.call, record.reg)} returned {record.result:#x}{gave}")
            case d.SyncEnter():
                self._tell(_of_processor(load, record), _entered(load, record))
                self._tell(
                    f"{load.name}, registration {record.reg}: {ORDER}",
                    f"{_state(record)} of processor {record.nt}",
                )
            case d.SyncExit():
                load.completes += record.state == d.COMPLETE and not load.registering
                veto = "" if nt_success(record.op) else ", a veto"
                self._tell(
                    _of_processor(load, record),
                    f"{_state(record)} returns: status {record.status:#x}, operation status {record.op:#x}{veto}",
                )
            case d.Alloc() | d.Free():
                done = "allocated" if isinstance(record, d.Alloc) else "freed"
                self._tell(_of_processor(load, record), f"its memory is {done}")
            case d.AsyncEnter():
                self._tell(f"{load.name}, registration {record.reg}: arrivals", _arrival(load, record))
            case d.AsyncExit():
                self._tell(
                    f"{load.name}, registration {record.reg}: arrivals", f"callback returns {record.ret:#x}"
                )
            case d.PnpEnter():
                self._tell(f"{load.name}{DEVICE}{record.device}", record.minor)
            case d.PnpExit():
                self._tell(f"{load.name}{DEVICE}{record.device}", f"{record.minor} returns {record.ret:#x}")
            case _:
                pass


def _call(call: str, reg: int, cls: str = "") -> str:
    return _CALLS[call] + (f" for registration {reg}" if reg else "") + (f" ({cls})" if cls else "")


def _of_processor(load: _Load, record: d.SyncEnter | d.SyncExit | d.Alloc | d.Free) -> str:
    return f"{load.name}, registration {record.reg}: processor {record.nt}"


def _state(record: d.SyncEnter | d.SyncExit) -> str:
    return STATE_NAMES.get(record.state, f"state {record.state}")


def _entered(load: _Load, record: d.SyncEnter) -> str:
    when = " while registering" if load.registering else ""
    return (
        f"{_state(record)}{when}: group {record.group}, number {record.number}, status {record.status:#x}, "
        f"operation status {record.op:#x}; IRQL {record.irql}; {record.active} active, {record.active_g0} and "
        f"{record.active_g0_ex} in group 0, {record.groups} groups, mask {record.mask:#x}; index gives "
        f"{record.idx_status:#x} {record.idx_group}/{record.idx_number}, back {record.back_idx}"
    )


def _arrival(load: _Load, record: d.AsyncEnter) -> str:
    known = record.link in load.links
    nth = load.links.setdefault(record.link, len(load.links) + 1)
    when = ""
    if record.cls == "cpu" and not known:
        load.hot_arrivals += 1
        when = (
            ", "
            + ("after" if load.completes >= load.hot_arrivals else "before")
            + " its processor's Complete"
        )
    return (
        f"{record.event} of {record.cls} interface {nth}{' again' if known else ''}, version {record.version}, "
        f"IRQL {record.irql}{when}"
    )


def _operation(operation: OperationProgress) -> str:
    words = " ".join(f"{key}={value!r}" for key, value in sorted(operation.arguments.items()))
    return f"{operation.name} {words}".rstrip()


def read_transcript(path: Path) -> Transcript:
    """Read the transcript of a run directory or a history file. Raises BadHistory if there is none."""
    return transcript_of(History(path))


def transcript_of(history: History) -> Transcript:
    """Return the transcript of an opened history."""
    reader = TranscriptReader(history.header.run, history.header.guest)
    for record in history:
        reader.take(record)
    return reader.finish(history.damage)
