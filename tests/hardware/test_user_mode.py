# SPDX-License-Identifier: MIT
"""What hpnctl watch wrote, held against the driver's records."""

from __future__ import annotations

from pathlib import Path

import pytest
from capture.windows_run import driver_records, timed
from hypothesis import given
from hypothesis import strategies as st

from harness.acceptance.user_mode import FILE, heard
from harness.history import driver as d
from harness.history.writer import HistoryWriter


def run_with(directory: Path, text: bytes | None) -> Path:
    """A run in which a processor arrived, with what user mode heard."""
    directory.mkdir()
    with HistoryWriter(directory / "history.jsonl") as writer:
        for record in timed("S2 C2 V unload"):
            writer.write(record, host_ns=record.host_ns)
    if text is not None:
        (directory / FILE).write_bytes(text)
    return directory


def arrival() -> d.AsyncEnter:
    """The driver's own arrival in that run."""
    return next(one for one in driver_records(timed("S2 C2 V unload")) if isinstance(one, d.AsyncEnter))


@pytest.mark.parametrize(("later", "said"), [(10_000, "1000 us after"), (-20_000, "2000 us before")])
def test_order_is_told_in_time(later: int, said: str, tmp_path: Path) -> None:
    """Both read one counter, so the difference is exact."""
    counter = arrival().qpc + later
    words = rf"qpc={counter} boot=0123456789abcdef active=3 memory=1 cls=cpu link=\\\\?\\ACPI#1"
    line = f'{{"k":"guest","event":"app.watching","detail":"qpc=1"}}\n{{"k":"guest","event":"app.arrival","detail":"{words}"}}\n'
    first, second = heard(run_with(tmp_path / "run", line.encode()))
    assert (True, True) == (said in first, "no memory arrival" in second)


def test_nobody_listened(tmp_path: Path) -> None:
    """Without the file there is nothing to say."""
    assert [] == heard(run_with(tmp_path / "run", None))


@given(text=st.binary(max_size=300))
def test_any_file_is_read(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    """Whatever is in it, two sentences come of it."""
    assert 2 == len(heard(run_with(tmp_path_factory.mktemp("any") / "run", text)))
