# SPDX-License-Identifier: MIT
"""Sentences speak in the words of the field."""

import pytest

from harness.history import record as r
from harness.history.nt_status import status_name
from harness.report.sentence import sentence, size


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (2048, "2 KiB"),
        (512 << 20, "512 MiB"),
        (4 << 30, "4 GiB"),
        (422662144, "403.1 MiB"),
        ((1 << 20) + 1024, "1.0 MiB"),
        (-5, "-5 bytes"),
    ],
)
def test_sizes(count: int, expected: str) -> None:
    """A size is exact where a unit fits it, else given in MiB."""
    assert expected == size(count)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(0, "success"), (0xC000009A, "STATUS_INSUFFICIENT_RESOURCES"), (0xC0000022, "0xC0000022")],
)
def test_statuses(status: int, expected: str) -> None:
    """A known NTSTATUS has its name, another its number."""
    assert expected == status_name(status)


@pytest.mark.parametrize(
    ("message", "answers", "expected"),
    [
        ({"QMP": {"version": {}}}, "", "greeting"),
        ({"return": {}, "id": 1}, "device_add", "device_add: ok"),
        ({"return": [1, 2], "id": 1}, "", "reply: [1, 2]"),
        (
            {"error": {"class": "GenericError", "desc": "CPU exists"}, "id": 1},
            "device_add",
            "device_add: error: CPU exists",
        ),
        ({"error": "no object"}, "", "reply: error: no object"),
        ({"event": "RESET", "data": {"guest": True}}, "", "event RESET guest=True"),
        ({"event": "STOP"}, "", "event STOP"),
        ({"event": "GUEST_PANICKED", "data": {"action": "pause"}}, "", "event GUEST_PANICKED action=pause"),
        (
            {
                "event": "GUEST_PANICKED",
                "data": {
                    "action": "run",
                    "info": {"type": "hyper-v", "arg1": 0xC4, "arg2": 1, "arg3": 2, "arg4": 3, "arg5": 4},
                },
            },
            "",
            "event GUEST_PANICKED action=run bug check 0xc4 DRIVER_VERIFIER_DETECTED_VIOLATION (0x1, 0x2, 0x3, 0x4)",
        ),
    ],
)
def test_what_qemu_says(message: dict[str, object], answers: str, expected: str) -> None:
    """Replies are called by their command, errors give QEMU's words, events their data."""
    assert expected == sentence(r.Qmp(direction="in", message=message), answers=answers)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            r.Agreement(
                attempt="dimm-1", expected="added", agreed=False, qemu_lists=True, ost=[(1, 0), (0x200, 0x80)],
                counted_before=422662144, counted_after=422662144, detail="the guest counts nothing new",
            ),
            (
                "dimm-1: NOT agreed on added: QEMU lists it, _OST (device check, success; insertion, status 0x80), "
                "guest count 403.1 MiB -> 403.1 MiB; the guest counts nothing new"
            ),
        ),
        (r.Expectation(index=3, demanded="dimms = 1", seen="dimms = 1", met=True), "expected dimms = 1: met"),
        (r.Expectation(index=3, demanded="dimms = 1", seen="dimms = 0", met=False), "expected dimms = 1: NOT met, seen dimms = 0"),
        (r.Channel(name="debugcon", records=9, torn=1, lost=2), "channel debugcon account: 9 records, 2 lost, 1 torn"),
        (
            r.Channel(name="console", records=0, cut="the guest wrote more than 64 MiB (--channel-limit)", dropped=7),
            "channel console cut: the guest wrote more than 64 MiB (--channel-limit); 0 records, at least 7 bytes dropped",
        ),
        (
            r.Channel(name="debugcon", records=3, cut="why", left_out=1),
            "channel debugcon cut: why; 3 records, records left out: at least 1",
        ),
        (r.Console(text="BUG: one", severity="crash"), "console crash: BUG: one"),
        (r.Console(text="BUG: one\nBUG: two", severity="crash"), "console crash: BUG: one (and 1 more line)"),
        (r.Console(text="a\n\x1b[2J\nc", severity="warning"), "console warning: a (and 2 more lines)"),
        (
            r.Add(attempt="dimm-1", phase="begin", what="dimm", device="dimm-1", bytes=256 << 20, expected="vetoed"),
            "add dimm-1: DIMM of 256 MiB as dimm-1, expected vetoed",
        ),
        (
            r.Add(attempt="cpu-1", phase="unsure", what="cpu", device="cpu-1", detail="socket closed"),
            "add cpu-1: the monitor dropped before the reply: socket closed",
        ),
        (r.Console(text="\x1b[2Jpanic", severity="crash"), "console crash: \\x1b[2Jpanic"),
    ],
)  # fmt: skip
def test_what_the_host_side_records(record: r.Record, expected: str) -> None:
    """Agreements, expectations, losses and adds say what differed."""
    assert expected == sentence(record)
