# SPDX-License-Identifier: MIT
"""The checker is seen to fail: each injected fault of the twin is caught by its rule."""

from __future__ import annotations

import pytest
from twin.running import Perform

from harness.contract.verdict import Verdict
from harness.errors import ExitCode
from harness.guest.fault_injection import INJECTED_FAULTS

pytestmark = pytest.mark.qemu


@pytest.mark.parametrize("name", INJECTED_FAULTS)
def test_plant_is_caught(perform_restored: Perform, name: str) -> None:
    """The run ends as the fault's description says, and the rule it names has the finding, with its witnesses."""
    fault = INJECTED_FAULTS[name]
    result = perform_restored(fault.plan, inject_fault=name)
    verdict = result.verdict
    assert verdict.verdict == fault.verdict
    assert verdict.exit_code is (ExitCode.VIOLATED if fault.verdict == "violated" else ExitCode.UNKNOWN)
    named = [finding for finding in verdict.findings if finding.rule == fault.rule]
    assert [finding.verdict for finding in named][:1] == [Verdict(fault.verdict)]
    if fault.verdict == "violated":
        assert 2 <= len(named[0].witnesses) <= 5 or fault.rule in ("SYNC-IRQL-PASSIVE", "COMPLETE-COUNTED")
        assert {
            f.rule for f in verdict.findings if f.verdict is Verdict.VIOLATED and f.level.startswith("error")
        } >= {fault.rule}
