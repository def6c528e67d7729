# SPDX-License-Identifier: MIT
"""What the twin asks of the machine, by the release of its kernel and the machine's slots."""

from __future__ import annotations

import pytest

from harness.guest.twin.guest import KNOWN_HYPERVISOR, counter_argument, kernel_arguments, machine_arguments


@pytest.mark.parametrize(
    ("release", "needed"),
    [
        ("6.1.0-56-cloud-amd64", False),
        ("6.8.0-90-generic", False),
        ("6.9.0", True),
        ("6.12.107+deb13-cloud-amd64", True),
        ("6.17.0-5-generic", True),
        ("7.0.0-30-generic", True),
        ("10.1", True),
        ("", False),
        ("test", False),
    ],
)
def test_kernels_that_must_know_their_hypervisor(release: str, needed: bool) -> None:
    """Since 6.9 Linux takes later processors from the firmware only, and must know that it is a guest."""
    assert machine_arguments(release) == (KNOWN_HYPERVISOR if needed else [])


@pytest.mark.parametrize(("slots", "places"), [(1, 9), (6, 9), (9, 9), (64, 64)])
def test_room_for_processors(slots: int, places: int) -> None:
    """There is room for every slot, and for never less than nine, so that APICs are addressed physically."""
    assert kernel_arguments(slots) == f"possible_cpus={places}"


@pytest.mark.parametrize(
    ("cpuinfo", "argument"),
    [
        ("flags\t\t: fpu constant_tsc nx\nbogomips\t: 5192.26\n", " tsc_early_khz=2596130"),
        ("flags\t\t: fpu nx\nbogomips\t: 5192.26\n", ""),
        ("flags\t\t: constant_tsc\nBogoMIPS\t: 50.00\n", ""),
        ("", ""),
    ],
)
def test_speed_of_the_counter_is_the_hosts(cpuinfo: str, argument: str) -> None:
    """Half of bogomips, where the counter is constant; nothing where the host does not tell."""
    assert argument == counter_argument(cpuinfo)
