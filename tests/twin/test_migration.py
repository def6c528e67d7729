# SPDX-License-Identifier: MIT
"""A twin that goes on in another QEMU, and faults at the wrong moment: what the history says, what is refused, what is left."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from forked_command import Forked
from twin.running import Perform, plan_of, qemu_processes, records_of, run_here

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.errors import BadDocument, CommandRefused, ExitCode, UsageError
from harness.guest.bootable import Bootable
from harness.guest.guest_types import GUEST_TYPES, TwinType
from harness.history import driver as d
from harness.history import record as r
from harness.history.reader import History
from harness.host.registry import Registry
from harness.machine.attachments import Disk
from harness.run import operation as op
from harness.run.request import RunRequest
from harness.run.run import Run

pytestmark = pytest.mark.qemu

ADD = '[[do]]\nop = "add-cpu"\n'
MIGRATE = '[[do]]\nop = "migrate"\n'
HOLD = MIGRATE + 'settle = false\n[[do]]\nop = "wait-for"\nwhat = "start"\ncount = 99\ntimeout = 100\n'


@pytest.fixture
def other_qemu(tmp_path: Path) -> Path:
    """Another program that is QEMU too."""
    other = tmp_path / "qemu-other"
    other.write_text('#!/bin/sh\nexec qemu-system-x86_64 "$@"\n')
    other.chmod(0o755)
    return other


def moves(records: list[r.Record]) -> list[r.Migration]:
    """What the history says of migrations."""
    return [one for one in records if isinstance(one, r.Migration)]


def at(records: list[r.Record], wanted: Callable[[r.Record], bool]) -> int:
    """The place of the only record of its kind."""
    (found,) = [place for place, one in enumerate(records) if wanted(one)]
    return found


def test_the_history_goes_on_in_another_qemu(perform_restored: Perform, other_qemu: Path) -> None:
    """Of another program: one driver's numbers without a gap, the counter bracketed on both sides, host time one."""
    text = f'{ADD}[[do]]\nop = "add-dimm"\nsize = "256 MiB"\n{MIGRATE}qemu = "{other_qemu}"\n{ADD}'
    result = perform_restored(plan_of(text))
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])
    records = records_of(result)
    begin, moved = moves(records)
    assert (("begin", "moved"), True) == ((begin.phase, moved.phase), str(other_qemu) in begin.detail)
    assert (begin.source, begin.target) == (moved.source, moved.target)
    numbers = [one.seq for one in records if isinstance(one, d.DriverRecord)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert 1 == len({one.boot for one in records if isinstance(one, d.DriverRecord)})
    assert 1 == len([one for one in records if isinstance(one, r.Boot)])
    places = [place for place, one in enumerate(records) if isinstance(one, r.Offset)]
    before = max(place for place in places if place < records.index(begin))
    after = min(place for place in places if place > records.index(moved))
    first, second = records[before], records[after]
    assert isinstance(first, r.Offset)
    assert isinstance(second, r.Offset)
    assert (first.domain, True) == (second.domain, first.qpc < second.qpc)
    assert (None, False) == (second.drift_low_ppb, first.drift_low_ppb is None)
    (channel,) = [one for one in records if isinstance(one, r.Channel) and one.closed]
    assert (len(numbers), 0, 0) == (channel.records, channel.lost, channel.torn)
    assert [] == qemu_processes(result.directory.name)
    assert {"qemu.log", "qemu-2.log"} <= {path.name for path in result.directory.iterdir()}


def test_a_pending_add_is_told_once_in_the_other_qemu(perform_restored: Perform) -> None:
    """What was sent to a paused guest comes after the migration: its Start, its _OST and its arrival."""
    result = perform_restored("migrate-pending")
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])
    records = records_of(result)
    moved = at(records, lambda one: isinstance(one, r.Migration) and one.phase == "moved")
    told = [
        place
        for place, one in enumerate(records)
        if isinstance(one, r.Ost) or (isinstance(one, d.SyncEnter) and one.state == d.START and one.nt == 2)
    ]
    assert (3, True) == (len(told), min(told) > moved)


