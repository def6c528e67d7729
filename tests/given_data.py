# SPDX-License-Identifier: MIT
"""Data that is given beside the clone, in ``../shared``: a clone may be without it, and the tests that read it are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

SHARED = Path(__file__).resolve().parents[2] / "shared"
"""Where given data is, if it is there."""


def given(folder: str, pattern: str) -> list[ParameterSet]:
    """Return a parameter for each given file, named by its path in the folder, or a skipped one if there are none."""
    place = SHARED / "data" / folder
    files = sorted(place.glob(pattern))
    skip = pytest.mark.skip(reason=f"no given data: {place / pattern} is not there")
    return [pytest.param(path, id=str(path.relative_to(place))) for path in files] or [
        pytest.param(place, marks=skip, id="none")
    ]
