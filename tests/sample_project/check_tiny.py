# SPDX-License-Identifier: MIT
"""What tiny is told when a processor is added. Nothing of the harness is imported: its plugin gives the fixture."""

from __future__ import annotations


def test_tiny_is_told_of_a_processor(hotplug):  # type: ignore[no-untyped-def]
    """One Start and one Complete; the verdict of the run is the test's."""
    hotplug.add_cpu()
