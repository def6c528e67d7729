# SPDX-License-Identifier: MIT
"""The host tests reach nearly all of the driver's source; docs/driver-proof.md says what they do not."""

from __future__ import annotations

import shutil

import pytest
from guest_drivers.driver_coverage import DRIVER, TESTS, measure, shares

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in ("gcc", "gcov", "make")), reason="needs gcc, gcov and make"
    ),
]


def test_at_least_95_percent_of_lines_and_90_of_branches() -> None:
    """Every source file is executed, and no more than that is left out, by the first file of tests alone."""
    files = measure(tests=TESTS[:1])
    assert sorted(path.name for path in (DRIVER / "src").glob("*.c")) == [file.name for file in files]
    lines, branches = shares(files)
    assert lines >= 95, files
    assert branches >= 90, files
