# SPDX-License-Identifier: MIT
"""The signed driver file, byte for byte, loaded and driven by Wine with hpnctl.exe as its client.

What Wine lacks is answered by a double of the framework's loader and by the NT core; nothing here is a Windows result.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec
import pytest
from guest_drivers.host_process import INSUFFICIENT_RESOURCES
from guest_drivers.host_process import request as ask
from guest_drivers.schedules import violations
from guest_drivers.wine_prefix import Wine
from guest_drivers.wine_process import HPNCTL, Run, execute

from guest_drivers import host_process
from harness.driver.build import TOOLCHAINS
from harness.guest.fault_injection import INJECTED_FAULTS
from harness.history.driver import (
    AsyncEnter,
    Bind,
    CallExit,
    DriverRecord,
    Grow,
    Hello,
    Mark,
    SyncEnter,
    Work,
)

pytestmark = pytest.mark.wine

ALREADY_RUNNING = 1056
REFUSED = 1
GEN_FAILURE = 31
"""What Wine makes of STATUS_UNSUCCESSFUL, the veto."""

END = (f"{HPNCTL} detach", "unload hpnotify")
NOTHING = {"allocations": 0, "core": 0, "threads": 0, "handles": 0, "references": 0, "dpcs": 0}


OWN = {"seq", "enter", "qpc", "boot", "thread", "cpu", "ctx", "object", "size", "n", "host_ns"}
"""Fields that differ from one host to the next: counters, clocks, addresses, and how large the host's events are."""


def comparable(records: list[DriverRecord]) -> list[dict[str, object]]:
    """What records say that must not depend on the host. Threads of their own write Bind and Work whenever they run."""
    return [
        {name: value for name, value in msgspec.to_builtins(record).items() if name not in OWN}
        for record in records
        if not isinstance(record, Bind | Work)
    ]


def assert_clean(run: Run) -> None:
    """Nothing was left behind, nothing was called that is not there, every call span closed."""
    assert (NOTHING, [], []) == (run.left, run.transcript.trouble, run.transcript.unbalanced())


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_a_driver_s_life(wine: Wine, double: Path, signed: dict[str, Path], toolchain: str) -> None:
    """Load, existing processors, add, veto, failure, memory, work, requests, unload and reload: as in the other hosts."""
    run = execute(
        wine, double, signed[toolchain], "load hpnotify", "add 2", f"{HPNCTL} veto", "add 3", "fail 3", "add 3",
        "memory 100000000 10000000", f"{HPNCTL} work 10", f"{HPNCTL} mark end0of0life", f"{HPNCTL} events --json",
        f"{HPNCTL} stat", *END, "load hpnotify", f"{HPNCTL} status", *END,
    )  # fmt: skip
    assert [0, 0, 0, GEN_FAILURE, *[0] * 13] == run.answers
    assert "S0 S1 C0 C1 S2 C2 S3! F3 S3 F3 S3 C3 S0 S1 S2 S3 C0 C1 C2 C3" == run.transcript.states()
    arrivals = [record.cls for record in run.transcript.records if isinstance(record, AsyncEnter)]
    assert ["cpu", "cpu", "memory"] == arrivals
    done = {record.nt: record.done for record in run.transcript.records if isinstance(record, Work)}
    assert ([0, 1, 2, 3], 10) == (sorted(done), sum(done.values()))
    grown = [(record.before, record.after) for record in run.transcript.records if isinstance(record, Grow)]
    assert [(0, 131072), (131072, 196608), (0, 196608)] == grown
    assert ["end0of0life"] == [record.nonce for record in run.transcript.records if isinstance(record, Mark)]
    rows = [[int(word) for word in line.split()] for line in run.output if line[:1].isdigit()]
    assert [[number, 0, number, 0, done[number], 0] for number in range(4)] == [row[:6] for row in rows]
    hellos = [record.seq for record in run.transcript.records if isinstance(record, Hello)]
    assert 2 == len(hellos)
    numbers = [record.seq for record in run.transcript.records]
    assert list(range(1, len(numbers) + 1)) == numbers
    assert_clean(run)


