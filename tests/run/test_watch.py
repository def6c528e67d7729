# SPDX-License-Identifier: MIT
"""The watch: what it counts, what it turns into records, and what it raises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.deadline import Deadline
from harness.errors import FailureClass, GuestCrash, InfrastructureError
from harness.history import driver as d
from harness.history import record as r
from harness.history.reader import History
from harness.history.writer import HistoryWriter
from harness.run.watch import Watch

COMMON: dict[str, Any] = dict.fromkeys(
    ("qpc", "cpu", "irql", "thread", "active", "active_g0", "active_g0_ex", "maximum", "groups"), 0
) | {"channel": "debugcon", "boot": "0" * 16, "driver": "hpnotify"}


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[HistoryWriter]:
    """A history that has its header."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        writer.write(r.Header(format=1, harness="0", run="r", guest="twin", wall=""))
        yield writer


def _exit(seq: int, state: int) -> d.SyncExit:
    return d.SyncExit(
        seq=seq, enter=seq - 1, reg=1, state=state, nt=2, group=0, number=2, status=0, op=0, **COMMON
    )


def _arrival(seq: int, link: str) -> list[d.DriverRecord]:
    return [
        d.AsyncEnter(seq=seq, reg=2, event="arrival", cls="cpu", version=1, link=link, **COMMON),
        d.AsyncExit(seq=seq + 1, enter=seq, reg=2, ret=0, **COMMON),
    ]


def test_existing_processors_are_not_counted(writer: HistoryWriter) -> None:
    """Callbacks inside a registration's call span do not count, those after it do."""
    watch = Watch(writer)
    writer.write(d.CallEnter(seq=1, call="reg_sync", **COMMON))
    writer.write(_exit(3, d.START))
    writer.write(d.CallExit(seq=4, enter=1, call="reg_sync", result=0, **COMMON))
    writer.write(_exit(6, d.START))
    writer.write(_exit(8, d.COMPLETE))
    assert dict(watch.tally) == {"start": 1, "complete": 1}


def test_one_link_arrives_once(writer: HistoryWriter) -> None:
    """An interface announced twice counts once, also across a rebase."""
    watch = Watch(writer)
    for record in [*_arrival(1, "a"), *_arrival(3, "a"), *_arrival(5, "b")]:
        writer.write(record)
    assert watch.tally["cpu-arrival"] == 2
    watch.rebase()
    for record in [*_arrival(7, "a"), *_arrival(9, "c")]:
        writer.write(record)
    assert watch.tally["cpu-arrival"] == 1


def test_existing_interfaces_are_not_counted(writer: HistoryWriter) -> None:
    """Arrivals inside a registration that asked for what exists do not count; those of another, and later ones, do."""
    watch = Watch(writer)
    other = [msgspec.structs.replace(record, reg=3) for record in _arrival(4, "b")]
    writer.write(d.CallEnter(seq=1, call="reg_async", reg=2, flags=1, cls="cpu", **COMMON))
    for record in [*_arrival(2, "a"), *other]:
        writer.write(record)
    writer.write(d.CallExit(seq=6, enter=1, call="reg_async", reg=2, result=0, **COMMON))
    for record in [*_arrival(7, "a"), *_arrival(9, "c")]:
        writer.write(record)
    assert 2 == watch.tally["cpu-arrival"]


def test_firmware_answers_become_records(writer: HistoryWriter) -> None:
    """An ACPI_DEVICE_OST event becomes an Ost record right behind the message."""
    watch = Watch(writer)
    info = {"device": "cpu-1", "slot": "2", "slot-type": "CPU", "source": 1, "status": 0}
    stamp = {"seconds": 10, "microseconds": 5}
    writer.write(
        r.Qmp(
            direction="in", message={"event": "ACPI_DEVICE_OST", "data": {"info": info}, "timestamp": stamp}
        )
    )
    ost = list(History(writer.path))[-1]
    assert isinstance(ost, r.Ost)
    assert (ost.device, ost.source, ost.status, ost.qemu_us) == ("cpu-1", 1, 0, 10_000_005)
    assert watch.ost == {"cpu-1": [(1, 0)]}


STAMP = {"seconds": 1, "microseconds": 2}


def _reset(*, guest: bool) -> r.Qmp:
    return r.Qmp(direction="in", message={"event": "RESET", "data": {"guest": guest}, "timestamp": STAMP})


