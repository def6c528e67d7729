# SPDX-License-Identifier: MIT
"""The driver's requests, fuzzed for a moment from a fixed seed; the long form is ``tox -e fuzz-driver``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from guest_drivers.driver_fuzz import fuzz

pytestmark = [pytest.mark.host, pytest.mark.llvm]


def test_a_moment_of_fuzzing(tmp_path: Path) -> None:
    """No request crashes the driver, and what it says between additions and failures stays legal."""
    done = fuzz(tmp_path, "-seed=20261121", "-runs=3000")
    assert 0 == done.returncode, done.stderr[-4000:]
    found = re.findall(r"cov: (\d+)", done.stderr)
    assert int(found[-1]) > int(found[0]) > 0
