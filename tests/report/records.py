# SPDX-License-Identifier: MIT
"""Records for the tests of the report: arbitrary ones for Hypothesis, and a small run written by hand."""

from functools import cache
from random import Random
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from harness.history import driver as d
from harness.history import record as r
from harness.history.reader import AnyRecord

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
KINDS: tuple[type[r.Record], ...] = AnyRecord.__args__  # type: ignore[attr-defined]
MARKS = "\x00\x07\x1b\x7f\x9b\u00ad\u202e\u2028\u2029\ufeff<>&\"'\\/|[]{}%\n\r\t \U0001f600e\u0301"
EDGES = [-1, 0, 1, 2, 63, 64, 255, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, 1 << 70]
MESSAGE = ["execute", "arguments", "id", "return", "error", "event", "data", "QMP"]


def any_text(draw: Random) -> str:
    """Up to 40 characters, mostly few: plain ones, ones that a terminal or a page takes for more, and any other."""
    return "".join(
        draw.choice([chr(draw.randint(32, 126)), draw.choice(MARKS), any_character(draw)])
        for _ in range(draw.choice([0, 1, 2, 5, draw.randint(0, 40)]))
    )


def any_character(draw: Random) -> str:
    """Any but a half of a pair, which UTF-8 cannot write."""
    number = draw.choice([draw.randint(0, 0x3FF), draw.randint(0, 0x10FFFF)])
    return chr(number) if not 0xD800 <= number < 0xE000 else "\ufffd"


def any_number(draw: Random) -> int:
    """A small one, one at an edge, or any of 71 bits."""
    found = draw.choice([draw.randint(0, 9), draw.choice(EDGES), draw.getrandbits(70)])
    return -found if draw.random() < 0.2 else found


def any_json(draw: Random, depth: int = 3) -> Any:
    """Any value of JSON, not deep."""
    kind = draw.randrange(6 if depth else 4)
    if kind < 4:
        return (None, draw.random() < 0.5, any_number(draw), any_text(draw))[kind]
    if kind == 4:
        return [any_json(draw, depth - 1) for _ in range(draw.randint(0, 3))]
    return {any_text(draw): any_json(draw, depth - 1) for _ in range(draw.randint(0, 3))}


def any_value(draw: Random, type_: Any) -> Any:
    """Any value of the type of a field."""
    of, inner = get_origin(type_), get_args(type_)
    if type_ is int:
        return any_number(draw)
    if type_ is str:
        return any_text(draw)
    if type_ is bool:
        return draw.random() < 0.5
    if of is Literal:
        return draw.choice(inner)
    if of in (Union, UnionType):
        return any_value(draw, draw.choice(inner))
    if of is list:
        return [any_value(draw, inner[0]) for _ in range(draw.randint(0, 3))]
    if of is tuple:
        return tuple(any_value(draw, one) for one in inner)
    if of is dict:
        return {any_text(draw): any_value(draw, inner[1]) for _ in range(draw.randint(0, 3))}
    return None if type_ is NoneType else any_json(draw)


def any_record(draw: Random) -> r.Record:
    """Any record of any type with any field values its type allows; what has a default may be left out."""
    kind = draw.choice(KINDS)
    fields = {
        one.name: any_value(draw, one.type) for one in _fields(kind) if one.required or draw.random() < 0.5
    }
    if kind is r.Qmp:
        names = [draw.choice([*MESSAGE, any_text(draw)]) for _ in range(draw.randint(0, 4))]
        fields |= {"message": {name: any_json(draw) for name in names}, "monitor": draw.randint(1, 3)}
    return kind(**fields)


