# SPDX-License-Identifier: MIT
"""A share of the long form (``tox -e fleet``), with one seed: three faults, in less than a minute together."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fleet.long_form import FAULTS, hit

SHARE = random.Random(2).sample(sorted(FAULTS), 3)


@pytest.mark.host
@pytest.mark.parametrize("fault", SHARE)
def test_each_cell_counts_once_and_nothing_goes_on(fault: str, tmp_path: Path) -> None:
    """Whatever is hit, at whichever moment."""
    found = hit(fault, tmp_path, seed=1, cells=8)
    assert [8, []] == [found.once, found.left], found
