# SPDX-License-Identifier: MIT
"""What a driver is told when processors and memory arrive. Only the fixtures of the plugin are used."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.contract.verdict import RunVerdict, Verdict
from harness.deadline import Deadline
from harness.guest.guest import Guest
from harness.history import driver as d
from harness.history.record import Record
from harness.pytest_plugin import Hotplug
from harness.run import operation as op

History = Callable[[], list[Record]]
Judged = Callable[[], RunVerdict]


def _told(records: list[Record]) -> list[tuple[str, int]]:
    return [(d.STATE_NAMES[x.state], x.nt) for x in records if isinstance(x, d.SyncEnter)]


def test_existing_processors_are_announced_at_load(guest: Guest, history: History, verdict: Judged) -> None:
    """With ADD_EXISTING the driver hears of each processor that runs: all Starts, then all Completes."""
    running = guest.counts(Deadline(30, "count")).processors
    told = _told(history())
    assert [state for state, _nt in told] == ["Start"] * running + ["Complete"] * running
    assert {nt for _state, nt in told} == set(range(running))
    assert verdict().verdict is Verdict.HOLDS


def test_processor_is_announced_once(hotplug: Hotplug, history: History, verdict: Judged) -> None:
    """An added processor is announced by one Start and one Complete of the same number."""
    before = len(_told(history()))
    hotplug.add_cpu()
    (start, complete) = _told(history())[before:]
    assert (start[0], complete[0], start[1]) == ("Start", "Complete", complete[1])
    assert verdict().verdict is Verdict.HOLDS


def test_vetoed_processor_fails_and_the_next_is_taken(
    hotplug: Hotplug, history: History, verdict: Judged
) -> None:
    """After a veto the processor is not counted; the next one is added as if nothing had been."""
    before = len(_told(history()))
    hotplug.do(op.VetoNext())
    hotplug.add_cpu(expect="vetoed")
    hotplug.add_cpu()
    states = [state for state, _nt in _told(history())[before:]]
    assert states[0] == "Start"
    assert states[-2:] == ["Start", "Complete"]
    assert states.count("Complete") == 1
    assert verdict().verdict is Verdict.HOLDS


def test_memory_has_no_synchronous_notification(hotplug: Hotplug, history: History, verdict: Judged) -> None:
    """A DIMM is announced as an arrival and by nothing else."""
    before = len(_told(history()))
    hotplug.add_dimm("1 GiB")
    records = history()
    assert _told(records)[before:] == []
    assert [x.cls for x in records if isinstance(x, d.AsyncEnter)] == ["memory"]
    assert verdict().verdict is Verdict.HOLDS


def test_unloaded_driver_hears_nothing(hotplug: Hotplug, history: History, verdict: Judged) -> None:
    """What is added while the driver is not loaded is an existing processor when it is loaded again."""
    hotplug.do(op.UnloadDriver())
    silent = len(_told(history()))
    hotplug.add_cpu()
    assert len(_told(history())) == silent
    hotplug.do(op.LoadDriver())
    told = _told(history())[silent:]
    assert [state for state, _nt in told] == ["Start"] * 3 + ["Complete"] * 3
    assert verdict().verdict is Verdict.HOLDS


# The machine of the plan `veto-existing`, so that it is booted once for both.
@pytest.mark.machine(processors=3, max_processors=5)
def test_full_machine_refuses_and_goes_on(hotplug: Hotplug, verdict: Judged) -> None:
    """When no slot is left QEMU refuses the add, the guest is untouched and takes memory next, and the verdict holds."""
    hotplug.add_cpu()
    hotplug.add_cpu()
    hotplug.add_cpu(expect="refused")
    hotplug.add_dimm()
    assert (verdict().verdict, verdict().reasons) == (Verdict.HOLDS, [])
