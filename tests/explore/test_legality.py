# SPDX-License-Identifier: MIT
"""Which operations make a legal plan, and what each add must come to."""

from __future__ import annotations

import pytest
from effort import examples
from hypothesis import given, settings

from harness.explore.generation import plans, single_operations
from harness.explore.legality import Legality, simpler
from harness.run import operation as op
from harness.run.options import RunOptions
from harness.run.plan import checked
from harness.run.rehearsal import rehearse

HOST = Legality(RunOptions(guest="host"))
TWIN = Legality(RunOptions(guest="twin"), qemu="10.0.0")
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
    "devices of two drivers": [op.LoadDriver(driver="second", pnp=True)],
    "opted out without devices": [op.UnloadDriver(), op.LoadDriver(opt_out=True)],
    "too many processors": [op.AddCpu()] * 6,
    "what a process cannot show": [op.Unplug(device="cpu-1")],
}


@pytest.mark.parametrize("operations", ILLEGAL.values(), ids=ILLEGAL)
def test_illegal(operations: list[op.Operation]) -> None:
    """The driver, the machine or this package's own limits refuse it."""
    assert HOST.settled(operations) is None


def test_rebalances() -> None:
    """A driver that is loaded as one with devices is rebalanced, or opts out of it."""
    for opt_out in (False, True):
        loaded = (op.UnloadDriver(), op.LoadDriver(pnp=True, opt_out=opt_out), op.AddCpu())
        assert HOST.completed(loaded) == loaded


def test_a_driver_that_vetoes_while_it_is_loaded() -> None:
    """It is not there afterwards; a processor that does not exist, or is not asked about, is not vetoed."""
    operations = [op.UnloadDriver(), op.LoadDriver(veto=2), op.LoadDriver(), op.AddCpu()]
    assert HOST.completed(operations) == (
        op.UnloadDriver(), op.LoadDriver(veto=2, expect="refused"), op.LoadDriver(), op.AddCpu(),
    )  # fmt: skip
    assert HOST.completed([op.UnloadDriver(), op.LoadDriver(veto=2), op.VetoNext(), op.AddCpu()]) is None
    for wrong in (
        op.LoadDriver(veto=3),
        op.LoadDriver(veto=1, add_existing=False),
        op.LoadDriver(veto=1, pnp=True),
    ):
        assert HOST.completed([op.UnloadDriver(), wrong]) is None


ON_THE_TWIN = {
    "a reset needs the driver again": ([op.Reset(add_cpus=1), op.VetoNext()], None),
    "loaded after a reset": (
        [op.Reset(), op.LoadDriver(), op.AddCpu()],
        (op.Reset(), op.LoadDriver(), op.AddCpu()),
    ),
    "no reset with devices": ([op.UnloadDriver(), op.LoadDriver(pnp=True), op.Reset()], None),
    "migrated while paused": (
        [op.Pause(), op.AddCpu(), op.Migrate()],
        (op.Pause(), op.AddCpu(settle=False), op.Migrate(), op.Resume(), op.Settle()),
    ),
    "no failing migration while paused": ([op.Pause(), op.Migrate(fail="cancelled")], None),
    "no other QEMU": ([op.Migrate(qemu="/bin/sh")], None),
    "removed": (
        [op.AddDimm(size="128 MiB"), op.Unplug(device="dimm-1")],
        (op.AddDimm(size="128 MiB"), op.Unplug(device="dimm-1")),
    ),
    "removed after it was refused": (
        [op.AddCpu(), op.AnswerUnplugs(by="refuse"), op.Unplug(device="cpu-1"), op.AnswerUnplugs(by="give"), op.Unplug(device="cpu-1")],
        (
            op.AddCpu(), op.AnswerUnplugs(by="refuse"), op.Unplug(device="cpu-1", expect="refused"),
            op.AnswerUnplugs(by="give"), op.Unplug(device="cpu-1"),
        ),
    ),
    "one that was not added": (
        [op.AddCpu(), op.Unplug(device="cpu-4")],
        (op.AddCpu(), op.Unplug(device="cpu-1")),
    ),
    "removed twice": ([op.AddCpu(), op.Unplug(device="cpu-1"), op.Unplug(device="cpu-1")], None),
    "never was there": ([op.Unplug(device="dimm-1")], None),
    "one that was vetoed": ([op.VetoNext(), op.AddCpu(), op.Unplug(device="cpu-1")], None),
    "of the boot": ([op.AddCpu(), op.Reset(), op.Unplug(device="cpu-1")], None),
}  # fmt: skip


@pytest.mark.parametrize(("operations", "whole"), ON_THE_TWIN.values(), ids=ON_THE_TWIN)
def test_on_the_twin(operations: list[op.Operation], whole: tuple[op.Operation, ...] | None) -> None:
    """What QEMU can do besides: resets, migrations, removals."""
    assert TWIN.completed(operations) == whole


@pytest.mark.parametrize(("qemu", "legal"), [("", False), ("7.2.22", False), ("10.0.0", True)])
def test_change_after_a_processor_was_removed(qemu: str, legal: bool) -> None:
    """QEMU 7.2 under TCG dies of it, and so may one whose version is not known; another one gets such plans."""
    operations = [op.AddCpu(), op.Unplug(device="cpu-1"), op.AddDimm(size="128 MiB")]
    found = Legality(RunOptions(guest="twin"), qemu=qemu).completed(operations)
    assert (found is not None) is legal


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


@settings(max_examples=examples(100), deadline=None)
@given(plans(HOST, "host", [KNOWN]))
def test_generated_plans_are_legal(operations: tuple[op.Operation, ...]) -> None:
    """The plan checker passes each, and completing it again changes nothing."""
    plan = HOST.plan(operations)
    rehearse(checked(plan, "", "plan"), guest="host")
    assert HOST.completed(operations) == operations
    vetoes = sum(isinstance(one, op.VetoNext) for one in operations)
    assert vetoes == sum(isinstance(one, op.AddCpu) and one.expect == "vetoed" for one in operations)


@settings(max_examples=examples(50), deadline=None)
@given(plans(TWIN, "twin", []))
def test_generated_plans_of_the_twin(operations: tuple[op.Operation, ...]) -> None:
    """The plan checker passes each; an exploration that finds one in its corpus takes it."""
    rehearse(checked(TWIN.plan(operations), "", "plan"), guest="twin")
    assert (TWIN.completed(operations), TWIN.speaks(operations)) == (operations, True)


@pytest.mark.parametrize("guest", ["host", "twin", "windows-server-2025"])
def test_operations_by_guest(guest: str) -> None:
    """Only a guest with QEMU has a monitor to lose, resets, migrations and removals; the twin alone is told how it answers."""
    single = single_operations(guest)
    with_qemu = [kind in single for kind in (op.DropMonitor, op.Reset, op.Migrate, op.Unplug)]
    assert (with_qemu, op.AnswerUnplugs in single) == ([guest != "host"] * 4, guest == "twin")
    assert ("opt_out" in repr(single[op.LoadDriver])) is not guest.startswith("windows")
