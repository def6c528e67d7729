# SPDX-License-Identifier: MIT
"""A host of each test's own: registry, leases, cache and runtime directories that no real run uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from twin.running import CACHE

from harness.host import runtime
from harness.host.registry import Registry


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing that a test lists or removes is the user's own."""
    for variable, name in (
        ("XDG_STATE_HOME", "state"),
        ("HOTPLUG_HARNESS_LEASES", "leases"),
        ("HOTPLUG_HARNESS_CACHE", "cache"),
    ):
        monkeypatch.setenv(variable, str(tmp_path / name))
    (tmp_path / "runtime").mkdir()
    monkeypatch.setattr(runtime, "_bases", lambda: [tmp_path / "runtime"])
    # pytest's directories are deep, and no socket is made in them.
    monkeypatch.setattr(runtime, "LONGEST_SOCKET_PATH", 1000)
    monkeypatch.setattr(runtime, "UNLOCKED_AT_FIRST", 0.0)
    return tmp_path


@pytest.fixture
def compiled(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is compiled once for all tests, which takes a second: the cache is that of all."""
    monkeypatch.setenv("HOTPLUG_HARNESS_CACHE", str(CACHE))


@pytest.fixture
def registry(host: Path) -> Registry:
    """The registry of the test's user."""
    return Registry()
