# SPDX-License-Identifier: MIT
"""The checker is seen to fail: injected faults of the twin are caught by their rules.

The faults are in the NT layer, which the guest ``host`` runs as well: there the suite catches each of them
(``tests/process_guests/test_host_guest.py``). On the twin it catches a seeded share, and ``tox -e faults`` all.
"""

from __future__ import annotations

import os
import random

import pytest
from process_guests.rule_table import breaks
from twin.running import Perform

from harness.contract.verdict import Verdict
from harness.errors import ExitCode
from harness.guest.fault_injection import INJECTED_FAULTS
from harness.run.options import Timeouts

pytestmark = pytest.mark.qemu

ALL = "HOTPLUG_HARNESS_ALL_FAULTS"
"""Environment variable: set to anything, every fault is injected."""

SEED, SHARE = 18, 16
OF_THE_MACHINE = "reset-mid-attempt"
"""A fault that comes with a reset of the machine, which a process shows only by ending."""

IN_VAIN = Timeouts(consequence=2.5)
NEVER_TOLD = ["missing-complete", "missing-failure", "arrival-misrouted", "no-complete-after-memory"]
"""Faults by which a record that an add is followed by never comes: a run waits its whole time for it, here half as long."""

OF_ONE_RECORD = [
    "SYNC-STATE-VALID",
    "SYNC-IRQL-PASSIVE",
    "REG-IRQL-PASSIVE",
    "COMPLETE-COUNTED",
    "FAIL-STATUS-ERROR",
    "FAIL-NOT-COUNTED",
    "NUM-RANGE",
    "NUM-GROUP0",
    "COUNT-LEGACY-IS-GROUP0",
    "ADDEX-VETO-FAILURES",
    "ASYNC-IRQL-PASSIVE",
    "ASYNC-STRUCT",
    "REBAL-OPTOUT",
    "OB-NO-QUERYSTOP-VETO",
    "OB-THREAD-AFTER-COMPLETE",
]
"""Rules that one record can break: what it says is wrong, or what should have come besides did not."""


def share() -> list[str]:
    """Return the faults that are injected here, the same in every process."""
    if ALL in os.environ:
        return list(INJECTED_FAULTS)
    return sorted({OF_THE_MACHINE, *random.Random(SEED).sample(sorted(INJECTED_FAULTS), SHARE)})


@pytest.mark.parametrize("name", share())
def test_plant_is_caught(perform_restored: Perform, name: str) -> None:
    """The run ends as the fault's description says, and the rule it names is in a finding, with its witnesses.

    Where one cause breaks several rules, the finding is that of the cause, and the rule is among its consequences.
    """
    fault = INJECTED_FAULTS[name]
    budget = IN_VAIN if name in NEVER_TOLD else Timeouts()
    result = perform_restored(fault.plan, inject_fault=name, budget=budget)
    verdict = result.verdict
    assert verdict.verdict == fault.verdict
    assert verdict.exit_code is (ExitCode.VIOLATED if fault.verdict == "violated" else ExitCode.UNKNOWN)
    named = [
        finding
        for finding in verdict.findings
        if finding.rule == fault.rule
        or any(said.startswith(f"{fault.rule}: ") for said in finding.consequences)
    ]
    assert [finding.verdict for finding in named][:1] == [Verdict(fault.verdict)]
    if fault.verdict == "violated":
        assert 2 <= len(named[0].witnesses) <= 5 or fault.rule in OF_ONE_RECORD
        assert named[0].level.startswith("error")
    assert [] == [rule for rule in fault.also if not breaks(verdict, rule)]
