# SPDX-License-Identifier: MIT
"""DbgPrint without a debugger: a session of Windows' own, its log read to its end, losses counted."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from capture.etl import encoder
from capture.lines import encode_line
from guest.windows.conftest import ScriptedWindows
from guest.windows.test_guest_type import Request, driver, request_of, store
from guest.windows.test_mapped_run import answering

from harness.capture.offline.recorded import read
from harness.contract.notation import trace
from harness.errors import UsageError
from harness.guest.windows.trace import AT_BOOT
from harness.history.driver import DriverRecord
from harness.run.judging import judge_run
from harness.run.operation import LoadDriver
from harness.run.options import Timeouts
from harness.run.run import perform
from harness.template.store import Store

__all__ = ["driver", "request_of", "store"]

MESSAGE = 0x0A20
SIZE = 32768
OPEN = encoder.header_buffer(size=SIZE, end=0)
CLOSED = encoder.header_buffer(size=SIZE)


def printed(time: int, text: bytes) -> bytes:
    """The event that the kernel makes of a DbgPrint: component 77, level 3."""
    return encoder.system(encoder.START + time, MESSAGE, struct.pack("<II", 77, 3) + text)


def lines() -> list[bytes]:
    """What the driver prints when it is loaded."""
    records = [one for one in trace("S2 C2", run="r", guest="g") if isinstance(one, DriverRecord)]
    assert records
    return [encode_line(one) for one in records]


def log(*buffers: bytes, head: bytes = CLOSED) -> bytes:
    """A whole log."""
    return head + b"".join(buffers)


def test_lines_in_prints_are_the_drivers_records(tmp_path: Path) -> None:
    """In the order of their times, whichever processor printed them; other text is counted, and so is what was lost."""
    said = lines()
    first = encoder.buffer(
        *(printed(10 * n, line + b"\0") for n, line in enumerate(said) if n % 2 == 0), size=SIZE
    )
    second = encoder.buffer(
        *(printed(10 * n, line + b"\0") for n, line in enumerate(said) if n % 2),
        printed(5, b"somebody else's\n\0"), encoder.system(encoder.START + 7, 0x0301, b"no print"),
        processor=1, sequence=2, size=SIZE,
    )  # fmt: skip
    file = tmp_path / "dbgprint.etl"
    file.write_bytes(log(second, first))
    channel = read("dbgprint-etw", file)
    assert [
        encode_line(one.record) for one in channel.arrived if isinstance(one.record, DriverRecord)
    ] == said
    account = channel.account
    assert (len(said), 1, 0, True) == (account.records, account.foreign, account.lost, account.closed)
    file.write_bytes(log(second, first, head=encoder.header_buffer(size=SIZE, events_lost=4)))
    lost = read("dbgprint-etw", file)
    assert (4, False) == (lost.account.lost, lost.account.closed)
    assert "the session lost 4 events" in lost.missing


@pytest.mark.parametrize("text", [b"", b"\0", b"no end", b"HPN1 torn", b"\xff\xfe\0HPN1"])
def test_any_payload_is_read(tmp_path: Path, text: bytes) -> None:
    """A text without an end, without anything, of other bytes: counted or nothing."""
    file = tmp_path / "dbgprint.etl"
    events = [encoder.system(encoder.START, MESSAGE, b"abc"), printed(1, text)]
    file.write_bytes(log(encoder.buffer(*events, size=SIZE)))
    assert [] == read("dbgprint-etw", file).arrived


@pytest.mark.qemu
@pytest.mark.remote
def test_run_has_what_drivers_printed(
    store: Store,
    request_of: Request,
    windows: ScriptedWindows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A session of the kernel with the one flag, begun in the boot, fetched at the end, and judged with the rest."""
    answering(monkeypatch, windows)
    windows.file(AT_BOOT).parent.mkdir(parents=True)
    windows.file(AT_BOOT).write_bytes(log())
    buffer = encoder.buffer(*(printed(n, line + b"\0") for n, line in enumerate(lines())), size=SIZE)
    windows.change(log_head=OPEN.hex(), log_closed=CLOSED.hex(), logged={"start": [buffer.hex()]})
    result = perform(request_of(LoadDriver(), dbgprint=True, budget=Timeouts(quiet=0.01)))
    assert None is result.error
    (start,) = windows.calls("trace-start")
    assert ("NT Kernel Logger", "{9e814aad-3204-11d2-9a82-006008a86939}", "0x40000") == (
        start["Session"], start["Provider"], start["Flags"],
    )  # fmt: skip
    assert log(buffer) == (result.directory / "dbgprint.etl").read_bytes()
    assert f"{len(lines())} of dbgprint-etw" in judge_run(result.directory).joined
    assert {} == windows.model["sessions"]


@pytest.mark.parametrize("guest", ["twin", "host"])
def test_other_guests_have_no_such_session(request_of: Request, guest: str) -> None:
    """The twin has the debugger's port instead."""
    with pytest.raises(UsageError, match=r"--dbgprint is for (Windows guests|guests that run on QEMU)"):
        request_of(guest=guest, driver="", accelerator="auto", dbgprint=True)
