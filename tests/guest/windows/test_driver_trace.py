# SPDX-License-Identifier: MIT
"""Somebody else's driver in a Windows guest: its trace events become records while the guest runs, and what is lost shows."""

from __future__ import annotations

import base64
import gzip
import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from capture.etl import encoder
from guest.windows.conftest import MakeGuest, ScriptedWindows
from transport.real_powershell import ask, program

from harness.capture.live.budget import RunBudget
from harness.capture.live.channel_limits import ChannelLimits
from harness.capture.mapping import driver_map
from harness.capture.mapping.driver_map import DriverMap
from harness.deadline import Deadline
from harness.driver.source import driver_folder
from harness.errors import GuestRefused
from harness.guest.windows import script
from harness.guest.windows.answer import TraceTail, decode
from harness.guest.windows.driver_files import DriverFiles
from harness.guest.windows.driver_trace import AT_ONCE, SESSION, unzipped
from harness.guest.windows.guest import WindowsGuest
from harness.history.driver import DriverRecord, SyncEnter
from harness.history.record import Channel, Mapped, Record, Stage
from harness.history.writer import HistoryWriter

pytestmark = [pytest.mark.remote, pytest.mark.qemu]

TINY = driver_folder().parent / "tiny"
GUID = uuid.UUID("b7d5c1e0-4a2f-4c6b-9d38-51e07f2a6c94")
SIZE = 4096
OPEN = encoder.header_buffer(size=SIZE, end=0)
CLOSED = encoder.header_buffer(size=SIZE)
AddFew = list[tuple[int, bytes]]

START: AddFew = [
    (1, b""),
    (3, struct.pack("<I", 1)),
    (4, struct.pack("<I", 0) + b"\1"),
    (2, struct.pack("<I", 0)),
]
STOP: AddFew = [(7, b""), (8, b""), (9, b""), (10, b"")]


def change(state: int) -> AddFew:
    """The driver is told of processor 2, and has nothing against it."""
    return [(5, struct.pack("<IIHBII", state, 2, 0, 2, 0, 0)), (6, struct.pack("<I", 0))]


def logged(events: AddFew, *, at: int, processor: int = 0, sequence: int = 1) -> str:
    """A buffer with these events, one tick apart, as the double keeps it."""
    rows = [
        encoder.event(encoder.START + at + n, data, provider=GUID, event_id=event)
        for n, (event, data) in enumerate(events)
    ]
    return encoder.buffer(*rows, processor=processor, sequence=sequence, size=SIZE).hex()


@pytest.fixture
def tiny() -> DriverMap:
    """The map of the example driver."""
    return driver_map.load(TINY / "harness.toml")


@pytest.fixture
def mapped(tmp_path: Path, files: DriverFiles) -> DriverFiles:
    """A driver's file, and the tool."""
    driver = tmp_path / "driver" / "tiny.sys"
    driver.write_bytes(b"tiny" * 100)
    return DriverFiles(
        driver=driver, tool=files.tool, sha256="cd" * 32, label="tiny", inf="tiny.inf", pnp_service="tiny"
    )


@pytest.fixture
def windows_with_log(windows: ScriptedWindows) -> ScriptedWindows:
    """A Windows whose sessions write logs."""
    windows.change(log_head=OPEN.hex(), log_closed=CLOSED.hex())
    return windows


@pytest.fixture
def guest(
    make_guest: MakeGuest,
    windows_with_log: ScriptedWindows,
    tiny: DriverMap,
    mapped: DriverFiles,
    within: Deadline,
) -> WindowsGuest:
    """A guest that is ready, with the session begun."""
    found = make_guest(files=mapped, mapped=tiny)
    found.wait_ready(within)
    return found


Told = list[Record]


@pytest.fixture(autouse=True)
def told(writer: HistoryWriter) -> Told:
    """What stands in the history so far."""
    found: Told = []
    writer.subscribe(found.append)
    return found


def kinds(told: Told) -> list[str]:
    """The kinds of the driver's records so far."""
    return [str(type(one).__struct_config__.tag) for one in told if isinstance(one, DriverRecord)]


def account(told: Told) -> Channel:
    """The account of the driver's events."""
    (found,) = [one for one in told if isinstance(one, Channel)]
    return found


LOADED = ["hello", "call.enter", "call.enter", "call.exit", "call.exit"]