def test_a_migration_in_the_middle_of_an_add(perform_restored: Perform) -> None:
    """Between two Starts of one processor: both QEMUs have a part of one attempt."""
    result = perform_restored("migrate-in-add")
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])
    records = records_of(result)
    begin = at(records, lambda one: isinstance(one, r.Migration) and one.phase == "begin")
    starts = [
        place
        for place, one in enumerate(records)
        if isinstance(one, d.SyncExit) and (one.state, one.nt) == (d.START, 2)
    ]
    completes = [
        place
        for place, one in enumerate(records)
        if isinstance(one, d.SyncEnter) and (one.state, one.nt) == (d.COMPLETE, 2)
    ]
    assert starts[0] < begin < completes[0]


def test_failures_leave_the_guest_where_it_was(perform_restored: Perform) -> None:
    """Three times in three ways, and the adds in between are as good as any."""
    result = perform_restored("migrate-fails")
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])
    said = moves(records_of(result))
    assert ["begin", "stayed"] * 3 == [one.phase for one in said]
    assert 1 == len({one.source for one in said})
    assert ("cancelled" in said[3].detail, "Machine type received" in said[5].detail) == (True, True)


def test_a_failure_that_nobody_asked_for_ends_the_run(perform_restored: Perform) -> None:
    """As infrastructure, with the words of the QEMU that could not take the guest over; the guest runs on until the end."""

    def kill(record: r.Record) -> None:
        if isinstance(record, r.Migration) and record.phase == "begin":
            os.kill(record.target, signal.SIGKILL)

    result = perform_restored(plan_of(ADD + MIGRATE + ADD), listeners=(kill,))
    assert result.error is not None
    assert "the guest was not moved: " in result.error.message
    assert (ExitCode.INFRASTRUCTURE, "infrastructure") == (result.exit_code, str(result.failure_class))
    assert "stayed" == moves(records_of(result))[-1].phase
    assert [] == qemu_processes(result.directory.name)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("qemu-system-i386", "its processor 'max' differs in "),
        ("/bin/true", "ended with status 0 and said"),
        ("/bin/sh", "and said"),
    ],
)
def test_a_qemu_that_cannot_take_the_guest_is_refused_before_the_boot(
    perform_restored: Perform, program: str, words: str
) -> None:
    """With file and line, exit code 64, and before there is a QEMU."""
    result = perform_restored(plan_of(f'{ADD}{MIGRATE}qemu = "{program}"\n'))
    assert isinstance(result.error, BadDocument)
    assert result.error.message.startswith(
        f"test.toml:6: do[2] (migrate): {program} cannot take the guest over: "
    )
    assert (True, ExitCode.USAGE) == (words in result.error.message, result.exit_code)
    assert [] == [one for one in records_of(result) if isinstance(one, r.Qmp)]


def test_a_guest_with_a_disk_that_has_no_state_is_refused_before_the_boot(
    perform_plan: Perform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """QEMU would say so in the midst of the plan."""

    class WithDisk(TwinType):
        def prepare(self, *arguments: Any) -> Bootable:
            made = super().prepare(*arguments)
            disk = Disk(file=tmp_path / "disk", bus="nvme")
            return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, disks=(disk,)))

    monkeypatch.setitem(GUEST_TYPES, "disk-twin", WithDisk())
    result = perform_plan(plan_of(ADD + MIGRATE), guest="disk-twin")
    assert result.error is not None
    assert (
        "test.toml:5: do[2] (migrate): the guest cannot be migrated: it has an NVMe disk"
        in result.error.message
    )
    assert (ExitCode.USAGE, []) == (
        result.exit_code,
        [one for one in records_of(result) if isinstance(one, r.Qmp)],
    )


def test_where_it_cannot_be_it_is_refused(request_run: Callable[..., RunRequest], tmp_path: Path) -> None:
    """Through libvirt and with a debugger's port: before anything is made."""
    for options in ({"backend": "libvirt"}, {"kd": "listen"}):
        with pytest.raises(UsageError, match="the guest cannot be migrated"):
            request_run("migrate", **options)
    assert not (tmp_path / "runs").exists()


