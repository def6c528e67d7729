# SPDX-License-Identifier: MIT
"""Waiting for what another process does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.deadline import Deadline


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Wait until something is true, for a minute at most."""

    def wait(condition: Callable[[], object]) -> None:
        Deadline(60, "the test").poll(lambda: bool(condition()))

    return wait