def test_events_become_records_while_the_guest_runs(
    guest: WindowsGuest, windows: ScriptedWindows, tmp_path: Path, told: Told, within: Deadline
) -> None:
    """What the session holds is written, fetched and mapped when the run asks; nothing comes twice."""
    windows.change(logged={"start": [logged(START, at=1)], "stop": [logged(STOP, at=400, sequence=4)]})
    guest.load_driver(within)
    assert [] == kinds(told)
    guest.hand_on(within)
    assert LOADED == kinds(told)
    # One processor's buffer comes before that of another, whose events were earlier.
    windows.change(
        buffers=[
            logged(change(1), at=200, processor=1, sequence=2),
            logged(change(0), at=100, processor=2, sequence=3),
        ]
    )
    guest.hand_on(within)
    guest.hand_on(within)
    guest.unload_driver(within)
    into = tmp_path / "run" / "guest"
    into.mkdir()
    found = {one.name: one for one in guest.collect(into, within)}
    records = [one for one in told if isinstance(one, DriverRecord)]
    assert [0, 1] == [one.state for one in records if isinstance(one, SyncEnter)]
    assert [*LOADED, *2 * ["sync.enter", "sync.exit"], *2 * ["call.enter", "call.exit"]] == kinds(told)
    assert list(range(1, 14)) == [one.seq for one in records]
    assert 1 == sum(isinstance(one, Mapped) for one in told)
    assert (13, 0, 0, True) == (
        account(told).records, account(told).lost, account(told).corrupt, account(told).closed,
    )  # fmt: skip
    assert (into / "driver.etl", "") == (found["trace"].file, found["trace"].channel)
    assert {} == windows.model["services"]
    (start,) = windows.calls("trace-start")
    assert (SESSION, "{" + str(GUID) + "}") == (start["Session"], start["Provider"])


def test_event_that_is_younger_than_the_flush_waits(
    guest: WindowsGuest, windows: ScriptedWindows, tmp_path: Path, told: Told, within: Deadline
) -> None:
    """Another processor may have an earlier one that was not written yet."""
    windows.change(logged={"start": [logged(START, at=1)]}, now=encoder.START + 3)
    guest.load_driver(within)
    guest.hand_on(within)
    assert LOADED[:-1] == kinds(told)
    windows.change(now=encoder.START + 50)
    guest.hand_on(within)
    assert LOADED == kinds(told)


def test_event_whose_place_has_gone_by_is_a_gap(
    guest: WindowsGuest, windows: ScriptedWindows, tmp_path: Path, told: Told, within: Deadline
) -> None:
    """It is counted as lost, and what comes behind it has a number left out."""
    windows.change(logged={"start": [logged(START, at=10)]})
    guest.load_driver(within)
    guest.hand_on(within)
    windows.change(
        buffers=[logged(change(0)[:1], at=5, processor=1, sequence=2), logged(STOP, at=90, sequence=3)]
    )
    guest.hand_on(within)
    into = tmp_path / "run" / "guest"
    into.mkdir()
    guest.collect(into, within)
    numbers = [one.seq for one in told if isinstance(one, DriverRecord)]
    assert [1, 2, 3, 4, 5, 7, 8, 9, 10] == numbers
    assert 1 == account(told).lost


@pytest.mark.parametrize(
    ("change_of_windows", "said"),
    [
        ({"lost": 3}, "3 events and 0 buffers lost"),
        ({"log_closed": OPEN.hex()}, "the session never closed the log"),
        (
            {"log_closed": encoder.header_buffer(size=SIZE, buffers_lost=2).hex()},
            "the session lost 2 buffers",
        ),
    ],
)
def test_log_that_lost_something_is_not_whole(
    guest: WindowsGuest,
    windows: ScriptedWindows,
    tmp_path: Path,
    told: Told,
    within: Deadline,
    change_of_windows: dict[str, Any],
    said: str,
) -> None:
    """By the session's account, or by the log's own: nothing may be concluded from what is absent."""
    windows.change(logged={"start": [logged(START, at=1)]}, **change_of_windows)
    guest.load_driver(within)
    into = tmp_path / "run" / "guest"
    into.mkdir()
    guest.collect(into, within)
    assert LOADED == kinds(told)
    assert not account(told).closed
    assert any(isinstance(one, Stage) and said in one.detail for one in told)


def test_run_that_ends_without_its_collection_says_so(
    guest: WindowsGuest, windows: ScriptedWindows, tmp_path: Path, told: Told, within: Deadline
) -> None:
    """The account is there, and is not closed."""
    windows.change(logged={"start": [logged(START, at=1)]})
    guest.load_driver(within)
    guest.hand_on(within)
    guest.close()
    assert (5, False) == (account(told).records, account(told).closed)


def test_channel_keeps_within_its_budget(
    make_guest: MakeGuest,
    windows_with_log: ScriptedWindows,
    tiny: DriverMap,
    mapped: DriverFiles,
    tmp_path: Path,
    told: Told,
    within: Deadline,
) -> None:
    """A driver that logs without end is cut, with the option that says so."""
    budget = RunBudget(ChannelLimits(channel_records=2)).channel("etw")
    guest = make_guest(files=mapped, mapped=tiny, budget=budget)
    guest.wait_ready(within)
    windows_with_log.change(logged={"start": [logged(START, at=1)]})
    guest.load_driver(within)
    guest.hand_on(within)
    guest.close()
    assert ["hello", "call.enter"] == kinds(told)
    assert "--channel-records" in account(told).cut
    assert 2 == account(told).records


