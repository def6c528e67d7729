# SPDX-License-Identifier: MIT
"""Three workers in network namespaces of their own, with TLS: a host that is cut off, and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet.conftest import PATIENCE
from fleet.test_nightly import HOST

from tests.fleet.namespaces import NetworkFleet, NoNamespaces


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[NetworkFleet]:
    """A fleet without hosts yet, whose network is there."""
    try:
        made = NetworkFleet(tmp_path)
    except NoNamespaces as reason:
        pytest.skip(str(reason))
    yield made
    made.close()


@pytest.mark.root
@pytest.mark.host
def test_a_host_that_is_cut_off_costs_no_outcome(fleet: NetworkFleet) -> None:
    """The others do its cells, each cell has one outcome, and the host is back in the fleet when its link is."""
    tls = fleet.tls
    assert tls is not None
    fleet.lab(
        f'{HOST}[fleet]\nca = "{tls.ca}"\ncert = "{tls.cert}"\nkey = "{tls.key}"\nresults = "{fleet.exchange}"\n'
    )
    fleet.scheduler(heartbeat=5)
    for name in "abc":
        fleet.worker(name)
    fleet.hosts("a", "b", "c")
    fleet.network.link("a", up=False)
    assert 0 == fleet.nightly().wait(PATIENCE), fleet.said("nightly")
    outcomes = fleet.outcomes()
    assert [4, 4] == [len({one["cell"] for one in outcomes}), len(outcomes)]
    assert {one["host"] for one in outcomes} <= {"b", "c"}
    fleet.network.link("a", up=True)
    fleet.hosts("a", "b", "c")
    assert [] == fleet.cells()
