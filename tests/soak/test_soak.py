# SPDX-License-Identifier: MIT
"""A small share of the soak: some kinds of hits, drawn. ``tox -e soak`` is the whole of it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from part_markers import needs

from tests.soak.__main__ import Log, said_of, soak
from tests.soak.place import Place
from tests.soak.run import HITS, Outcome, choices

SHARE = 6
"""Hits in the suite: with three runs at once they take less than a minute."""


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
def test_some_hits(place: Place) -> None:
    """Whatever is hit, every history is readable, no verdict is wrong, and after gc nothing is left."""
    log = Log(seed=int(os.environ.get("HOTPLUG_HARNESS_SOAK", random.randrange(1 << 30))))
    hits = random.Random(log.seed).sample(sorted({*HITS} - {"none", "stall", "flood"}), SHARE)
    runs = choices(SHARE, log.seed, libvirt=True, root=os.geteuid() == 0, hits=hits)
    wrong = soak(place, runs, log, at_once=3)
    wrong += [text for outcome in log.outcomes for text in said_of(outcome)]
    assert [] == wrong, f"HOTPLUG_HARNESS_SOAK={log.seed}"
    assert [one.number for one in runs] == sorted(outcome.choice.number for outcome in log.outcomes)


def test_choices_come_from_the_seed() -> None:
    """The same seed gives the same runs; without libvirt none goes through it; every kind of hit is there."""
    count = 10 * len(HITS)
    first, second = choices(count, 5, libvirt=True), choices(count, 5, libvirt=True)
    assert first == second != choices(count, 6, libvirt=True)
    assert dict.fromkeys(HITS, 10) == {hit: sum(one.hit == hit for one in first) for hit in HITS}
    assert {"libvirt"} == {one.backend for one in first if one.hit == "libvirtd"}
    assert {"qemu"} == {one.backend for one in choices(count, 5, libvirt=False)}
    assert not {"disk", "user"} & {one.hit for one in choices(count, 5, libvirt=True, root=False)}


def test_a_soak_goes_on_with_its_log(tmp_path: Path) -> None:
    """The runs in the log are not made again, a line that was cut counts for nothing, and another seed is refused."""
    one, *_ = choices(1, 5, libvirt=False)
    first = Log(tmp_path / "log", 5)
    first.add(Outcome(choice=one, code=3))
    first.add(swept=2)
    with (tmp_path / "log").open("ab") as file:
        file.write(b'{"seed": 5, "outc')
    again = Log(tmp_path / "log")
    assert (again.seed, again.swept, [outcome.code for outcome in again.outcomes]) == (5, 2, [3])
    with pytest.raises(SystemExit, match="have the seed 5, not 6"):
        Log(tmp_path / "log", 6)


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
        subprocess.Popen(
            ["sh", "-c", "echo; read line", str(here.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
    ):
        # A program that has begun has its command line.
        assert process.stdout is not None
        process.stdout.readline()
        fcntl.flock(file, fcntl.LOCK_EX)
        words = sorted(text.split()[0] for text in here.remains())
    assert ["entry", "file", "lease", "lock", "process", "runtime", "temporary"] == words


@pytest.fixture
def place_without_libvirt() -> Iterator[Place]:
    """A corner without a libvirtd."""
    found = Place(libvirt=False)
    yield found
    found.close()