@cache
def _fields(kind: type[r.Record]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


ANY_RECORD = st.integers(0, 2**32).map(lambda seed: any_record(Random(seed)))
"""Drawn from a seed: Hypothesis takes longer to draw each of their fields than a report to tell of them."""


class Run:
    """Builds a run's records: each call appends one at ``ms`` after the first."""

    def __init__(self) -> None:
        self.records: list[r.Record] = []
        self._seq = 0

    def add(self, ms: float, record: r.Record) -> None:
        """Append a record of the host side."""
        self.records.append(
            msgspec.structs.replace(record, n=len(self.records) + 1, host_ns=10**12 + int(ms * 1e6))
        )

    def driver(self, ms: float, kind: type[d.DriverRecord], *, active: int = 2, **fields: Any) -> int:
        """Append a driver record; its QPC runs at 10 MHz with the host's time. Return its sequence number."""
        self._seq += 1
        common = {
            "channel": "debugcon",
            "seq": self._seq,
            "qpc": int(ms * 10_000),
            "boot": "00c0ffee",
            "driver": "hpnotify",
            "cpu": 0,
            "irql": 0,
            "thread": 1,
            "active": active,
            "active_g0": active,
            "active_g0_ex": active,
            "maximum": 6,
            "groups": 1,
        }
        self.add(ms, kind(**{**common, **fields}))
        return self._seq

    def hello(self, ms: float) -> None:
        """The driver says hello."""
        self.driver(ms, d.Hello, version="0.1.0", hz=10_000_000, ring=1024)

    def sync(self, ms: float, state: int, nt: int, *, active: int, op: int = 0, took: float = 0.5) -> None:
        """Append a callback's entry and return."""
        status = 0xC000009A if state == d.FAILURE else 0
        enter = self.driver(
            ms, d.SyncEnter, active=active, reg=1, state=state, nt=nt, group=0, number=nt, status=status, op=0, ctx=1,
            max_in_group=6, mask=(1 << active) - 1, idx_status=0, idx_group=0, idx_number=nt, back_idx=nt,
        )  # fmt: skip
        self.driver(
            ms + took, d.SyncExit, active=active, enter=enter, reg=1, state=state, nt=nt, group=0, number=nt, status=0, op=op
        )  # fmt: skip


def hot_add(*, start: bool = True) -> Run:
    """One processor is added and the contract holds; without ``start`` the driver is never told of the beginning."""
    run = Run()
    run.add(0, r.Header(format=1, harness="0.1.0", run="r1", guest="twin", wall="2026-11-21T09:15:02Z"))
    run.add(1, r.Boot(epoch=1, cause="power-on"))
    run.hello(10)
    register = run.driver(11, d.CallEnter, call="reg_sync", reg=1, flags=0, ctx=1)
    run.driver(12, d.CallExit, enter=register, call="reg_sync", result=1, reg=1, handle=16)
    run.add(20, r.Qmp(direction="out", message={"execute": "query-status", "id": 1}))
    run.add(21, r.Qmp(direction="in", message={"return": {"status": "running"}, "id": 1}))
    run.add(100, r.Add(attempt="cpu-1", phase="begin", what="cpu", device="hp-cpu-1", slot="2"))
    run.add(
        100.2,
        r.Qmp(direction="out", message={"execute": "device_add", "id": 2, "arguments": {"id": "hp-cpu-1"}}),
    )
    run.add(102, r.Qmp(direction="in", message={"return": {}, "id": 2}))
    run.add(102.1, r.Add(attempt="cpu-1", phase="accepted", what="cpu", device="hp-cpu-1", slot="2"))
    run.add(140, r.Ost(device="hp-cpu-1", slot="2", slot_type="CPU", source=1, status=0))
    if start:
        run.sync(145, d.START, 2, active=2)
    run.sync(180, d.COMPLETE, 2, active=3, took=0.25)
    run.add(200, r.Count(processors=3, memory=512 << 20, why="settled"))
    run.add(
        201,
        r.Agreement(
            attempt="cpu-1", expected="added", agreed=True, qemu_lists=True, ost=[(1, 0)], counted_before=2, counted_after=3
        ),
    )  # fmt: skip
    run.add(202, r.Add(attempt="cpu-1", phase="settled", what="cpu", device="hp-cpu-1", slot="2"))
    run.add(205, r.Channel(name="debugcon", records=7 if start else 5, closed=True))
    run.add(210, r.End(outcome="completed"))
    return run
