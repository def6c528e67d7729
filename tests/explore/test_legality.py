# SPDX-License-Identifier: MIT
"""Which operations make a legal plan, and what each add must come to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from harness.explore.generation import plans, single_operations
from harness.explore.legality import Legality, simpler
from harness.run import operation as op
from harness.run.options import RunOptions
from harness.run.plan import checked
from harness.run.rehearsal import rehearse

HOST = Legality(RunOptions(guest="host"))
KNOWN = (op.VetoNext(), op.AddCpu(expect="vetoed"), op.AddDimm(size="128 MiB"), op.AddCpu())

ILLEGAL = {
    "veto without a driver": [op.UnloadDriver(), op.VetoNext()],
    "veto without a callback": [op.Deregister(which="sync"), op.VetoNext()],
    "two vetoes": [op.VetoNext(), op.VetoNext()],
    "unload with a veto": [op.VetoNext(), op.UnloadDriver()],
    "registered twice": [op.Register(which="sync")],
    "deregistered twice": [op.Deregister(which="memory"), op.Deregister(which="memory")],
    "loaded twice": [op.LoadDriver()],
    "unloaded twice": [op.UnloadDriver(), op.UnloadDriver()],
    "a driver that is not there": [op.DelayStart(milliseconds=1, driver="second")],
    "resumed while it runs": [op.Resume()],
    "unload while paused": [op.Pause(), op.UnloadDriver()],
    "nothing to settle": [op.Settle()],
    "unload while adds are open": [op.Pause(), op.AddCpu(), op.Resume(), op.UnloadDriver()],
    "too many processors": [op.AddCpu()] * 6,
    "what a process cannot show": [op.Unplug(device="cpu-1")],
}


@pytest.mark.parametrize("operations", ILLEGAL.values(), ids=ILLEGAL)
def test_illegal(operations: list[op.Operation]) -> None:
    """The driver, the machine or this package's own limits refuse it."""
    assert HOST.settled(operations) is None


def test_expected_outcomes() -> None:
    """An add after a veto is vetoed, one of a paused guest does not wait, and a guest is not left paused."""
    assert HOST.settled([op.VetoNext(), op.AddCpu(), op.AddDimm(size="128 MiB"), op.AddCpu()]) == KNOWN
    assert HOST.completed([op.Pause(), op.AddCpu()]) == (
        op.Pause(), op.AddCpu(settle=False), op.Resume(), op.Settle(),
    )  # fmt: skip
    assert HOST.completed([op.AddCpu(), op.VetoNext()]) is None
    assert HOST.completed([]) is None


def test_repaired() -> None:
    """What others were removed before is removed too, and outcomes follow."""
    assert HOST.repaired([op.AddCpu(expect="vetoed"), op.Resume(), op.Settle()]) == (op.AddCpu(),)
    assert HOST.repaired([op.Resume()]) is None


def test_simpler() -> None:
    """One argument at a time gets its default or its least value; what an operation is stays."""
    assert simpler(op.AddDimm(size="384 MiB", node=1)) == [
        op.AddDimm(size="128 MiB", node=1),
        op.AddDimm(size="384 MiB"),
    ]
    assert simpler(op.Register(which="sync2", driver="second")) == []


@settings(max_examples=200, deadline=None)
@given(plans(HOST, "host", [KNOWN]))
def test_generated_plans_are_legal(operations: tuple[op.Operation, ...]) -> None:
    """The plan checker passes each, and completing it again changes nothing."""
    plan = HOST.plan(operations)
    rehearse(checked(plan, "", "plan"), guest="host")
    assert HOST.completed(operations) == operations
    vetoes = sum(isinstance(one, op.VetoNext) for one in operations)
    assert vetoes == sum(isinstance(one, op.AddCpu) and one.expect == "vetoed" for one in operations)


@pytest.mark.parametrize(("guest", "drops"), [("host", False), ("twin", True)])
def test_operations_by_guest(guest: str, drops: bool) -> None:
    """Only a guest with QEMU loses its monitor."""
    assert ("DropMonitor" in repr(single_operations(guest))) is drops
