# SPDX-License-Identifier: MIT
"""Fails the test during which a lock was taken out of order (:mod:`lock_order`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lock_order import LEDGER


@pytest.fixture(autouse=True)
def locks_in_order() -> Iterator[None]:
    """Look after each test, whichever thread it was."""
    yield
    violations = LEDGER.take()
    assert not violations, "locks out of order:\n" + "\n".join(violations)
