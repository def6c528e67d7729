# SPDX-License-Identifier: MIT
"""Records for the tests of the report: arbitrary ones for Hypothesis, and a small run written by hand."""

from typing import Any

from hypothesis import strategies as st

from harness.history import driver as d
from harness.history import record as r
from harness.history.reader import AnyRecord

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ANY_INT = st.integers(min_value=-(1 << 70), max_value=1 << 70)
JSON = st.recursive(
    st.none() | st.booleans() | ANY_INT | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.dictionaries(
    st.sampled_from(["execute", "arguments", "id", "return", "error", "event", "data", "QMP"]) | ANY_TEXT,
    JSON,
    max_size=4,
)
QMP = st.builds(
    r.Qmp,
    direction=st.sampled_from(["in", "out"]),
    message=MESSAGES,
    monitor=st.integers(min_value=1, max_value=3),
    host_ns=ANY_INT,
)

st.register_type_strategy(str, ANY_TEXT)
st.register_type_strategy(int, ANY_INT)

TYPES: tuple[type[r.Record], ...] = AnyRecord.__args__  # type: ignore[attr-defined]


def _arguments(kind: type[r.Record]) -> dict[str, Any]:
    return {"arguments": st.dictionaries(ANY_TEXT, JSON, max_size=3)} if kind is r.OperationProgress else {}


ANY_RECORD = st.one_of(QMP, *(st.builds(kind, **_arguments(kind)) for kind in TYPES if kind is not r.Qmp))
"""Any record of any type with any field values its type allows."""


class Run:
    """Builds a run's records: each call appends one at ``ms`` after the first."""

    def __init__(self) -> None:
        self.records: list[r.Record] = []
        self._seq = 0

    def add(self, ms: float, record: r.Record) -> None:
        """Append a record of the host side."""
        import msgspec

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
