# SPDX-License-Identifier: MIT
"""A process guest that writes without end, and hosts that run out of something: who is to blame, and what is left."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest
from process_guests.conftest import Perform
from small_disk import small_disk
from twin.running import records_of

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.errors import ExitCode, FailureClass, GuestError
from harness.guest.bootable import Bootable, GuestOptions
from harness.guest.fault_injection import INJECTED_FAULTS
from harness.guest.guest_types import GUEST_TYPES
from harness.guest.process.host import HostType
from harness.guest.process.machine import ProcessMachine
from harness.history.reader import History
from harness.history.record import Channel, Console, End
from harness.history.writer import HistoryWriter
from harness.host.registry import Registry
from harness.machine.machine import Machine, MachineSpec
from harness.run.options import RunLimits, Timeouts
from harness.size import Size

pytestmark = pytest.mark.host

KEPT = Size("256 KiB")

SOON = Timeouts(consequence=1.0)
"""The budget of runs whose driver records are cut: no wait for them can succeed."""


class FloodingHost(HostType):
    """The guest ``host``, whose process writes besides what the shell command ``flood`` writes."""

    def __init__(self, flood: str) -> None:
        self.flood = flood

    def prepare(self, options: GuestOptions, deadline: Deadline, progress: Callable[[str], None]) -> Bootable:
        """Put the flood before the program, on the same output."""
        bootable = super().prepare(options, deadline, progress)

        def make(spec: MachineSpec, directory: Path, writer: HistoryWriter, name: str) -> Machine:
            assert bootable.make is not None
            machine = bootable.make(spec, directory, writer, name)
            assert isinstance(machine, ProcessMachine)
            machine.command = ["sh", "-c", f'{self.flood} exec "$@"', "sh", *machine.command]
            return machine

        return msgspec.structs.replace(bootable, make=make)


@pytest.fixture
def flooding(perform_on: Perform, monkeypatch: pytest.MonkeyPatch) -> Perform:
    """A function that runs a plan on a process that floods."""

    def run(plan: str, flood: str, *, limits: RunLimits | None = None, **options: object) -> object:
        monkeypatch.setitem(GUEST_TYPES, "flooding", FloodingHost(flood))
        return perform_on(plan, "flooding", limits=limits or RunLimits(channel_limit=KEPT), **options)

    return run


CONSOLE = "yes 'hpnotify: trouble: flood' | head -c 2000000;"
PORT = "yes 'HPN1 abcd' | head -c 2000000;"


def test_a_flooded_console_is_cut_and_every_rule_is_judged(flooding: Perform, perform_on: Perform) -> None:
    """The run does not hold, because the guest may have told of a crash there; what its rules say is unchanged."""
    plain, result = perform_on("veto", "host"), flooding("veto", CONSOLE)
    (account,) = [one for one in records_of(result) if isinstance(one, Channel) and one.name == "console"]
    assert "the guest wrote more than 256 KiB (--channel-limit)" == account.cut
    # The account of a full line at its end, and of its beginning, is at least what was written beyond the limit.
    assert 2_000_000 - int(KEPT) == account.dropped
    assert int(KEPT) == (result.directory / "console.log").stat().st_size
    assert Verdict.UNKNOWN is result.verdict.verdict
    assert [f"CAP-CONSISTENT: channel console was cut: {account.cut}"] == result.verdict.reasons
    differ = {
        now.rule for before, now in zip(plain.verdict.rules, result.verdict.rules, strict=True) if before.verdict != now.verdict
    }  # fmt: skip
    assert {"CAP-CONSISTENT"} == differ


def test_console_lines_share_records(flooding: Perform) -> None:
    """Every line that tells of trouble is in the history, in few records."""
    result = flooding("veto", CONSOLE)
    told = [one for one in records_of(result) if isinstance(one, Console)]
    kept = (result.directory / "console.log").read_bytes()
    assert kept.count(b"flood\n") == sum(one.text.count("\n") + 1 for one in told)
    assert len(told) < 100
    assert (result.directory / "history.jsonl").stat().st_size < 1.2 * len(kept) + 50_000


def test_a_violation_outlives_a_flooded_console(flooding: Perform) -> None:
    """What the driver's records prove is proved whatever the console lacks."""
    fault = INJECTED_FAULTS["duplicate-start"]
    result = flooding(fault.plan, CONSOLE, inject_fault="duplicate-start")
    assert (Verdict.VIOLATED, FailureClass.CONTRACT) == (result.verdict.verdict, result.failure_class)


def test_a_flooded_debug_port_leaves_nothing_to_hold(flooding: Perform) -> None:
    """The driver's records came too late to be kept: the run is unknown, with the cut as its reason."""
    result = flooding("veto", PORT, budget=SOON)
    (account,) = [one for one in records_of(result) if isinstance(one, Channel) and one.name == "debugcon"]
    assert (0, False) == (account.records, account.closed)
    assert Verdict.UNKNOWN is result.verdict.verdict
    assert any(account.cut in reason for reason in result.verdict.reasons)


