# SPDX-License-Identifier: MIT
"""Runs that begin from the twin's ready snapshot: judged as those that boot, and never booted twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from twin.running import Perform, beginning, flip, plan_of, records_of, run_here

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.errors import ExitCode, GuestHang, InfrastructureError, MachineFailed, UsageError
from harness.guest.bootable import GuestOptions, OutsideSigns
from harness.guest.guest_types import GUEST_TYPES, TwinType
from harness.guest.twin.guest import Twin
from harness.history.record import Stage
from harness.history.writer import HistoryWriter
from harness.machine.machine import Machine
from harness.machine.snapshot import SnapshotStore
from harness.run.options import Timeouts
from harness.run.request import RunRequest
from harness.run.run import RunResult, perform
from harness.setup.content import ContentDigests

pytestmark = pytest.mark.qemu

ONE_CPU = plan_of('[[do]]\nop = "add-cpu"\n')


def notes(result: RunResult) -> list[str]:
    """What was said of the state."""
    return [one.detail for one in records_of(result) if isinstance(one, Stage) and one.name == "state"]


def test_built_in_plan_holds(perform_plan: Perform) -> None:
    """From the snapshot every plan has the verdict it has after a boot; more in test_plans.py, and resets in tests/hardware."""
    result = perform_plan("veto", restore=True)
    assert (result.error, result.verdict.verdict, result.verdict.reasons) == (None, Verdict.HOLDS, [])
    assert beginning(result) == ("restored", True, False)


def test_plant_is_caught(perform_plan: Perform) -> None:
    """A driver's misbehaviour is found in a restored guest as in any."""
    result = perform_plan("cpu-and-dimm", restore=True, inject_fault="missing-complete")
    assert Verdict.VIOLATED is result.verdict.verdict


def content(result: RunResult) -> dict[str, str]:
    """Return what the run says that it ran."""
    found: dict[str, str] = json.loads((result.directory / "run.json").read_bytes())["content"]
    return found


def test_snapshot_is_saved_once(
    request_run: Callable[..., RunRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run boots the guest and saves it, the second one does not.

    A boot that hangs is tried once more, since no verdict is at stake while a snapshot is saved; what it left is kept beside it.
    The third run finds that the memory is not what was saved, and saves it anew; one that QEMU cannot read is said and removed.
    Each names the bytes that it ran.
    """
    boots: list[Twin] = []

    class Reluctant(Twin):
        def wait_ready(self, deadline: Deadline, *, boots_: list[Twin] = boots, boots: int = 1) -> None:
            boots_.append(self)
            if len(boots_) == 1:
                raise GuestHang("it hangs")
            super().wait_ready(deadline, boots=boots)

    class ReluctantType(TwinType):
        def attach(
            self, machine: Machine, writer: HistoryWriter, signs: OutsideSigns, options: GuestOptions
        ) -> Twin:
            return Reluctant(machine, writer, signs)

    monkeypatch.setitem(GUEST_TYPES, "reluctant-twin", ReluctantType())
    request = request_run(ONE_CPU, restore=True, guest="reluctant-twin")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "twin").symlink_to(request.cache / "twin")
    request = dataclasses.replace(request, cache=cache)
    first = perform(request)
    assert len(boots) == 2
    assert any("it hangs; once more" in note for note in notes(first))
    (saved,) = [path for path in (cache / "states").iterdir() if path.is_dir()]
    assert (saved / "first-history.jsonl").is_file()
    second = perform(request)
    (memory,) = cache.glob("states/*/memory")
    assert {hashlib.sha256(memory.read_bytes()).hexdigest()} == {
        content(run)["state/memory"] for run in (first, second)
    }
    flip(memory)
    third = perform(request)
    assert [(None, Verdict.HOLDS)] * 3 == [(run.error, run.verdict.verdict) for run in (first, second, third)]
    assert [True, False, True] == [
        any("booting once" in note for note in notes(run)) for run in (first, second, third)
    ]
    assert any("is damaged and is made anew: memory has SHA-256 " in note for note in notes(third))
    assert hashlib.sha256(memory.read_bytes()).hexdigest() == content(third)["state/memory"]
    facts = json.loads((second.directory / "run.json").read_bytes())
    state = SnapshotStore(cache).find(facts["state"])
    assert state is not None
    assert state.mapped or "fd:0" in facts["qemu_argv"]  # a mapped state is a file that QEMU opens itself
    state.memory.write_bytes(state.memory.read_bytes()[:1000])
    ContentDigests(cache).seal(Path(state.directory))  # else it would not be given to QEMU at all
    broken = perform(request)
    assert isinstance(broken.error, MachineFailed)
    assert ("The snapshot was removed" in broken.error.hint, ExitCode.INFRASTRUCTURE) == (
        True,
        broken.error.exit_code,
    )
    # The next run finds what the first one found.
    assert SnapshotStore(cache).find(facts["state"]) is None
    assert ["lock"] == [path.name for path in (cache / "states").iterdir()]


def test_guest_that_never_is_ready_leaves_no_state(
    request_run: Callable[..., RunRequest], tmp_path: Path
) -> None:
    """What keeps the guest from being ready is the run's error, and nothing half-made stays."""
    request = request_run(ONE_CPU, restore=True, budget=Timeouts(boot=0.01))
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "twin").symlink_to(request.cache / "twin")
    result = perform(dataclasses.replace(request, cache=cache))
    assert result.error is not None
    assert "was not ready within" in result.error.message
    assert ["lock"] == [path.name for path in (cache / "states").iterdir()]
    assert not isinstance(result.error, InfrastructureError)


def test_what_cannot_be_restored_is_said(tmp_path: Path, request_run: Callable[..., RunRequest]) -> None:
    """libvirt, a debugger's port and guests that are processes have no snapshot: exit code 64 and a hint."""
    for options in ({"backend": "libvirt"}, {"kd": "listen"}):
        with pytest.raises(UsageError) as caught:
            request_run(ONE_CPU, restore=True, **options)
        assert "Leave out --restore" in caught.value.hint
    code, _out, err = run_here("run", "cpu-and-dimm", "--guest", "host", "--restore", "--runs", str(tmp_path))
    assert (ExitCode.USAGE, True) == (code, "Leave --restore out" in err)
