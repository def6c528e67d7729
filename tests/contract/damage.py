# SPDX-License-Identifier: MIT
"""What can happen to a line on its way into the history, and what of it shows there."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.history.record import Channel, Record
from tests.contract.wired_run import Line, Stream, WiredRun, numbers_of

FORGED = "f0f0f0f0f0f0f0f0"
"""The boot nonce of forged lines."""

HUGE = b"\x55" * 10_000_000
NOISE = bytes(range(11, 256))
GARBAGE = b"HPN1 seq=9 garbage EVT1 n=9 garbage"

Apply = Callable[[Stream, int, random.Random], Stream]


@dataclass(frozen=True)
class Damage:
    """One thing that can happen to the line at a place: its ``group`` in the table, and the stream that it leaves."""

    name: str
    group: str
    apply: Apply


def _put(*parts: Callable[[bytes], bytes]) -> Apply:
    """Replace a line by what each part makes of its bytes."""

    def apply(stream: Stream, place: int, draw: random.Random) -> Stream:
        line = _line(stream, place)
        return [
            *stream[:place],
            *(Line(part(line.data), line.host_ns) for part in parts),
            *stream[place + 1 :],
        ]

    return apply


def _line(stream: Stream, place: int) -> Line:
    line = stream[place]
    assert isinstance(line, Line)
    return line


def _whole(data: bytes) -> bytes:
    return data


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _moved(lines: int) -> Apply:
    """Move a line past that many others, to the end of the lines if there are fewer."""

    def apply(stream: Stream, place: int, draw: random.Random) -> Stream:
        line, rest = _line(stream, place), [*stream[:place], *stream[place + 1 :]]
        others = [at for at, item in enumerate(rest) if isinstance(item, Line)]
        before = sum(at < place for at in others)
        wanted = before + lines
        if not others:
            return list(stream)
        at = others[max(wanted, 0)] if wanted < len(others) else others[-1] + 1
        when = _line(rest, others[min(max(wanted, 0), len(others) - 1)]).host_ns
        return [*rest[:at], Line(line.data, when), *rest[at:]]

    return apply


def forged(data: bytes, *, hello: bool) -> bytes:
    """Return a line of the same form with another boot nonce: a driver's hello (or first event), or the same record."""
    text = data.rpartition(b" crc=")[0]
    text = re.sub(rb" boot=[0-9a-f]{16}", b" boot=" + FORGED.encode(), text)
    if hello and text.startswith(b"HPN1"):
        common = re.fullmatch(rb"HPN1 seq=\d+ (qpc=.*) ev=\S+ (cpu=.* groups=\d+).*", text)
        assert common is not None, text
        text = b"HPN1 seq=1 %s ev=hello %s version=1 hz=10000000 ring=64 mode=nonpnp" % common.groups()
    elif hello:
        text = re.sub(rb" n=\d+ ", b" n=1 ", text)
    return text + b" crc=%08x\n" % zlib.crc32(text)


def _forged_before(*, hello: bool) -> Apply:
    return _put(lambda data: forged(data, hello=hello), _whole)


DAMAGES = [
    Damage("lost", "lost", _put()),
    Damage("torn, the next line glued on", "torn", _put(_half)),
    Damage("torn, its newline kept", "torn", _put(lambda data: _half(data) + b"\n")),
    Damage("torn, its beginning lost", "torn", _put(lambda data: data[len(data) // 2 :])),
    Damage("doubled", "doubled", _put(_whole, _whole)),
    Damage("3 lines earlier", "moved", _moved(-3)),
    Damage("1 line later", "moved", _moved(1)),
    Damage("4 lines later", "moved", _moved(4)),
    Damage("moved to the end", "moved", _moved(1 << 30)),
    Damage("after a forged hello", "forged boot", _forged_before(hello=True)),
    Damage("after a forged record", "forged boot", _forged_before(hello=False)),
    Damage("before binary noise", "noise", _put(_whole, lambda _data: NOISE)),
    Damage("before a line of binary noise", "noise", _put(_whole, lambda _data: NOISE + b"\n")),
    Damage("before garbage", "noise", _put(_whole, lambda _data: GARBAGE)),
    Damage("before a line of garbage", "noise", _put(_whole, lambda _data: GARBAGE + b"\n")),
    Damage("before 10 MB", "10 MB", _put(_whole, lambda _data: HUGE)),
    Damage("before a line of 10 MB", "10 MB", _put(_whole, lambda _data: HUGE + b"\n")),
]  # fmt: skip


@dataclass(frozen=True)
class DamagedRun:
    """A history after a damage, how it was damaged, and what the damage says of itself in it."""

    what: str
    group: str
    records: list[Record]
    seen: str
    """What of the damage stands in the history, "" if nothing does."""


def damaged(run: WiredRun, damage: Damage, place: int, draw: random.Random) -> DamagedRun:
    """Return a run after one damage to the line at a place."""
    records = run.received(damage.apply(run.stream, place, draw))
    return DamagedRun(_told(run, damage, place), damage.group, records, traces(run, records))


def twice_damaged(run: WiredRun, draw: random.Random) -> DamagedRun:
    """Return a run after two damages, each to a line of its own."""
    one, other = (draw.choice(DAMAGES) for _ in range(2))
    early, late = sorted(draw.sample(run.places(), 2))
    stream = other.apply(run.stream, late, draw)
    place = next(at for at, item in enumerate(stream) if item is run.stream[early])
    stream = one.apply(stream, place, draw)
    records = run.received(stream)
    what = f"{_told(run, one, early)}; {_told(run, other, late)}"
    return DamagedRun(what, "two", records, traces(run, records))


def unaccounted(run: WiredRun) -> DamagedRun:
    """Return a run whose channel was never closed with an account."""
    return DamagedRun("no account", "account", run.received(account=False), "the channel has no account")


def _told(run: WiredRun, damage: Damage, place: int) -> str:
    number = run.places().index(place) + 1
    kind = re.search(rb" (?:ev=\S+|id=\d+)", _line(run.stream, place).data)
    return f"line {number} of {len(run.places())} ({kind[0].decode().strip() if kind else '?'}) {damage.name}"


def traces(run: WiredRun, records: Sequence[Record]) -> str:
    """Return what tells, without the whole run, that it was damaged; "" if only last records or foreign lines differ."""
    for record in records:
        if isinstance(record, Channel):
            counts = ("torn", "corrupt", "oversized", "stale", "lost")
            before = next(one for one in run.whole if isinstance(one, Channel))
            worse = [name for name in counts if getattr(record, name) > getattr(before, name)]
            if worse:
                return f"the account counts {', '.join(worse)}"
    expected = run.numbers
    for driver, numbers in numbers_of(records).items():
        if driver not in expected:
            return f"boot {driver[0]} was never begun"
        if numbers != expected[driver][: len(numbers)]:
            return "a driver's numbers have a gap, a repetition or another order"
    return ""
