# SPDX-License-Identifier: MIT
"""Fixtures for tests of the host: its registry is one of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.host.registry import Registry


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves anything in the user's own registry."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def deadline() -> Deadline:
    """More than any of these tests takes on a busy host."""
    return Deadline(60, "test")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry of the test's own."""
    return Registry(tmp_path / "registry")