def test_ends_by_itself_at_the_end_of_the_plan(perform_restored: Perform) -> None:
    """A migration that no settle ends is ended by the run."""
    result = perform_restored(plan_of(ADD + MIGRATE + "settle = false\n"))
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)
    assert ["begin", "moved"] == [one.phase for one in moves(records_of(result))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_struck_while_two_qemus_run(
    start_forked: Callable[..., Forked],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    """``ps`` names both; whatever ends the run, neither is left, and gc has nothing but files to remove."""
    plan = tmp_path / "hold.toml"
    plan.write_text(f'name = "hold"\n{ADD}{HOLD}')
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    process = start_forked(
        f"XDG_STATE_HOME={tmp_path / 'state'}",
        *("run", str(plan), "--restore", "--accel", "tcg", "--runs", str(tmp_path / "runs")),
    )
    try:
        history = tmp_path / "runs" / "latest" / "history.jsonl"
        both: list[int] = []

        def two() -> bool:
            lines = history.read_bytes().splitlines() if history.is_file() else []
            both[:] = [
                pid
                for line in lines
                if b'"k":"migration"' in line
                for pid in (json.loads(line)["source"], json.loads(line)["target"])
            ]
            return bool(both) or process.poll() is not None

        Deadline(120, "two QEMUs").poll(two)
        assert process.poll() is None
        registry = Registry(tmp_path / "state" / "hotplug-harness" / "machines")
        noted = {entry.qemu.pid for entry in registry.entries() if entry.qemu is not None}
        assert set(both) == noted
        process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        process.close()
    Deadline(20, "both to end").poll(lambda: not any(map(psutil.pid_exists, both)))
    assert process.returncode == (-number if number is signal.SIGKILL else 128 + number)
    assert (2 if number is signal.SIGKILL else 0) == len(registry.entries())
    code, out, _err = run_here("gc", "--yes")
    assert (0, []) == (code, registry.entries()), out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("mark", [b'"migrate-incoming"', b'"execute":"migrate"', b'"phase":"moved"'])
def test_a_run_that_is_struck_at_a_moment_of_a_migration(
    start_forked: Callable[..., Forked],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    mark: bytes,
    number: signal.Signals,
) -> None:
    """As the new QEMU waits, as the state is sent, as the guest has just moved: no QEMU is left, and the history is judged."""
    plan = tmp_path / "struck.toml"
    plan.write_text(
        f'name = "struck"\n{ADD}{MIGRATE}[[do]]\nop = "wait-for"\nwhat = "start"\ncount = 99\ntimeout = 100\n'
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    process = start_forked(
        f"XDG_STATE_HOME={tmp_path / 'state'}",
        *("run", str(plan), "--restore", "--accel", "tcg", "--runs", str(tmp_path / "runs")),
    )
    try:
        history = tmp_path / "runs" / "latest" / "history.jsonl"
        Deadline(120, "the moment").poll(
            lambda: (history.is_file() and mark in history.read_bytes()) or process.poll() is not None,
            interval=0.001,
        )
        assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        process.close()
    run = history.parent.resolve()
    Deadline(20, "both to end").poll(lambda: not qemu_processes(run.name))
    assert process.returncode == (-number if number is signal.SIGKILL else 128 + number)
    assert 0 == run_here("gc", "--yes")[0]
    assert [] == Registry(tmp_path / "state" / "hotplug-harness" / "machines").entries()
    assert ExitCode.UNKNOWN == run_here("check", str(run))[0]


# -- faults at the wrong moment ---------------------------------------------------------------------------------------


def test_a_monitor_that_drops_adds_nothing_twice(perform_restored: Perform) -> None:
    """Before the command it is sent again, before the reply QEMU is asked; each processor is added once."""
    result = perform_restored("monitor-drops")
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])
    records = records_of(result)
    notes = [one.detail for one in records if isinstance(one, r.Stage) and "dropped" in one.detail]
    assert ["cpu-1; QEMU does not have it, sent again", "cpu-2; QEMU has it, so it was accepted"] == [
        note.partition("device_add ")[2] for note in notes
    ]
    assert 4 == len({one.monitor for one in records if isinstance(one, r.Qmp)})


def test_of_two_clients_one_is_refused(perform_restored: Perform) -> None:
    """Both commands are in the history, from two connections, and so is who was refused, and with which words."""
    result = perform_restored("two-clients")
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])
    records = records_of(result)
    adds = [
        one
        for one in records
        if isinstance(one, r.Qmp) and one.direction == "out" and one.message.get("execute") == "device_add"
    ]
    assert (4, {1, 2}) == (len(adds), {one.monitor for one in adds})
    refused = [one for one in records if isinstance(one, r.Qmp) and "error" in one.message]
    assert 2 == len(refused)
    details = [one.detail for one in records if isinstance(one, r.OperationProgress) and one.phase == "end"]
    assert 2 == sum("one of the two clients was refused: " in detail for detail in details)


