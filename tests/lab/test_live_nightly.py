# SPDX-License-Identifier: MIT
"""What a nightly run says that it is doing, and when other processes believe it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from harness.host.registry import ProcessName
from harness.lab.live_nightly import NOW, SILENT_S, LiveNightly, NightlyWatch, read_now, under_way
from harness.lab.matrix import Matrix, decode_matrix
from harness.lab.nightly import Nightly
from harness.lab.nightly_pass import PassOptions
from harness.lab.nightly_state import CellOutcome, open_nightly_run


def live(**changes: object) -> LiveNightly:
    """A nightly run of this process."""
    base = LiveNightly(
        night="n", lab="l", directory="n", host=os.uname().nodename, process=ProcessName.of(os.getpid()), at=time.time(),
        planned=2, over=0, counts={}, parallel=1, running=[], next=[], left=None, until=None, held="", ending=False,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


@pytest.fixture
def matrix(tmp_path: Path) -> Matrix:
    """Two cells on the host."""
    text = '[[guest]]\nname = "host"\n[[plan]]\nplan = "veto"\n[[plan]]\nplan = "burst"\n'
    return decode_matrix(text, name="lab.toml", base=tmp_path)


def test_it_is_written_while_it_is_under_way(tmp_path: Path, matrix: Matrix) -> None:
    """The file is the owner's only, says how many runs are over, and is gone when the nightly run is over."""
    with open_nightly_run(tmp_path, matrix, name="n") as state:
        nightly = Nightly(matrix, state, PassOptions(parallel=3, until=time.time() + 1000))
        watch = NightlyWatch(nightly, state, matrix)
        first = watch.look()
        state.record(CellOutcome(cell=matrix.cells[0].id, state="done", verdict="holds"))
        second = watch.look()
        read = read_now(tmp_path / "n")
        assert read is not None
        assert [0, 1, {"holds": 1}] == [first.over, second.over, second.counts]
        assert ([cell.id for cell in matrix.cells], 3, nightly.until) == (
            first.next,
            read.parallel,
            read.until,
        )
        assert (tmp_path / "n" / NOW).stat().st_mode & 0o777 == 0o600
        assert ["n"] == [one.night for one in under_way(tmp_path)]
        watch.close()
        watch.close()
    assert [] == under_way(tmp_path)


def test_a_disk_that_is_full_does_not_end_it(tmp_path: Path, matrix: Matrix) -> None:
    """What cannot be written is left out: here the directory is gone."""
    with open_nightly_run(tmp_path, matrix, name="n") as state:
        watch = NightlyWatch(Nightly(matrix, state, PassOptions(parallel=1)), state, matrix)
        state.directory = tmp_path / "gone"
        assert 0 == watch.look().over
        watch.close()


def test_the_word_of_a_dead_process_does_not_count(tmp_path: Path) -> None:
    """A nightly run that was killed leaves its file; its number may belong to another process by now."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = ProcessName.of(process.pid)
        assert name is not None
        recycled = msgspec.structs.replace(name, started=name.started + 1)
        for each, counts in ((name, True), (recycled, False), (None, False)):
            (tmp_path / NOW).write_bytes(msgspec.json.encode(live(process=each)))
            assert counts == (read_now(tmp_path) is not None)
        process.communicate(b"\n")
    (tmp_path / NOW).write_bytes(msgspec.json.encode(live(process=name)))
    assert read_now(tmp_path) is None


def test_another_host_counts_while_its_file_changes(tmp_path: Path) -> None:
    """Its processes cannot be seen from here."""
    for ago, counts in ((1.0, True), (SILENT_S + 1, False)):
        (tmp_path / NOW).write_bytes(
            msgspec.json.encode(live(host="other", process=None, at=time.time() - ago))
        )
        assert counts == (read_now(tmp_path) is not None)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b'{"night":"n"}'])
def test_a_file_that_says_nothing_is_no_nightly_run(tmp_path: Path, data: bytes) -> None:
    """Another program may have written it."""
    (tmp_path / NOW).write_bytes(data)
    assert read_now(tmp_path) is None
    assert [] == under_way(tmp_path / "none")