def test_an_older_system_tells_its_memory_too(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """As Windows Server 2019 it lacks the newer routine; the driver takes the older one."""
    run = execute(wine, double, signed["gcc"], "older", "load hpnotify", "memory 100000000 10000000", *END)
    grown = [(record.before, record.after) for record in run.transcript.records if isinstance(record, Grow)]
    assert [(0, 131072), (131072, 196608)] == grown
    assert_clean(run)


def test_all_channels_say_the_same(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """The debug port, DbgPrintEx, event tracing and the ring that hpnctl reads carry the same records."""
    run = execute(
        wine, double, signed["gcc"], "load hpnotify", "add 2", f"{HPNCTL} work 3", f"{HPNCTL} mark z",
        f"{HPNCTL} events --json", *END,
    )  # fmt: skip
    seen = run.transcript
    assert seen.lines == seen.prints
    assert len(run.ring) > 30
    assert [
        msgspec.structs.replace(record, channel="ring") for record in seen.records[: len(run.ring)]
    ] == run.ring
    # The first three records and the last are written while there is no provider.
    assert [record.seq for record in seen.records[3:-1]] == [
        int.from_bytes(pieces[0], "little") for _, pieces in seen.events
    ]
    assert_clean(run)


def test_the_host_process_says_the_same(
    wine: Wine, double: Path, signed: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    """The same orders, given to the source in a process of this machine and to the file in Wine, are told alike."""
    program = host_process.build(request.config.cache.mkdir("hpnotify-host"), "address,undefined")
    stop = (ask("DETACH"), "stop hpnotify")
    here = host_process.run(
        program, "start hpnotify", "add 2", ask("VETO", 0xC0000001, 1), "add 3", "fail 3", "add 3",
        "memory 0x100000000 0x10000000", *stop, "start hpnotify", *stop,
    )  # fmt: skip
    there = execute(
        wine, double, signed["gcc"], "load hpnotify", "add 2", f"{HPNCTL} veto", "add 3", "fail 3", "add 3",
        "memory 100000000 10000000", *END, "load hpnotify", *END,
    )  # fmt: skip
    assert here.states() == there.transcript.states()
    assert comparable(here.records) == comparable(there.transcript.records)
    assert_clean(there)


def test_levels_and_processors(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """CR8, port input and port output, which only a kernel may execute, are answered; Complete runs on the new one."""
    run = execute(wine, double, signed["clang"], "load hpnotify", "add 4", *END)
    assert {0} == {record.irql for record in run.transcript.records}
    complete = [r for r in run.transcript.records if isinstance(r, SyncEnter) and (r.state, r.nt) == (1, 2)]
    assert [(4 - 2, 3)] == [(record.cpu, record.active) for record in complete]
    assert_clean(run)


def test_parameters_and_requests(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """Values of the Parameters key count; a second start and requests that make no sense are refused."""
    key = "HKLM\\System\\CurrentControlSet\\Services\\hpnotify\\Parameters"
    reg = "run C:\\windows\\system32\\reg.exe"
    run = execute(
        wine, double, signed["gcc"], f"{reg} add {key} /v SecondRegistration /t REG_DWORD /d 1 /f", "load hpnotify",
        f"{reg} delete {key} /f", "load hpnotify", f"{HPNCTL} register sync", f"{HPNCTL} veto --nth 0",
        f"{HPNCTL} deregister sync2", f"{HPNCTL} register sync2 --existing", f"{HPNCTL} delay 10", "add 2",
        f"{HPNCTL} flush", f"{HPNCTL} events", *END,
    )  # fmt: skip
    assert [0, 0, 0, ALREADY_RUNNING, REFUSED, REFUSED, *[0] * 8] == run.answers
    assert "S0 S1 C0 C1 S0 S1 C0 C1 S0 S1 C0 C1 S2 S2 C2 C2" == run.transcript.states()
    assert_clean(run)


def test_what_is_left_behind_is_counted(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """A driver that is not unloaded still holds memory, threads and a trace provider, and the count says so."""
    run = execute(wine, double, signed["gcc"], "load hpnotify")
    assert (2, 1, 2, 0) == tuple(run.left[name] for name in ("threads", "core", "references", "handles"))
    assert run.left["allocations"] > 0


def test_a_call_that_nobody_answers_is_told(
    wine: Wine, double: Path, signed: dict[str, Path], tmp_path: Path
) -> None:
    """A driver that imports what neither Wine nor the double has is seen when it is bound, and when it calls it."""
    for file in ("hpnotify.sys", "hpnctl.exe"):
        shutil.copy(signed["gcc"].with_name(file), tmp_path)
    driver = tmp_path / "hpnotify.sys"
    data = driver.read_bytes()
    assert 1 == data.count(b"ExInitializeRundownProtection")
    driver.write_bytes(data.replace(b"ExInitializeRundownProtection", b"ZzInitializeRundownProtection"))
    run = execute(wine, double, driver, "load hpnotify")
    assert [
        "neither Wine nor the double has ZzInitializeRundownProtection",
        "Wine has no ZzInitializeRundownProtection",
    ] == run.transcript.trouble
    assert 0 != run.answers[0]


def test_two_drivers_meet_at_the_barrier(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """Two services, each with its file: every Start comes before every Complete, and one veto fails it for both."""
    second = f"{HPNCTL} --device second"
    run = execute(
        wine, double, signed["gcc"], "install second C:\\hpn\\second.sys", "load hpnotify", "load second", "add 2",
        f"{second} veto", "add 3", f"{second} detach", "unload second", "add 4", *END,
    )  # fmt: skip
    assert [*[0] * 5, GEN_FAILURE, *[0] * 5] == run.answers
    order = [
        f"{record.driver[0]}{'SCF'[record.state]}{record.nt}"
        for record in run.transcript.records
        if isinstance(record, SyncEnter) and record.nt > 1
    ]
    assert "hS2 sS2 hC2 sC2 hS3 sS3 hF3 sF3 hS3 hC3" == " ".join(order)
    assert ["S0 S1 C0 C1 S2 C2 S3! F3"] == [run.transcript.states("second")]
    assert_clean(run)


@pytest.mark.parametrize("name", ["duplicate-start", "wrong-irql", "existing-interleaved"])
def test_injected_fault_is_caught(wine: Wine, double: Path, signed: dict[str, Path], name: str) -> None:
    """The file survives a fault injected into the NT layer, and the fault's rule finds it."""
    run = execute(wine, double, signed["clang"], f"plant {name}", "load hpnotify", "add 2", *END)
    assert [0] * 5 == run.answers
    assert {
        "duplicate-start": "S0 S1 C0 C1 S2 S2 C2",
        "wrong-irql": "S0 S1 C0 C1 S2 C2",
        "existing-interleaved": "S0 C0 S1 C1 S2 C2",
    }[name] == run.transcript.states()
    assert INJECTED_FAULTS[name].rule in {found.partition(":")[0] for found in violations(run.transcript)}
    assert_clean(run)


def test_nothing_is_violated_without_a_fault(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """The same orders without an injected fault violate nothing."""
    run = execute(wine, double, signed["clang"], "load hpnotify", "add 2", *END)
    assert [] == violations(run.transcript)


def test_calls_that_fail_while_it_loads(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """Each fallible call that the double answers fails once: the driver loads or does not, and leaves nothing behind."""
    most = 60
    script = [
        step for nth in range(1, most + 1) for step in (f"break {nth}", "load hpnotify", "unload hpnotify")
    ]
    run = execute(wine, double, signed["gcc"], *script, "break 0", "load hpnotify", *END)
    loads = run.answers[1 : 3 * most : 3]
    failed = [nth for nth, error in enumerate(loads, 1) if error]
    assert (0, 0) == (loads[-1], run.answers[-3])
    assert len(failed) > 15
    assert (NOTHING, []) == (run.left, run.transcript.unbalanced())
    entries = [
        r.result for r in run.transcript.records if isinstance(r, CallExit) and r.call == "driver_entry"
    ]
    assert INSUFFICIENT_RESOURCES in entries
    assert entries.count(0) == loads.count(0) + 1


def test_a_storm_is_counted(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """100,000 records and more, which nobody reads meanwhile: the ring keeps the last, and every one is counted."""
    run = execute(
        wine, double, signed["gcc"], "quiet 1", "load hpnotify", "interfaces 25000", f"{HPNCTL} status", "quiet 0",
        f"{HPNCTL} mark after", f"{HPNCTL} flush", *END,
    )  # fmt: skip
    said = dict(re.findall(r"(?m)^([a-z ]+?) +(\d+)$", "\n".join(run.output)))
    records, unread, overrun = (int(said[name]) for name in ("records", "ring unread", "ring overrun"))
    assert records > 100_000
    assert (1024, records - 1024) == (unread, overrun)
    # What is written down again goes on where the count was.
    assert [("after", records + 1)] == [
        (record.nonce, record.seq) for record in run.transcript.records if isinstance(record, Mark)
    ]
    assert NOTHING == run.left