def test_a_reset_in_the_middle_of_an_add_is_unknown(perform_restored: Perform) -> None:
    """What the reset cut short can never be established; the guest boots with the processor, and the next add is judged."""
    result = perform_restored("reset-in-add")
    assert (result.error, result.verdict.verdict, ExitCode.UNKNOWN) == (
        None,
        Verdict.UNKNOWN,
        result.exit_code,
    )
    said = {one.rule: one for one in result.verdict.rules}
    assert "reset or bug check during the add of processor 2" in said["CAP-EPOCH"].reason
    assert (Verdict.HOLDS, []) == (
        said["EXPECT"].verdict,
        [one for one in said.values() if one.verdict is Verdict.VIOLATED],
    )
    records = records_of(result)
    (note,) = [one.detail for one in records if isinstance(one, r.Stage) and one.name == "plan"]
    assert "cpu-1 is interrupted by the reset" in note
    starts = [one for one in records if isinstance(one, d.SyncExit) and one.state == d.START and one.nt == 2]
    assert starts


def test_a_pause_in_the_middle_of_an_add_changes_nothing(perform_restored: Perform) -> None:
    """The guest stood still between the two Starts, and both Completes came after it went on."""
    result = perform_restored("pause-in-add")
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])
    records = records_of(result)
    stop = at(records, lambda one: isinstance(one, r.Qmp) and one.message.get("event") == "STOP")
    starts, completes = (
        [
            place
            for place, one in enumerate(records)
            if isinstance(one, d.SyncEnter) and (one.state, one.nt) == (state, 2)
        ]
        for state in (d.START, d.COMPLETE)
    )
    assert (2, 2, True, True) == (len(starts), len(completes), starts[0] < stop, stop < completes[0])


def test_plans_are_listed_by_what_they_show() -> None:
    """Each in one group, below the group's name."""
    code, out, _err = run_here("run", "--list-plans")
    groups = [line for line in out.splitlines() if line and not line.startswith(" ")]
    assert (0, True) == (code, {"migration:", "faults at the wrong moment:"} <= set(groups))
    assert "others:" not in groups
    names = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert len(names) == len(set(names))


def test_what_a_test_in_python_may_not_ask_for(request_run: Callable[..., RunRequest]) -> None:
    """An operation that no plan announced is refused in the same words; the guest goes on, and what was begun is ended."""
    run = Run(request_run(plan_of(ADD), restore=True))
    with run.live() as live:
        live.executor.step(op.Migrate(settle=False))
        with pytest.raises(UsageError, match="the guest is being migrated already"):
            live.executor.step(op.Migrate())
        with pytest.raises(CommandRefused, match="device_add not allowed while migrating"):
            live.executor.step(op.AddCpu())
        live.executor.step(op.Settle())
        live.executor.step(op.AddCpu())
        live.executor.step(op.Migrate(settle=False))
    said = [one.phase for one in moves(list(History(run.directory.path)))]
    assert ["begin", "moved", "begin", "stayed"] == said
    assert [] == qemu_processes(run.directory.name)


def test_the_monitor_for_people_is_named_again(perform_restored: Perform) -> None:
    """Its socket is the new QEMU's."""
    result = perform_restored(plan_of(ADD + MIGRATE), monitor=True)
    named = [
        one.detail
        for one in records_of(result)
        if isinstance(one, r.Stage) and "a monitor for you" in one.detail
    ]
    assert 2 == len(set(named))
