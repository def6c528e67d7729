# SPDX-License-Identifier: MIT
"""The guests of this suite: each test is written once, runs on the twin daily, and on Windows with ``-m hardware``."""

from __future__ import annotations

import os

import pytest
from part_markers import HARDWARE_GUEST

GUESTS = [
    pytest.param("twin", marks=pytest.mark.qemu),
    pytest.param("windows", marks=pytest.mark.hardware),
]


@pytest.fixture(params=GUESTS)
def guest_name(request: pytest.FixtureRequest) -> str:
    """The twin, or the Windows guest that is chosen."""
    return "twin" if request.param == "twin" else os.environ[HARDWARE_GUEST]
