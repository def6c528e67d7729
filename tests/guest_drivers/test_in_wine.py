# SPDX-License-Identifier: MIT
"""The signed driver file, byte for byte, loaded and driven by Wine with hpnctl.exe as its client.

What Wine lacks is answered by a double of the framework's loader and by the NT core; nothing here is a Windows result.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from guest_drivers.host_process import request as ask
from guest_drivers.wine_prefix import Wine
from guest_drivers.wine_process import HPNCTL, Run, build_double, execute

from guest_drivers import host_process
from harness.deadline import Deadline
from harness.driver import certificate
from harness.driver.build import TOOLCHAINS
from harness.driver.signature import sign
from harness.history.driver import AsyncEnter, Bind, DriverRecord, Grow, Hello, Mark, SyncEnter, Work

pytestmark = pytest.mark.wine

ALREADY_RUNNING = 1056
REFUSED = 1
GEN_FAILURE = 31
"""What Wine makes of STATUS_UNSUCCESSFUL, the veto."""

END = (f"{HPNCTL} detach", "unload hpnotify")
NOTHING = {"allocations": 0, "core": 0, "threads": 0, "handles": 0, "references": 0, "dpcs": 0}


@pytest.fixture(scope="session")
def double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_double(tmp_path_factory.mktemp("double"))


@pytest.fixture(scope="session")
def signed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The signed drivers by their toolchain, each with its hpnctl.exe."""
    folder = tmp_path_factory.mktemp("signed")
    keys = certificate.ensure(folder / "keys")
    drivers = {}
    for name, path in built.items():
        (folder / name).mkdir()
        for file in (path, path.with_name("hpnctl.exe")):
            shutil.copy(file, folder / name)
        drivers[name] = folder / name / "hpnotify.sys"
        sign(drivers[name], keys, Deadline(60, "signing"))
    return drivers


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
    """Nothing was left behind, nothing was called that is not there, every bracket closed."""
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
