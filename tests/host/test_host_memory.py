# SPDX-License-Identifier: MIT
"""The host's huge pages and nodes, read from trees that are made as sysfs has them, and from this host's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ExitCode, UsageError
from harness.host.host_memory import check_huge_pages, check_nodes

MIB = 1 << 20


def pages(place: Path, kib: int, **numbers: int) -> Path:
    """Make the folder of one size of pages."""
    folder = place / f"hugepages-{kib}kB"
    folder.mkdir(parents=True)
    for name, number in {"nr_hugepages": 0, "free_hugepages": 0, "resv_hugepages": 0, **numbers}.items():
        (folder / name).write_text(f"{number}\n")
    return place


def test_enough_pages(tmp_path: Path) -> None:
    """As many as are free and not reserved are enough; a part of a page is a whole one."""
    place = pages(tmp_path, 2048, nr_hugepages=70, free_hugepages=70, resv_hugepages=5)
    check_huge_pages({2 * MIB: 130 * MIB}, place)
    check_huge_pages({}, place)
    with pytest.raises(
        UsageError, match="65 free huge pages of 2 MiB, and the plan's DIMMs take 66"
    ) as refused:
        check_huge_pages({2 * MIB: 131 * MIB}, place)
    assert (ExitCode.USAGE, True) == (
        refused.value.exit_code,
        refused.value.hint.endswith(f"echo 71 > {place}/hugepages-2048kB/nr_hugepages"),
    )


def test_a_size_that_is_not_there(tmp_path: Path) -> None:
    """The sizes that there are are named; a host without huge pages has none."""
    pages(tmp_path, 1048576)
    with pytest.raises(UsageError, match="no huge pages of 4 MiB: it has 2 MiB, 1 GiB"):
        check_huge_pages({4 * MIB: 4 * MIB}, pages(tmp_path, 2048))
    with pytest.raises(UsageError, match="no huge pages of 4 MiB: it has none"):
        check_huge_pages({4 * MIB: 4 * MIB}, tmp_path / "absent")


def test_nodes(tmp_path: Path) -> None:
    """Nodes without memory are none; without a list of them the folders count, and without folders there is node 0."""
    check_nodes([0], tmp_path)
    for number in range(3):
        (tmp_path / f"node{number}").mkdir()
    check_nodes([0, 2], tmp_path)
    (tmp_path / "has_memory").write_text("0-1,4\n")
    check_nodes([0, 1, 4], tmp_path)
    with pytest.raises(UsageError, match="no memory on node 2: its nodes with memory are 0, 1, 4"):
        check_nodes([2], tmp_path)


def test_this_host() -> None:
    """Its first node has memory, and it has no pages of three bytes."""
    check_nodes([0])
    with pytest.raises(UsageError, match="this host has no huge pages of 0 MiB"):
        check_huge_pages({3: 3})