def test_a_process_without_end_is_ended(flooding: Perform) -> None:
    """Its output is its conversation, too. Beyond the run's limit it is over, the guest's fault, and takes no more room."""
    limits = RunLimits(channel_limit=KEPT, run_limit=Size("4 MiB"))
    result = flooding("veto", "yes flood &", limits=limits)
    assert isinstance(result.error, GuestError)
    assert "floods its output: the guest wrote more than 4 MiB (--run-limit)" in result.error.message
    assert (ExitCode.UNKNOWN, FailureClass.UNKNOWN) == (result.exit_code, result.failure_class)
    assert int(limits.run_limit) == (result.directory / "host.log").stat().st_size
    assert [] == [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == ["yes", "flood"]]


def test_records_have_a_limit(flooding: Perform) -> None:
    """A channel that brings more records than it may is cut, however few bytes they are."""
    result = flooding("veto", "", limits=RunLimits(channel_records=20), budget=SOON)
    (account,) = [one for one in records_of(result) if isinstance(one, Channel)]
    assert (20, False) == (account.records, account.closed)
    assert "the guest caused more than 20 records (--channel-records)" == account.cut
    assert account.left_out
    assert Verdict.UNKNOWN is result.verdict.verdict


def test_the_kernel_ends_a_process_that_makes_too_large_a_file(flooding: Perform, tmp_path: Path) -> None:
    """The last line is RLIMIT_FSIZE, for the files that no channel is."""
    limits = RunLimits(run_limit=Size("1 MiB"))
    result = flooding(
        "veto",
        f'dd if=/dev/zero of="{tmp_path}/big" bs=1 count=1 seek=2G 2>/dev/null || kill -XFSZ $$;',
        limits=limits,
    )
    assert result.error is not None
    assert "killed by SIGXFSZ" in result.error.message
    assert "RLIMIT_FSIZE" in result.error.message


RUN = (sys.executable, "-m", "harness", "run", "veto", "--guest", "host", "--runs")


@pytest.mark.parametrize("files", [8, 10, 12, 14, 15, 16])
def test_too_few_descriptors_are_the_hosts_fault(tmp_path: Path, files: int) -> None:
    """Wherever they run out, the run ends as the infrastructure's, says so in plain words, and leaves nothing."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    ended = subprocess.run(
        [*RUN, str(tmp_path)], preexec_fn=limit, capture_output=True, text=True, check=False, timeout=300
    )
    assert ExitCode.INFRASTRUCTURE == ended.returncode, ended.stderr
    _said_plainly(ended.stderr, "Too many open files", "ulimit -n")
    _nothing_left(tmp_path)


UNPRIVILEGED = [
    "setpriv", "--reuid", "61234", "--clear-groups", "--inh-caps", "+dac_override,+fowner",
    "--ambient-caps", "+dac_override,+fowner", "--bounding-set", "-all,+dac_override,+fowner",
]  # fmt: skip
"""A user without processes of their own, who reads the environment of the tests: the limit does not bind root (setrlimit(2))."""


@pytest.mark.root
@pytest.mark.parametrize("processes", [1, 2, 3, 4, 5, 6, 8])
def test_too_few_processes_are_the_hosts_fault(tmp_path: Path, processes: int) -> None:
    """A thread or a process that the system refuses, here or to the guest, is neither a defect nor the guest's fault."""
    ended = subprocess.run(
        [*UNPRIVILEGED, "prlimit", f"--nproc={processes}", *RUN, str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ExitCode.INFRASTRUCTURE == ended.returncode, ended.stderr
    plain = ("Resource temporarily unavailable", "starts no more threads")
    assert any(words in ended.stderr for words in plain), ended.stderr
    _said_plainly(ended.stderr, "", "ulimit -")
    _nothing_left(tmp_path)


@pytest.mark.root
@pytest.mark.parametrize("size", [16, 64, 300, 520, 540, 560, 580])
def test_a_full_disk_at_any_stage(tmp_path: Path, size: int) -> None:
    """It is noticed at once, the infrastructure's, and the history ends in order with everything recorded before."""
    small = tmp_path / "small"
    with small_disk(small, f"{size}k"):
        ended = subprocess.run([*RUN, str(small)], capture_output=True, text=True, check=False, timeout=60)
        assert ExitCode.INFRASTRUCTURE == ended.returncode, ended.stderr
        _said_plainly(ended.stderr, "", "Free some disk space")
        assert "No space left on device" in ended.stderr or "is full" in ended.stderr
        _nothing_left(small)


def _said_plainly(said: str, words: str, way_out: str) -> None:
    assert words in said
    assert way_out in said
    assert [] == [one for one in ("Traceback", "defect", "Please report") if one in said]


def _nothing_left(runs: Path) -> None:
    """No process, no registry entry; the history that there is can be read to its end."""
    assert [] == [one for one in Registry().entries() if str(runs) in one.directory]
    assert [] == [
        one.pid for one in psutil.process_iter(["cmdline"]) if any(str(runs) in word for word in one.info["cmdline"] or [])
    ]  # fmt: skip
    for path in runs.glob("*-veto-*/history.jsonl"):
        records = list(history := History(path))
        assert ("", End) == (history.damage, type(records[-1]))
