# SPDX-License-Identifier: MIT
"""Evidence of runs that went wrong on the twin: collected before the guest is ended, whatever state it is in."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from twin.running import Perform, plan_of, qemu_processes

from harness.deadline import Deadline
from harness.errors import FailureClass, GuestError, HarnessError
from harness.history import record as r
from harness.history.evidence import EvidenceIndex
from harness.history.record import Record
from harness.history.run_directory import RunDirectory, RunFacts
from harness.run.options import Timeouts
from harness.run.request import RunRequest
from harness.run.run import Run, perform

pytestmark = pytest.mark.qemu

ONE_CPU = plan_of('[[do]]\nop = "add-cpu"\n')


def index_of(run: Path) -> EvidenceIndex:
    """Return a run's index, which must be there."""
    index = RunDirectory(run).evidence()
    assert index is not None
    return index


def states(index: EvidenceIndex) -> dict[str, str]:
    """Return what became of each thing that was looked for."""
    return {item.name: item.state for item in index.items}


def facts_of(run: Path) -> RunFacts:
    """Return what run.json says."""
    return RunDirectory(run).facts()


def test_guest_that_answers_no_more_is_looked_at_from_outside(request_run: Callable[..., RunRequest]) -> None:
    """Registers of every processor and QEMU's state are kept of a guest that hangs, and its memory if wanted."""
    run = Run(request_run(ONE_CPU, restore=True, budget=Timeouts(operation=6), dump=1 << 30))
    with pytest.raises(HarnessError), run.live() as live:  # noqa: PT012
        with contextlib.suppress(GuestError):
            live.guest.provoke("hang", Deadline(2, "provoke"))
        live.executor.execute(ONE_CPU.do)
    run.judge()
    folder = run.directory.path / "evidence"
    found = states(index_of(run.directory.path))
    assert {"collected"} == {
        found[name] for name in ("state", "registers", "memory", "history.jsonl", "console.log")
    }
    registers = (folder / "registers.txt").read_text()
    assert ["CPU#0", "CPU#1"] == [line for line in registers.splitlines() if line.startswith("CPU#")]
    assert "RIP=" in registers
    with (folder / "memory.elf").open("rb") as memory:
        assert b"\x7fELF" == memory.read(4)
    assert "query-status" in (folder / "state.json").read_text()
    assert "registers.txt" in (folder / "index.md").read_text()
    facts = facts_of(run.directory.path)
    assert (facts.verdict, facts.failed_stage, facts.failure_class) == ("unknown", "plan", "guest hang")


def test_violated_run_keeps_a_cheap_look(perform_restored: Perform) -> None:
    """Nothing failed, but a rule is broken: the registers are kept, and no dump is made."""
    result = perform_restored(ONE_CPU, inject_fault="duplicate-start", dump=1 << 30)
    index = index_of(result.directory)
    assert index.why.startswith("violated: ")
    assert states(index)["registers"] == "collected"
    assert "memory" not in states(index)
    assert facts_of(result.directory).failure_class == "contract"


def test_the_time_for_the_test_and_for_the_evidence_are_two(perform_restored: Perform) -> None:
    """A plan whose time is over leaves the run unknown; evidence that has no time says so of each thing."""
    result = perform_restored(ONE_CPU, budget=Timeouts(test=0, evidence=0))
    assert result.error is not None
    assert "was over after 0 of 1 operations" in result.error.message
    skipped = [item.reason for item in index_of(result.directory).items if item.state == "skipped"]
    assert (FailureClass.UNKNOWN, {"the time for evidence was over"}) == (result.failure_class, set(skipped))


def test_qemu_that_died_leaves_its_last_words_and_is_tried_once_more(
    request_run: Callable[..., RunRequest], tmp_path: Path
) -> None:
    """Without QEMU nothing can be looked at, which the index says. Both attempts are kept, the second names the first."""
    killed: list[int] = []

    def kill_once(record: Record) -> None:
        if not killed and isinstance(record, r.Add):
            killed.extend(qemu_processes(tmp_path))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    result = perform(request_run(ONE_CPU, restore=True), listeners=(kill_once,), retry=True)
    assert result.first is not None
    assert (result.exit_code, result.first.exit_code) == (0, 69)
    assert (result.first.failure_class, result.first.stage) == (FailureClass.INFRASTRUCTURE, "plan")
    reasons = {item.name: (item.state, item.reason) for item in index_of(result.first.directory).items}
    assert ("collected", "") == reasons["qemu.log"]
    assert ("skipped", "QEMU is gone; its last output is in qemu.log") == reasons["registers"]
    facts = facts_of(result.directory)
    assert (2, result.first.directory.name) == (facts.attempt, facts.retry_of)
    assert RunDirectory(result.directory).evidence() is None