def test_unexpected_reset_is_a_crash_and_a_boot(writer: HistoryWriter) -> None:
    """A guest that resets itself begins a new boot and ends the waiting."""
    watch = Watch(writer)
    writer.write(_reset(guest=True))
    boot = list(History(writer.path))[-1]
    assert isinstance(boot, r.Boot)
    assert (boot.epoch, boot.cause) == (2, "guest-reset")
    with pytest.raises(GuestCrash, match="reset itself"):
        watch.wait(lambda: True, Deadline(60, "test"))


def test_expected_reset_is_none(writer: HistoryWriter) -> None:
    """Resets between the harness's own and the guest's readiness are no crash, one after it is."""
    watch = Watch(writer)
    watch.expect_reset()
    writer.write(_reset(guest=False))
    writer.write(_reset(guest=True))
    assert watch.wait(lambda: watch.resets == 2, Deadline(60, "test"))
    writer.write(r.GuestEvent(event="ready"))
    watch.check()
    writer.write(_reset(guest=True))
    with pytest.raises(GuestCrash):
        watch.check()


def test_crash_line_ends_the_waiting(writer: HistoryWriter) -> None:
    """A crash on the console is raised with its words."""
    watch = Watch(writer)
    writer.write(r.Console(text="Kernel panic - not syncing: x", severity="crash"))
    with pytest.raises(GuestCrash, match="Kernel panic"):
        watch.wait(lambda: False, Deadline(60, "test"))


def test_wait_gives_up_at_its_deadline(writer: HistoryWriter) -> None:
    """What does not come is answered with False."""
    assert Watch(writer).wait(lambda: False, Deadline(0.05, "test")) is False


def test_a_bug_check_is_a_crash_with_its_code(writer: HistoryWriter) -> None:
    """Windows tells Hyper-V's crash registers code and parameters, and goes on; the run does not wait for it."""
    watch = Watch(writer)
    info = {"type": "hyper-v", "arg1": 0xD1, "arg2": (1 << 64) - 1, "arg3": 2, "arg4": 0, "arg5": 4}
    writer.write(
        r.Qmp(
            direction="in",
            message={
                "event": "GUEST_PANICKED",
                "data": {"action": "run", "info": info},
                "timestamp": {"seconds": 1, "microseconds": 0},
            },
        )
    )
    with pytest.raises(GuestCrash) as caught:
        watch.check()
    words = "bug check 0xd1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (0xffffffffffffffff, 0x2, 0x0, 0x4)"
    assert f"the guest crashed: {words}" == caught.value.message
    assert "WD: debugger/bug-check-code-reference2.md" in caught.value.hint
    assert FailureClass.BUG_CHECK is caught.value.failure_class


def test_panic_that_only_qemu_heard_of_is_a_crash(writer: HistoryWriter) -> None:
    """A guest without a console, as Windows is, tells pvpanic; nobody waits for it any longer."""
    watch = Watch(writer)
    writer.write(r.Qmp(direction="in", message={"event": "GUEST_PANICKED", "data": {"action": "pause"}}))
    with pytest.raises(GuestCrash, match="it reported a panic to QEMU"):
        watch.wait(lambda: False, Deadline(5, "test"))


def _ost(device: str, source: int = 1, **beside: Any) -> r.Qmp:
    info = {"device": device, "slot": "2", "slot-type": "CPU", "source": source, "status": 0}
    message = {"event": "ACPI_DEVICE_OST", "data": {"info": info}, "timestamp": STAMP, **beside}
    return r.Qmp(direction="in", message=message)


def test_a_device_that_nobody_here_added_is_named(writer: HistoryWriter) -> None:
    """Ours are those that were added, or there from the start, or renamed by us where libvirt names them."""
    watch = Watch(writer, ours=["dimm-0"])
    added = {"execute": "device_add", "arguments": {"driver": "max-x86_64-cpu", "id": "cpu-1"}}
    writer.write(r.Qmp(direction="out", message=added))
    for ours in (_ost("cpu-1"), _ost("dimm-0"), _ost("cpu-2", libvirt={"device": "vcpu3"}), _ost("")):
        writer.write(ours)
    # Whose device is asked to leave was there before.
    writer.write(_ost("cold", source=3))
    watch.check()
    writer.write(_ost("odd"))
    writer.write(_ost("another"))
    with pytest.raises(
        InfrastructureError, match=r"^device 'odd' \(CPU slot 2\) was added by another client"
    ):
        watch.check()


def test_a_message_that_is_none_names_nobody(writer: HistoryWriter) -> None:
    """What breaks QEMU's schema is refused elsewhere."""
    watch = Watch(writer)
    for data in ({}, {"info": 1}, {"info": {"device": 7}}, None):
        writer.write(
            r.Qmp(direction="in", message={"event": "ACPI_DEVICE_OST", "data": data, "timestamp": STAMP})
        )
    watch.check()
