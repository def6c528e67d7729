# SPDX-License-Identifier: MIT
"""``tox -e boots``: a boot that hangs is kept with registers, stacks and console, and is told from one that a host starved."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from part_markers import needs

from harness.guest.twin import guest as twin
from tests.soak.boots import Booted, Boots, Log, report

READY = Booted(number=1, at="", end="ready", seconds=3.0, busy=2.5, waited=0.2, load=1.0)


@pytest.fixture
@needs("qemu")
def boots(tmp_path: Path) -> Boots:
    """Boots in a directory of the test's own."""
    return Boots(tmp_path)


@pytest.mark.qemu
def test_a_silent_boot_is_kept(boots: Boots, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel speaks a tenth of a second after power-on: it is reset, and what it was at stands in three looks."""
    monkeypatch.setattr(twin, "LONGEST_SILENCE", 0.1)
    monkeypatch.setattr(twin, "STARVED", 2.0)
    line, place = boots.boot(1)
    assert (line.number, line.end, line.why) == (1, "reset", "")
    assert line.busy > 0
    looks = [(place / f"silent-{number}.txt").read_text() for number in (1, 2, 3)]
    for look in looks:
        assert "CPU#1" in look
        assert "# processor 1: x /12i $pc" in look
        assert "unknown register" not in look
    assert (place / "console.log").exists()


@pytest.mark.qemu
def test_a_boot_without_incident(boots: Boots) -> None:
    """It leaves nothing to keep."""
    line, place = boots.boot(2)
    assert (line.end, list(place.glob("silent-*"))) == ("ready", [])


def test_a_starved_boot_says_nothing(tmp_path: Path) -> None:
    """It waited for a processor for longer than it had one, and had little; one that halts waits for none, one that circles has much."""
    log = Log(tmp_path / "log.jsonl")
    starved = msgspec.structs.replace(READY, end="reset", busy=2.6, waited=25.0)
    halted = msgspec.structs.replace(READY, end="hang", busy=1.0, waited=0.1)
    circling = msgspec.structs.replace(READY, end="reset", busy=29.0, waited=40.0)
    for line in (READY, READY, READY, starved, halted, circling):
        log.add(line)
    again = Log(tmp_path / "log.jsonl")
    assert [again.starved(line) for line in again.lines] == [False, False, False, True, False, False]
    said = "\n".join(report(again))
    assert (
        "silent for 30 s, reset, then ready: 2; not ready in time: 1; of these only kept waiting by the host: 1"
        in said
    )
