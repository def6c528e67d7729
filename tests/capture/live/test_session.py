# SPDX-License-Identifier: MIT
"""The capture of one machine: what it leaves behind where it cannot begin."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from harness.capture.live.session import Capture
from harness.errors import InfrastructureError
from harness.history.reader import History
from harness.history.record import Channel, Header
from harness.history.writer import HistoryWriter


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_capture_that_cannot_begin_leaves_nothing_open(tmp_path: Path) -> None:
    """The debugger's port is not there: no process, no descriptor and no thread stays, and the accounts are written."""
    for name in ("debugcon.log", "console.log"):
        (tmp_path / name).touch()
    before = descriptors(), psutil.Process().children()
    with HistoryWriter(tmp_path) as writer:
        writer.write(Header(format=1, harness="0", run="r", guest="twin", wall="2026-11-30T00:00:00Z"))
        capture = Capture(
            debugcon=tmp_path / "debugcon.log",
            console=tmp_path / "console.log",
            writer=writer,
            kd=tmp_path / "no such socket",
        )
        with pytest.raises(InfrastructureError, match="cannot serve"), capture:
            raise AssertionError("it begins all the same")
    assert before == (descriptors(), psutil.Process().children())
    accounts = [record.name for record in History(tmp_path) if isinstance(record, Channel)]
    assert ["debugcon", "dbgprint"] == accounts
