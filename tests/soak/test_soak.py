# SPDX-License-Identifier: MIT
"""A small share of the soak: each kind of hit once. ``tox -e soak`` is the whole of it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from part_markers import needs

from tests.soak.__main__ import soak
from tests.soak.place import Place
from tests.soak.run import HITS, choices


@pytest.fixture
@needs("libvirt")
def place() -> Iterator[Place]:
    """A corner of the host for the runs."""
    found = Place(libvirt=True)
    yield found
    found.close()


@pytest.mark.qemu
@pytest.mark.libvirt
@pytest.mark.timeout(400)
def test_each_hit_once(place: Place) -> None:
    """Whatever is hit, every history is readable, no verdict is wrong, and after gc nothing is left."""
    seed = random.randrange(1 << 30)
    outcomes, wrong, _ = soak(place, len(HITS), seed, at_once=3)
    assert [] == wrong, f"python -m tests.soak --runs {len(HITS)} --seed {seed}"
    assert len(HITS) == len(outcomes)


def test_choices_come_from_the_seed() -> None:
    """The same seed gives the same runs; without libvirt none goes through it; every kind of hit is there."""
    first, second = choices(70, 5, libvirt=True), choices(70, 5, libvirt=True)
    assert first == second != choices(70, 6, libvirt=True)
    assert dict.fromkeys(HITS, 10) == {hit: sum(one.hit == hit for one in first) for hit in HITS}
    assert {"libvirt"} == {one.backend for one in first if one.hit == "libvirtd"}
    assert {"qemu"} == {one.backend for one in choices(70, 5, libvirt=False)}


def test_what_is_left_is_seen(place_without_libvirt: Place) -> None:
    """A process, a lock, a lease, an entry, a socket's directory and an overlay that are left are each told."""
    import fcntl
    import subprocess

    here = place_without_libvirt
    assert [] == here.remains()
    for name in ("state/hotplug-harness/machines/hotplug-1.json", "runs/0001/run/guest.qcow2"):
        (here.path / name).parent.mkdir(parents=True)
        (here.path / name).touch()
    (here.path / "leases").mkdir()
    (here.path / "leases" / "1.lease").touch()
    (here.path / "runtime" / "hotplug-1").mkdir()
    with (
        (here.path / "tmp" / "locked").open("w") as file,
        subprocess.Popen(["sh", "-c", "read line", str(here.path)], stdin=subprocess.PIPE),
    ):
        fcntl.flock(file, fcntl.LOCK_EX)
        words = sorted(text.split()[0] for text in here.remains())
    assert ["entry", "file", "lease", "lock", "process", "runtime", "temporary"] == words


@pytest.fixture
def place_without_libvirt() -> Iterator[Place]:
    """A corner without a libvirtd."""
    found = Place(libvirt=False)
    yield found
    found.close()
