# SPDX-License-Identifier: MIT
"""Repeats a test that failed, once, for at most as many tests as :data:`VARIABLE` says.

CI sets it (docs/ci.md): a change must not be refused for a race that it did not make. What failed is not forgotten: the
last lines name each repeated test, with the traceback of its failure.
"""

from __future__ import annotations

import os

import pytest

VARIABLE = "HOTPLUG_HARNESS_UNSTEADY"
"""Environment variable: how many tests may fail once and pass when they are repeated."""


def pytest_configure(config: pytest.Config) -> None:
    """Give pytest-rerunfailures its options."""
    if allowed := os.environ.get(VARIABLE):
        config.option.reruns = 1
        config.option.max_suite_reruns = int(allowed)
        config.option.rerun_show_tracebacks = True