def test_buffer_that_is_being_written_is_read_later(
    guest: WindowsGuest, windows: ScriptedWindows, tmp_path: Path, told: Told, within: Deadline
) -> None:
    """Half of it is in the file, or its place is there and its bytes are not."""
    whole = logged(START, at=1)
    windows.change(buffers=[whole[: len(whole) // 2]])
    guest.hand_on(within)
    assert [] == kinds(told)
    windows.change(buffers=[whole[len(whole) // 2 :]])
    guest.hand_on(within)
    assert LOADED == kinds(told)


def test_paused_guest_is_not_asked(guest: WindowsGuest, windows: ScriptedWindows, within: Deadline) -> None:
    """It could not answer."""
    guest._machine.paused_here = True  # type: ignore[attr-defined]
    guest.hand_on(within)
    assert [] == windows.calls("trace-tail")


def test_service_that_the_template_has_is_started_and_stopped(
    make_guest: MakeGuest,
    windows_with_log: ScriptedWindows,
    tiny: DriverMap,
    mapped: DriverFiles,
    tmp_path: Path,
    told: Told,
    within: Deadline,
) -> None:
    """Its file is the template's; nothing is put into the guest or deleted there."""
    own = DriverFiles(driver=None, tool=mapped.tool, sha256="", label="its own", pnp_service="TinySvc")
    guest = make_guest(files=own, mapped=tiny)
    guest.wait_ready(within)
    with pytest.raises(GuestRefused, match=r"find: exit code 1060 \(there is no such service"):
        guest.load_driver(within)
    windows_with_log.change(services={"TinySvc": {"state": "Running", "path": "C:\\Windows\\tiny.sys"}})
    with pytest.raises(GuestRefused, match="it runs already, and was not recorded from its beginning"):
        guest.load_driver(within)
    windows_with_log.change(
        services={"TinySvc": {"state": "Stopped", "path": "\\SystemRoot\\system32\\drivers\\tiny2.sys"}},
        logged={"start": [logged(START, at=1)]},
    )
    guest.load_driver(within)
    guest.hand_on(within)
    assert LOADED == kinds(told)
    guest.verifier(within, drivers=("hpnotify.sys",))
    assert ["/standard", "/driver", "tiny2.sys"] == windows_with_log.model["verifier"]


@pytest.mark.parametrize("order", ["veto", "mark", "second", "veto at load"])
def test_orders_that_only_hpnotify_understands_are_refused(
    guest: WindowsGuest, order: str, within: Deadline
) -> None:
    """With what to do about it."""
    orders: dict[str, Callable[[], None]] = {
        "veto": lambda: guest.veto_next(within),
        "mark": lambda: guest.mark("abc", within),
        "second": lambda: guest.load_driver(within, driver="other"),
        "veto at load": lambda: guest.load_driver(within, veto=2),
    }
    if order != "veto at load":
        guest.load_driver(within)
    with pytest.raises(GuestRefused, match=r"only hpnotify takes orders|has one instance"):
        orders[order]()


def test_each_boot_has_a_log_of_its_own(
    guest: WindowsGuest, windows: ScriptedWindows, tmp_path: Path, told: Told, within: Deadline
) -> None:
    """The one before it is read to its end before the guest restarts; the numbers of the next boot begin anew."""
    windows.change(logged={"start": [logged(START, at=1)]})
    guest.load_driver(within)
    guest.restart(within)
    windows.change(logged={"start": [logged(START, at=1)]})
    guest.load_driver(within)
    guest.hand_on(within)
    assert 2 * LOADED == kinds(told)
    into = tmp_path / "run" / "guest"
    into.mkdir()
    guest.collect(into, within)
    assert (10, True) == (account(told).records, account(told).closed)
    assert 2 == len({one["Path"] for one in windows.calls("trace-start")})


@pytest.mark.powershell
@pytest.mark.parametrize(("offset", "most"), [(0, AT_ONCE), (100, 50), (990, AT_ONCE), (1000, 1), (5000, 1)])
def test_tail_of_a_log_by_a_real_powershell(tmp_path: Path, offset: int, most: int) -> None:
    """What the file has from the offset on, as much as was asked for, after the tool has flushed the session."""
    log, tool = tmp_path / "a log.etl", tmp_path / "hpnctl"
    log.write_bytes(bytes(range(250)) * 4)
    tool.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/asked"; echo "{{}}"\n')
    tool.chmod(0o755)
    text = script.compose(
        "trace-tail", Session="a session", Tool=str(tool), Flush=True, Path=str(log), Offset=offset, Most=most
    )
    encoded = base64.b64encode(text.encode("utf-16-le")).decode()
    reply = ask([str(program(tmp_path))], f"powershell.exe -NoProfile -EncodedCommand {encoded}")
    tail = decode("".join(reply.printed), TraceTail, what="trace-tail")
    assert (0, 1000) == (tail.code, tail.size)
    assert log.read_bytes()[offset : offset + most] == unzipped(tail.data)
    assert ["trace", "a session", "--flush"] == (tmp_path / "asked").read_text().splitlines()


@pytest.mark.parametrize(
    "data",
    [
        "?",
        base64.b64encode(b"no gzip").decode(),
        base64.b64encode(gzip.compress(bytes(AT_ONCE + 1))).decode(),
    ],
)
def test_answer_that_is_no_part_of_a_log_is_refused(data: str) -> None:
    """It is no Base64, no gzip, or becomes more than was asked for."""
    with pytest.raises(GuestRefused, match="script trace-tail"):
        unzipped(data)
