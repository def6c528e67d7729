# SPDX-License-Identifier: MIT
"""The host's memory for the backends of DIMMs: free huge pages, and nodes that have memory.

It is examined before anything boots. sysfs: Documentation/ABI/testing/sysfs-kernel-mm-hugepages,
admin-guide/mm/hugetlbpage.rst; Documentation/ABI/stable/sysfs-devices-node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.errors import UsageError
from harness.host.budget import size_text

HUGE_PAGES = Path("/sys/kernel/mm/hugepages")
NODES = Path("/sys/devices/system/node")


def check_huge_pages(wanted: Mapping[int, int], place: Path = HUGE_PAGES) -> None:
    """Check that the host has free pages for what is ``wanted``: bytes by the size of a page.

    Raises UsageError with the available sizes, the number of free pages, and the command that reserves more.
    """
    for page, size in wanted.items():
        folder = place / f"hugepages-{page >> 10}kB"
        free = _number(folder / "free_hugepages")
        if free is None:
            sizes = sorted(int(found[1]) << 10 for found in _matches(place, r"hugepages-(\d+)kB"))
            there = ", ".join(map(size_text, sizes)) or "none"
            raise UsageError(
                f"this host has no huge pages of {size_text(page)}: it has {there}",
                hint="hugepages in the plan must be one of these, or be left out.",
            )
        # A reserved page counts as free until it is used.
        free -= _number(folder / "resv_hugepages") or 0
        needed = -(-size // page)
        if free < needed:
            total = (_number(folder / "nr_hugepages") or 0) + needed - free
            raise UsageError(
                f"this host has {max(free, 0)} free huge pages of {size_text(page)}, and the plan's DIMMs take {needed}",
                hint=f"Reserve them as root: echo {total} > {folder}/nr_hugepages",
            )


def check_nodes(wanted: Iterable[int], place: Path = NODES) -> None:
    """Check that the host has each of these nodes, with memory. Raises UsageError that names the available ones."""
    text = _text(place / "has_memory")
    there = _ranges(text) if text else {int(found[1]) for found in _matches(place, r"node(\d+)")} or {0}
    for node in wanted:
        if node not in there:
            raise UsageError(
                f"this host has no memory on node {node}: its nodes with memory are {', '.join(map(str, sorted(there)))}",
                hint="host_nodes in the plan must be among these, or be left out.",
            )


def _matches(place: Path, pattern: str) -> list[re.Match[str]]:
    try:
        names = [entry.name for entry in place.iterdir()]
    except OSError:
        return []
    return [found for name in names if (found := re.fullmatch(pattern, name))]


def _ranges(text: str) -> set[int]:
    """Return the numbers of a list in the form of sysfs: ``0-1,4``."""
    found: set[int] = set()
    for first, last in re.findall(r"(\d{1,4})(?:-(\d{1,4}))?", text):
        found.update(range(int(first), int(last or first) + 1))
    return found


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdecimal() else None


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeError):
        return ""
