# SPDX-License-Identifier: MIT
"""Lines that a hostile kernel slips into the stream of a driver: well-formed, of any kind, with any number and any name."""

from __future__ import annotations

import random
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from harness.contract.checker import judge
from harness.contract.notation import VETO
from harness.contract.verdict import RunVerdict, Verdict
from harness.history.driver import AnyDriverRecord, CallName, DriverRecord
from harness.history.record import Boot, Channel
from tests.capture.lines import encode_line
from tests.contract.damage import FORGED
from tests.contract.wired_run import Line, Stream, WiredRun

KINDS: tuple[type[DriverRecord], ...] = typing.get_args(AnyDriverRecord)

ANOTHER = "b"
"""The driver that a forged line may claim to be of, beside the true one."""

NUMBERS: dict[str, tuple[int, ...]] = {
    "reg": (1, 2, 3), "state": (0, 1, 2), "nt": (0, 1, 2, 3), "group": (0,), "number": (0, 1, 2, 3),
    "status": (0, VETO), "op": (0, VETO), "ctx": (0x1000,), "result": (0, VETO), "handle": (0, 1), "ret": (0, VETO),
    "active": (2, 3), "active_g0": (2, 3), "active_g0_ex": (2, 3), "maximum": (8,), "groups": (1,), "irql": (0,),
    "flags": (0, 1), "version": (1,), "mask": (3, 7), "max_in_group": (8,), "hz": (10_000_000,), "object": (0x101,),
    "cpu": (0,), "thread": (7,),
}  # fmt: skip
"""What a forged field may say, if it is a number: values that the examples use, so that a line fits among theirs."""

TEXTS: dict[str, tuple[str, ...]] = {
    "event": ("arrival",), "cls": ("cpu", "memory"), "link": ("cpu2", "cpu0", "dimm1"), "version": ("1.0",),
    "nonce": ("m1",), "device": ("pci0",), "minor": ("QUERY_STOP", "STOP", "START", "D0Exit"),
    "call": typing.get_args(CallName), "mode": ("nonpnp", "pnp"), "what": ("thread", "dpc"),
}  # fmt: skip


@dataclass(frozen=True)
class ForgedLine:
    """A line, and before which item of the stream it stands."""

    place: int
    record: DriverRecord

    def __str__(self) -> str:
        own = {
            field: value
            for field, value in msgspec.structs.asdict(self.record).items()
            if field in ("seq", "boot", "driver", "state", "nt", "call", "enter", "minor", "reg", "op")
        }
        return f"{self.record.__struct_config__.tag} {own} before item {self.place}"


def one_driver(run: WiredRun) -> bool:
    """Return whether all lines of a run are of one driver."""
    return len({record.driver for record in run.whole if isinstance(record, DriverRecord)}) == 1


def forgery(run: WiredRun, draw: random.Random) -> ForgedLine:
    """Draw a well-formed line and a place for it among those of a run."""
    said = [record for record in run.whole if isinstance(record, DriverRecord)]
    last = max(record.seq for record in said)
    first = next(at for at, item in enumerate(run.stream) if isinstance(item, Boot)) + 1
    end = next(at for at, item in enumerate(run.stream) if isinstance(item, Channel))
    place = draw.randint(first, end)
    lines = run.places()
    before = sum(at < place for at in lines)
    # The number that comes next at the place, those around it, the one after the last, and any other.
    seq = draw.choice([before + 1, max(before, 1), last + 1, draw.randint(1, last), 1, last + 2, 1 << 40])
    near = said[min(before, len(said) - 1)]
    record = _any(draw, seq=seq, qpc=near.qpc, enter=draw.choice([record.seq for record in said] + [seq - 1]))
    return ForgedLine(
        place,
        msgspec.structs.replace(
            record,
            boot=draw.choice([near.boot, near.boot, FORGED]),
            driver=draw.choice([near.driver, near.driver, ANOTHER]),
        ),
    )


def _any(draw: random.Random, **given: int) -> DriverRecord:
    kind = draw.choice(KINDS)
    values: dict[str, typing.Any] = {"channel": "debugcon", "boot": FORGED, "driver": ANOTHER}
    for field in msgspec.structs.fields(kind):
        if field.name in ("n", "host_ns") or field.name in values:
            continue
        if field.name in given:
            values[field.name] = given[field.name]
        elif field.type is int:
            values[field.name] = draw.choice(NUMBERS.get(field.name, (0, 1)))
        else:
            values[field.name] = draw.choice(TEXTS[field.name])
    return kind(**values)


def inserted(run: WiredRun, lines: Sequence[ForgedLine]) -> Stream:
    """Return a run's stream with forged lines in their places."""
    stream = list(run.stream)
    for line in sorted(lines, key=lambda one: one.place, reverse=True):
        stream.insert(line.place, Line(encode_line(line.record), stream[line.place - 1].host_ns))
    return stream


def continues(run: WiredRun, lines: Sequence[ForgedLine]) -> bool:
    """Return whether the lines go on exactly where the true stream ends: nothing tells them from true ones."""
    said = [record for record in run.whole if isinstance(record, DriverRecord)]
    last, end = said[-1], run.places()[-1]
    ordered = sorted(lines, key=lambda one: (one.place, one.record.seq))
    expected = [(last.boot, last.driver, last.seq + 1 + at) for at in range(len(ordered))]
    return (
        all(one.place > end for one in ordered)
        and [(one.record.boot, one.record.driver, one.record.seq) for one in ordered] == expected
    )


def broken(verdict: RunVerdict) -> set[str]:
    """Return the rules that make a run violated."""
    levels = ("error", "error(driver)")
    return {rule.rule for rule in verdict.rules if rule.verdict is Verdict.VIOLATED and rule.level in levels}


def excused(run: WiredRun, lines: Sequence[ForgedLine]) -> Iterator[str]:
    """Yield what forged lines turned into a good verdict: the run, or a rule that the true lines show violated."""
    return excused_by(run.verdict, judge(run.received(inserted(run, lines))))


def excused_by(before: RunVerdict, after: RunVerdict) -> Iterator[str]:
    """Yield what is violated in one verdict and good in the other: the run holds, or a rule is not even unknown."""
    rules = {rule.rule: rule.verdict for rule in after.rules}
    if after.verdict is Verdict.HOLDS:
        yield "the run holds"
    for rule in sorted(broken(before)):
        if rules[rule] not in (Verdict.VIOLATED, Verdict.UNKNOWN):
            yield f"a rule is {rules[rule]}: {rule}"
