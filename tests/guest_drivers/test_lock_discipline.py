# SPDX-License-Identifier: MIT
"""What a spin lock guards is used only while the lock is held."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from guest_drivers.lock_discipline import GUARDED, unguarded

SOURCES = sorted((Path(__file__).parents[2] / "guest_drivers" / "hpnotify" / "src").glob("*.c"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_guarded_state_is_used_under_its_lock(source: Path) -> None:
    """No line of the driver uses guarded state without the lock."""
    assert [] == list(unguarded(source.read_text()))


@pytest.mark.parametrize(
    ("lock", "name"),
    [
        ("Sync->Lock", "sync.c"),
        ("Sync->Lock", "balance.c"),
        ("Veto->Lock", "veto.c"),
        ("Buffer->Lock", "memory.c"),
    ],
)
def test_a_lock_that_is_not_taken_is_found(lock: str, name: str) -> None:
    """Without any one of a file's acquisitions a use is found; the table names what the files contain."""
    text = next(source for source in SOURCES if source.name == name).read_text()
    assert re.search(GUARDED[lock], text)
    acquisitions = list(re.finditer(r"KeAcquireSpinLock\(&[^;]*;", text))
    assert len(acquisitions) > 1
    for found in acquisitions:
        assert [] != list(unguarded(text[: found.start()] + text[found.end() :]))
