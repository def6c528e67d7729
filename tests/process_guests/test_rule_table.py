# SPDX-License-Identifier: MIT
"""Every rule is seen to be exercised by a built-in plan and broken by an injected fault, or there is a reason."""

from __future__ import annotations

import pytest
from process_guests.rule_table import DOCUMENT, HostRuns, embedded, holes

pytestmark = pytest.mark.host


def test_the_table_has_no_hole(host_runs: HostRuns) -> None:
    """Each rule has a plan that exercises it, each that blames somebody a fault that breaks it, or a reason is given."""
    assert [] == holes(host_runs)


def test_the_table_in_the_documents_is_what_the_runs_show(host_runs: HostRuns) -> None:
    """docs/rules.md shows what the runs show; ``python -m tests.process_guests.rule_table`` writes it."""
    document = DOCUMENT.read_text()
    assert embedded(document, host_runs) == document
