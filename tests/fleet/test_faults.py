# SPDX-License-Identifier: MIT
"""A share of the long form (``tox -e fleet``), with one seed, in less than a minute together."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fleet.conftest import Fleet
from tests.fleet.faults import FAULTS
from tests.fleet.long_form import hit
from tests.fleet.namespaces import NetworkFleet, NoNamespaces

SHARE = random.Random(2).sample(sorted(FAULTS), 2)
ONE_HOST = random.Random(1).choice([name for name in sorted(FAULTS) if not FAULTS[name].network])
CELLS = 4


@pytest.mark.root
@pytest.mark.host
@pytest.mark.qemu
@pytest.mark.remote
@pytest.mark.parametrize("fault", SHARE)
def test_each_cell_counts_once_on_hosts_of_their_own(fault: str, tmp_path: Path) -> None:
    """Whatever is hit, at whichever moment: every record arrives, and no process of a cell goes on."""
    try:
        fleet = NetworkFleet(tmp_path)
    except NoNamespaces as reason:
        pytest.skip(str(reason))
    found = hit(fault, fleet, seed=1, cells=CELLS)
    assert found.right, found
    assert found.attempts > CELLS, "the fault has cost no attempt"
    assert found.kept + found.late >= CELLS, found


@pytest.mark.host
@pytest.mark.qemu
def test_each_cell_counts_once_on_one_host(fleet: Fleet) -> None:
    """The same on loopback, which needs no root."""
    found = hit(ONE_HOST, fleet, seed=1, cells=CELLS)
    assert found.right, found
