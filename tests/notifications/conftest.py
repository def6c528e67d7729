# SPDX-License-Identifier: MIT
"""The guests of this suite: each test is written once, runs on the twin daily, and on Windows with ``-m hardware``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from part_markers import HARDWARE_GUEST


@pytest.fixture(
    params=[
        pytest.param("twin", marks=pytest.mark.qemu),
        pytest.param("windows", marks=pytest.mark.hardware),
    ]
)
def guest_name(request: pytest.FixtureRequest) -> str:
    """The twin, or the Windows guest that is configured."""
    return "twin" if request.param == "twin" else Path(os.environ[HARDWARE_GUEST]).name
