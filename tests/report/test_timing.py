# SPDX-License-Identifier: MIT
"""The timing of a run: each stage from its records, and which consequences belong to which add."""

from __future__ import annotations

import msgspec
from report.records import hot_add

from harness.history.driver import START, SyncEnter
from harness.history.record import Add, End, GuestEvent, OperationProgress, Ost, Qmp, Record, Stage
from harness.report.timing import stages


def at(milliseconds: float, record: Record) -> Record:
    """Return the record, received that long after the host's clock read one second."""
    return msgspec.structs.replace(record, host_ns=int(1e9 + milliseconds * 1e6))


def start() -> Record:
    """A Start of the driver."""
    return next(one for one in hot_add().records if isinstance(one, SyncEnter) and one.state == START)


def plug(device: str) -> Qmp:
    """The command that adds a device."""
    return Qmp(direction="out", message={"execute": "device_add", "arguments": {"id": device}})


def add(phase: str, device: str = "cpu-1") -> Add:
    """A step of adding a processor."""
    return Add(attempt=device, phase=phase, what="cpu", device=device)  # type: ignore[arg-type]


def told(records: list[Record]) -> list[tuple[str, float, float | None, str]]:
    """Return the stages as tuples."""
    return [(one.stage, one.at_ms, one.took_ms, one.of) for one in stages(records)]


def test_a_stage_takes_from_its_begin_to_its_end() -> None:
    """Stages, operations and the end; one that failed has ended, one without an end took an unknown time."""
    assert [
        ("image", 0, 20, ""),
        ("boot", 20, 5, ""),
        ("1. settle", 30, 2.5, ""),
        ("end", 32.5, 7.5, ""),
    ] == told(
        [
            at(0, Stage(name="image", phase="begin")),
            at(20, Stage(name="image", phase="end")),
            at(20, Stage(name="boot", phase="begin")),
            at(25, Stage(name="boot", phase="fail")),
            at(30, OperationProgress(index=1, name="settle", phase="begin")),
            at(32.5, OperationProgress(index=1, name="settle", phase="end")),
            at(40, End(outcome="completed")),
        ]
    )
    assert [("boot", 0, None, "")] == told([at(0, Stage(name="boot", phase="begin"))])
    assert [] == told([])


def test_consequences_count_from_the_command() -> None:
    """The reply, _OST, Start, the guest's own word and the settling, each the first after device_add was sent."""
    assert [
        ("QEMU's reply", 2.0),
        ("_OST", 20.0),
        ("Start", 60.0),
        ("the guest says online", 80.0),
        ("settled", 150.0),
    ] == [
        (stage, took)
        for stage, began, took, of in told(
            [
                at(0, GuestEvent(event="online")),
                at(5, add("begin")),
                at(8, start()),
                at(10, plug("cpu-1")),
                at(12, add("accepted")),
                at(30, Ost(device="cpu-1", slot="2", slot_type="CPU", source=1, status=0)),
                at(70, start()),
                at(75, start()),
                at(80, GuestEvent(event="memory")),
                at(90, GuestEvent(event="online")),
                at(160, add("settled")),
            ]
        )
        if (of, began) == ("cpu-1", 10.0)
    ]


def test_what_two_adds_in_progress_caused_is_nobodys() -> None:
    """The driver's records do not say of which add they are, so only what names the device is timed."""
    found = told(
        [
            at(0, add("begin")),
            at(1, plug("cpu-1")),
            at(2, add("begin", "cpu-2")),
            at(3, plug("cpu-2")),
            at(4, start()),
            at(5, Ost(device="cpu-2", slot="3", slot_type="CPU", source=1, status=0)),
            at(6, add("settled")),
            at(7, add("settled", "cpu-2")),
        ]
    )
    assert [
        ("settled", 1.0, 5.0, "cpu-1"),
        ("_OST", 3.0, 2.0, "cpu-2"),
        ("settled", 3.0, 4.0, "cpu-2"),
    ] == found


def test_a_refused_add_has_no_consequences() -> None:
    """What comes after the refusal is not its."""
    assert [] == told([at(0, add("begin")), at(1, plug("cpu-1")), at(2, add("refused")), at(3, start())])
