# SPDX-License-Identifier: MIT
"""What others do to libvirt while a run goes on: the daemon killed for good, a domain suspended, one left by a dead run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from part_markers import needs

from harness.deadline import Deadline
from harness.errors import ExitCode
from harness.machine.libvirt.connection import load
from tests.soak.place import Place

pytestmark = [pytest.mark.qemu, pytest.mark.libvirt, pytest.mark.timeout(900)]

PATIENCE = 300.0
PLAN = 'name = "long"\n[[do]]\nop = "add-cpu"\n[[do]]\nop = "quiesce"\nquiet = 2\n[[do]]\nop = "add-cpu"\ntimeout = 10\n'
"""It waits long enough between two adds to be struck there."""


@pytest.fixture
@needs("qemu", "libvirt")
def place() -> Iterator[Place]:
    """A corner of the host with a libvirtd of its own."""
    found = Place(libvirt=True)
    yield found
    found.close()


def begin(place: Place, name: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a run; return it and where its runs lie."""
    assert place.libvirtd is not None
    plan = place.path / "long.toml"
    plan.write_text(PLAN)
    folder = place.path / name
    process = place.start(
        "run", str(plan), "--accel", "tcg", "--backend", "libvirt", "--connect", place.libvirtd.uri,
        "--runs", str(folder), "--json", "--evidence-timeout", "20", log=place.path / f"{name}.log",
    )  # fmt: skip
    return process, folder


def added(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the first processor is there."""

    def reached() -> bool:
        assert process.poll() is None
        return any('"k":"agreement"' in file.read_text() for file in folder.glob("2*/history.jsonl"))

    Deadline(PATIENCE, "the first add").poll(reached)


def document(place: Place, name: str) -> dict[str, object]:
    """Return what a run printed."""
    text = (place.path / f"{name}.log").read_text()
    said: dict[str, object] = json.loads(text[text.index("{") :])
    return said


def test_a_domain_that_a_dead_run_left(place: Place) -> None:
    """It disturbs no other run, ``ps`` lists it as orphaned, and ``gc`` has it destroyed."""
    assert place.libvirtd is not None
    process, folder = begin(place, "dead")
    added(process, folder)
    # Without libvirtd nobody destroys the domain whose harness dies.
    place.libvirtd.kill()
    process.kill()
    process.wait()
    place.libvirtd.start()
    (left,) = place.libvirtd.domains()
    process, folder = begin(place, "beside")
    code = process.wait(PATIENCE)
    assert code == ExitCode.HOLDS, document(place, "beside")
    assert place.libvirtd.domains() == [left]
    log = place.path / "ps.log"
    assert place.start("ps", "--json", log=log).wait(60) == 0
    (listed,) = json.loads(log.read_text())["machines"]
    assert (listed["state"], listed["domain"]) == ("orphaned", left)
    assert place.collect() == ""
    assert place.remains() == []


def test_a_domain_that_somebody_suspends(place: Place) -> None:
    """The infrastructure is blamed, in libvirt's words, not the guest that cannot answer."""
    assert place.libvirtd is not None
    process, folder = begin(place, "suspended")
    added(process, folder)
    other = load().open(place.libvirtd.uri)
    try:
        other.lookupByUUIDString(place.libvirtd.domains()[0]).suspend()
    finally:
        other.close()
    assert process.wait(PATIENCE) == ExitCode.INFRASTRUCTURE
    said = document(place, "suspended")
    assert said["failure_class"] == "infrastructure"
    assert "the guest is paused, and not by this run; libvirt's reason is 'user'" in str(said["error"])
    assert place.remains() == []


def test_a_libvirtd_that_stays_away(place: Place) -> None:
    """The run ends with what it knows, QEMU with it; libvirt knows nothing of it when it is back."""
    assert place.libvirtd is not None
    process, folder = begin(place, "alone")
    added(process, folder)
    place.libvirtd.kill()
    code = process.wait(PATIENCE)
    said = document(place, "alone")
    assert (code, said["failure_class"]) == (ExitCode.INFRASTRUCTURE, "infrastructure")
    assert "libvirt" in str(said["error"])
    place.libvirtd.start()
    assert place.collect() == ""
    Deadline(60, "libvirtd looks").poll(lambda: place.libvirtd is None or place.libvirtd.domains() == [])
    assert place.remains() == []
