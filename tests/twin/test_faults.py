# SPDX-License-Identifier: MIT
"""Faults against real QEMU: each ends with its message, its exit code, a readable history and no process left."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from forked_command import Forked
from left_over import machines_in
from small_disk import small_disk
from twin.running import Perform, plan_of, qemu_processes, records_of, run_here

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.errors import (
    BadHistory,
    CommandRefused,
    ExitCode,
    GuestCrash,
    GuestError,
    GuestHang,
    MachineFailed,
    MissingPart,
    UsageError,
)
from harness.history import record as r
from harness.history.reader import History
from harness.history.record import Record
from harness.machine.monitor import Drop
from harness.run import operation as op
from harness.run import silence
from harness.run.options import Timeouts
from harness.run.request import RunRequest
from harness.run.run import Run
from harness.size import Size

pytestmark = pytest.mark.qemu

ONE_CPU = plan_of('[[do]]\nop = "add-cpu"\n')


def test_missing_qemu(perform_plan: Perform) -> None:
    """A QEMU that is not there is named, with the command that supplies one."""
    result = perform_plan(ONE_CPU, qemu="/nonexistent/qemu")
    assert isinstance(result.error, MissingPart)
    assert "/nonexistent/qemu" in result.error.message
    assert "apt" in result.error.hint
    assert result.verdict.exit_code is ExitCode.INFRASTRUCTURE


def test_old_qemu(perform_plan: Perform, tmp_path: Path) -> None:
    """A QEMU that is too old says how old it is and what is needed."""
    old = tmp_path / "qemu-old"
    old.write_text("#!/bin/sh\necho 'QEMU emulator version 4.2.1 (Debian 1:4.2-3)'\n")
    old.chmod(0o755)
    result = perform_plan(ONE_CPU, qemu=str(old))
    assert isinstance(result.error, MissingPart)
    assert "4.2.1, too old" in result.error.message


def test_qemu_dies_at_start(perform_plan: Perform) -> None:
    """A QEMU that refuses its machine is quoted, and what asked for the machine is to blame."""
    result = perform_plan(ONE_CPU, machine="pc-nonsense")
    assert isinstance(result.error, MachineFailed)
    assert "unsupported machine type" in result.error.message
    fault = next(x for x in records_of(result) if isinstance(x, r.RunFailure))
    assert (fault.failure_class, fault.stage) == ("plan", "qemu")
    assert ExitCode.USAGE == result.exit_code


def test_guest_never_ready(perform_plan: Perform) -> None:
    """A guest that does not get ready in time is a hang that names the stage it reached."""
    result = perform_plan(ONE_CPU, budget=Timeouts(boot=0.3))
    assert isinstance(result.error, GuestHang)
    assert "the last stage it reached is" in result.error.message
    assert (result.verdict.verdict, result.verdict.failure_class) == (Verdict.UNKNOWN, "guest hang")


@pytest.mark.parametrize(
    ("verb", "error", "failure"), [("panic", GuestCrash, "bug check"), ("hang", GuestHang, "guest hang")]
)
def test_guest_fails_before_an_add(
    request_run: Callable[..., RunRequest],
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    error: type[Exception],
    failure: str,
) -> None:
    """A guest that panics or stops answering ends the run with its own class, and nothing hangs."""
    # A test beside this one may keep its QEMU from the processors, which would be to blame: test_silence.py.
    monkeypatch.setattr(silence, "waiting_share", lambda _pid, _seconds: 0.0)
    run = Run(request_run(ONE_CPU, restore=True, budget=Timeouts(operation=3)))
    with pytest.raises(error), run.live() as live:  # noqa: PT012
        with contextlib.suppress(GuestError):
            live.guest.provoke(verb, Deadline(2, "provoke"))
        live.executor.execute(ONE_CPU.do)
    verdict = run.judge()
    assert (verdict.verdict, verdict.failure_class, verdict.exit_code) == (
        Verdict.UNKNOWN,
        failure,
        ExitCode.UNKNOWN,
    )
    assert "RIP=" in (run.directory.path / "evidence" / "registers.txt").read_text()


def test_qemu_dies_during_an_add(perform_restored: Perform, tmp_path: Path) -> None:
    """QEMU killed between the command and its consequences is said to have died, by which signal."""

    def kill(record: Record) -> None:
        if isinstance(record, r.Add) and record.phase == "begin":
            for pid in qemu_processes(tmp_path):
                os.kill(pid, signal.SIGKILL)

    result = perform_restored(ONE_CPU, listeners=(kill,))
    assert isinstance(result.error, MachineFailed)
    assert "SIGKILL" in result.error.message
    assert result.verdict.exit_code is ExitCode.INFRASTRUCTURE


@pytest.mark.parametrize(
    ("steps", "error", "words"),
    [
        ([op.AddCpu(id="a"), op.AddCpu(id="a")], CommandRefused, "Duplicate device ID 'a'"),
        ([op.AddCpu(slot=0)], CommandRefused, "exists"),
        ([op.AddCpu(slot=77)], UsageError, "no processor slot 77: its slots are 0 to 5"),
        (
            [op.AddCpu(slot=n) for n in range(2, 6)] + [op.AddCpu()],
            CommandRefused,
            "no processor slot is left: all 6",
        ),
        ([op.AddDimm(size=Size("128 MiB"), node=7)], CommandRefused, "node"),
    ],
)
def test_refused_add(
    request_run: Callable[..., RunRequest], steps: list[op.Operation], error: type[Exception], words: str
) -> None:
    """An add of a test or a person that cannot be is refused with the reason, and nothing was added by it."""
    run = Run(request_run(ONE_CPU, restore=True))
    with pytest.raises(error, match=words), run.live() as live:  # noqa: PT012 - what raises is one step of several
        for step in steps:
            live.executor.step(step)


def test_expected_refusal_holds(perform_restored: Perform) -> None:
    """A refusal that the plan expects, in the words it expects, is no failure; other words are."""
    text = '[[do]]\nop="add-cpu"\n[[do]]\nop="add-cpu"\nslot=0\nexpect="refused"\nsaying="{}"\n'
    good = perform_restored(plan_of(text.format("exists")))
    assert (good.error, good.verdict.verdict) == (None, Verdict.HOLDS)
    bad = perform_restored(plan_of(text.format("no such words")))
    assert bad.verdict.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("when", ["now", "before-command", "before-reply"])
def test_monitor_dropped_around_an_add(request_run: Callable[..., RunRequest], when: Drop) -> None:
    """A monitor that drops around the command comes back, and exactly one processor is added."""
    run = Run(request_run(ONE_CPU, restore=True))
    with run.live() as live:
        slot = next(slot for slot in live.machine.cpu_slots(Deadline(30, "slots")) if not slot.qom)
        live.machine.drop_monitor(when)
        live.machine.add_cpu("cpu-x", slot, Deadline(60, "add"))
        assert live.watch.wait(lambda: live.watch.tally["cpu-arrival"] == 1, Deadline(60, "arrival"))
        taken = [slot.qom for slot in live.machine.cpu_slots(Deadline(30, "slots")) if slot.qom]
    assert len(taken) == 3
    assert [q.monitor for q in History(run.directory.path) if isinstance(q, r.Qmp)][-1] == 2


def test_monitor_dropped_by_the_plan_holds(perform_restored: Perform) -> None:
    """A plan that drops the monitor before an add holds like one that does not."""
    result = perform_restored(plan_of('[[do]]\nop = "drop-monitor"\n\n[[do]]\nop = "add-cpu"\n'))
    assert (result.error, result.verdict.verdict) == (None, Verdict.HOLDS)


def test_two_demos_at_once(start_forked: Callable[..., Forked], tmp_path: Path) -> None:
    """Two demos started together, in the same place, both hold and keep their evidence apart."""
    processes = [
        start_forked("demo", "--restore", "--accel", "tcg", "--runs", str(tmp_path)) for _ in range(2)
    ]
    outs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outs
    assert len([path for path in tmp_path.iterdir() if path.is_dir() and not path.is_symlink()]) == 2


STAGES = ["image", "accelerator", "qemu", "boot", "driver", "operation"]


@pytest.mark.parametrize(
    ("number", "stage"),
    [
        *itertools.product([signal.SIGINT, signal.SIGTERM, signal.SIGKILL], STAGES),
        (signal.SIGHUP, "boot"),
        (signal.SIGQUIT, "operation"),
    ],
    ids=str,
)
def test_interrupted_at_any_stage(
    start_forked: Callable[..., Forked], tmp_path: Path, number: signal.Signals, stage: str
) -> None:
    """A signal at any stage leaves no process and a readable history that says where it ended; after SIGKILL ``gc`` clears up."""
    # What comes after the boot is reached sooner from the ready snapshot.
    begin = "--restore" if stage in STAGES[STAGES.index("boot") + 1 :] else "--cold"
    process = start_forked("demo", begin, "--accel", "tcg", "--runs", str(tmp_path))
    history = _reached(tmp_path, stage, process)
    process.send_signal(number)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == (-9 if number is signal.SIGKILL else 128 + number), err
    Deadline(30, "QEMU is gone").poll(lambda: not qemu_processes(tmp_path))
    records = list(history)
    reached = [x for x in records if _is_stage(x, stage)]
    assert reached
    if number is not signal.SIGKILL:
        assert isinstance(records[-1], r.End)
        assert records[-1].outcome == "interrupted"
        assert b"Traceback" not in err
    code, out, _err = run_here("check", str(history.path.parent))
    assert (code, out.splitlines()[-1].split()[0]) == (ExitCode.UNKNOWN, "UNKNOWN")
    if number is signal.SIGKILL:
        assert run_here("gc", "--yes")[0] == 0
    assert machines_in(tmp_path) == []


def _is_stage(record: Record, stage: str) -> bool:
    if stage == "operation":
        return isinstance(record, r.Add) and record.phase == "accepted"
    return isinstance(record, r.Stage) and record.name == stage


def _reached(runs: Path, stage: str, process: Forked) -> History:
    """Wait until the run's history has come to ``stage``."""

    def look() -> History | None:
        assert process.poll() is None, process.communicate(60)
        for path in runs.glob("*/history.jsonl"):
            with contextlib.suppress(BadHistory):
                history = History(path)
                if any(_is_stage(record, stage) for record in history):
                    return history
        return None

    return Deadline(60, f"stage {stage}").poll(look, interval=0.01)


def test_unwritable_run_directory(tmp_path: Path) -> None:
    """A place where no run directory can be made is said so, with the way out."""
    (tmp_path / "file").touch()
    code, _out, err = run_here("demo", "--runs", str(tmp_path / "file" / "runs"))
    assert code == ExitCode.INFRASTRUCTURE
    assert "cannot make the run directory" in err
    assert "--runs DIR" in err


@pytest.mark.root
def test_disk_full_during_the_run(run_forked: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    """A disk that fills up ends the run with that message; what was written before is readable."""
    small = tmp_path / "small"
    with small_disk(small, "48k"):
        code, _out, err = run_forked("demo", "--accel", "tcg", "--runs", str(small))
        assert code == ExitCode.INFRASTRUCTURE
        assert "No space left on device" in err
        assert "--runs DIR" in err
        assert "Traceback" not in err
        assert not qemu_processes(small)
        (directory,) = [path for path in small.iterdir() if path.is_dir() and not path.is_symlink()]
        assert len(list(History(directory))) > 3
