# SPDX-License-Identifier: MIT
"""The history and its reader: what was written is read, and what was cut is said to be cut."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_disk import small_disk

from harness.errors import BadHistory, InfrastructureError
from harness.history.reader import LONGEST_LINE, History
from harness.history.record import FORMAT, Console, End, Header, Record, RunFailure, Stage
from harness.history.writer import HistoryWriter

HEADER = Header(format=FORMAT, harness="0", run="r", guest="twin", wall="2026-01-01T00:00:00Z")


def recorded(path: Path, *records: Record) -> Path:
    """Write a history of a header and ``records``; return its file."""
    file = path / "history.jsonl"
    with HistoryWriter(file) as writer:
        for record in (HEADER, *records):
            writer.write(record)
    return file


def test_records_come_back_as_written(tmp_path: Path) -> None:
    """A record reads back equal to what the history returned, numbered and stamped."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        written = [
            writer.write(HEADER),
            writer.write(Stage(name="boot", phase="begin")),
            writer.write(End(outcome="completed")),
        ]
    history = History(tmp_path)
    assert list(history) == written
    assert [record.n for record in written] == [1, 2, 3]
    assert history.damage == ""


def test_listeners_see_records_in_order(tmp_path: Path) -> None:
    """A listener sees each record after it was written, also one that another listener writes meanwhile."""
    seen: list[int] = []
    with HistoryWriter(tmp_path / "history.jsonl") as writer:

        def answer(record: Record) -> None:
            if isinstance(record, Header):
                writer.write(Stage(name="answer", phase="note"))

        writer.subscribe(answer)
        writer.subscribe(lambda record: seen.append(record.n))
        writer.write(HEADER)
        writer.write(End(outcome="completed"))
    assert sorted(seen) == [1, 2, 3]
    assert [record.n for record in History(tmp_path)] == [1, 2, 3]


def test_threads_share_a_writer(tmp_path: Path) -> None:
    """Records of several threads are numbered without a gap, and the file is in that order."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        writer.write(HEADER)

        def write(name: str) -> None:
            for _ in range(200):
                writer.write(Stage(name=name, phase="note"))

        threads = [threading.Thread(target=write, args=(f"t{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    records = list(History(tmp_path))
    assert [record.n for record in records] == list(range(1, 802))


def test_ctrl_c_during_a_write_damages_nothing(tmp_path: Path) -> None:
    """Ctrl-C that comes while the operating system writes a record, twice in a row, leaves each number once."""

    def interrupt(_frame: FrameType, event: str, called: object) -> None:
        if event == "c_return" and called is os.write:
            sys.setprofile(None)
            raise KeyboardInterrupt

    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        writer.write(HEADER)
        for _ in range(2):
            sys.setprofile(interrupt)
            with pytest.raises(KeyboardInterrupt):
                writer.write(Stage(name="boot", phase="begin"))
        writer.write(End(outcome="interrupted"))
    history = History(tmp_path)
    assert [record.n for record in history] == [1, 2, 3, 4]
    assert history.damage == ""
    assert writer.count == 4


def test_killed_writer_leaves_a_readable_history(tmp_path: Path) -> None:
    """A process killed with SIGKILL between two records leaves every record written before."""
    program = (
        "import os, signal, sys; from pathlib import Path; from harness.history.writer import HistoryWriter;"
        "from harness.history.record import *;"
        "writer = HistoryWriter(Path(sys.argv[1])); writer.write(Header(format=1, harness='0', run='r', guest='twin', wall=''));"
        "[writer.write(Stage(name=str(i), phase='note')) for i in range(50)]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "history.jsonl")], check=False)
    history = History(tmp_path)
    assert done.returncode == -9
    assert len(list(history)) == 51
    assert history.damage == ""


@given(cut=st.integers(min_value=1, max_value=400))
def test_cut_history_yields_what_came_before(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """A history cut at any byte yields exactly its whole lines, and says so unless the cut fell on a line's end."""
    folder = tmp_path_factory.mktemp("cut")
    file = recorded(folder, *[Stage(name=f"stage {i}", phase="note", detail="é") for i in range(5)])
    data = file.read_bytes()
    header = data.index(b"\n") + 1
    kept = data[: max(header, len(data) - cut)]
    file.write_bytes(kept)
    history = History(file)
    assert len(list(history)) == kept.count(b"\n")
    assert bool(history.damage) == (not kept.endswith(b"\n"))


@given(garbage=st.binary(max_size=300))
def test_garbage_is_never_a_crash(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    """Any bytes after a good header are read as records, or reading stops and says at which line."""
    folder = tmp_path_factory.mktemp("garbage")
    file = recorded(folder)
    file.write_bytes(file.read_bytes() + garbage)
    history = History(file)
    read = list(history)
    assert read[0].n == 1
    assert bool(history.damage) == bool(garbage)


@given(first=st.binary(max_size=200))
def test_garbage_instead_of_a_header_is_refused(
    tmp_path_factory: pytest.TempPathFactory, first: bytes
) -> None:
    """A file that does not begin with a header is no history."""
    file = tmp_path_factory.mktemp("first") / "history.jsonl"
    file.write_bytes(first)
    with pytest.raises(BadHistory, match="line 1"):
        History(file)


def test_newer_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """A history of a newer format names both formats and what to do."""
    file = tmp_path / "history.jsonl"
    file.write_text(f'{{"k":"header","n":1,"format":{FORMAT + 1},"novel":[1]}}\n')
    with pytest.raises(BadHistory, match=f"format {FORMAT + 1} is newer than the {FORMAT}") as raised:
        History(file)
    assert "update" in raised.value.hint


def test_missing_history_is_named(tmp_path: Path) -> None:
    """A directory without a history is refused with the file that is missing."""
    with pytest.raises(BadHistory, match=r"history\.jsonl: No such file"):
        History(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A history that is a named pipe, whose writer never comes, is refused at once."""
    os.mkfifo(tmp_path / "history.jsonl")
    with pytest.raises(BadHistory, match=r"history\.jsonl: not a regular file"):
        History(tmp_path)


def test_removed_line_is_noticed(tmp_path: Path) -> None:
    """A line taken out of the middle stops the reading there."""
    file = recorded(tmp_path, Stage(name="a", phase="note"), Stage(name="b", phase="note"))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[2])
    history = History(file)
    assert len(list(history)) == 1
    assert history.damage == "line 2 carries record number 3: lines were lost or edited"


def test_endless_line_is_not_read_whole(tmp_path: Path) -> None:
    """A line longer than the limit stops the reading."""
    file = recorded(tmp_path)
    file.write_bytes(file.read_bytes() + b"x" * (LONGEST_LINE + 1))
    history = History(file)
    assert len(list(history)) == 1
    assert "longer than" in history.damage


def test_full_disk_is_reported_and_keeps_what_was_written() -> None:
    """A write that does not fit raises with the way out, and so does every later one."""
    with pytest.raises(InfrastructureError, match="cannot create the history"):
        HistoryWriter(Path("/proc/history.jsonl"))


@pytest.mark.root
def test_a_writer_on_a_full_device_fails_for_good(tmp_path: Path) -> None:
    """On a device without space the first record fails, later ones fail the same way, and nothing hangs."""
    folder = tmp_path / "small"
    with small_disk(folder, "16k"):
        with HistoryWriter(folder / "history.jsonl") as writer:
            writer.write(HEADER)
            written = 1
            with pytest.raises(InfrastructureError, match="No space left") as raised:  # noqa: PT012
                for _ in range(10_000):
                    writer.write(Stage(name="x" * 100, phase="note"))
                    written += 1
            with pytest.raises(InfrastructureError, match="No space left"):
                writer.write(End(outcome="failed"))
            assert "Free some disk space" in raised.value.hint
        whole = list(History(folder))
        assert len(whole) == written


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    folder = tmp_path / "disk"
    with small_disk(folder, "1m"):
        yield folder


def _fill(folder: Path) -> None:
    """Take all the room there is."""
    with (folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.root
def test_the_last_records_go_into_the_reserve(small: Path) -> None:
    """On a full disk what is observed is refused, and how the run ended is recorded; the reserve is then given back."""
    with HistoryWriter(small / "history.jsonl") as writer:
        writer.write(HEADER)
        _fill(small)
        with pytest.raises(InfrastructureError, match="No space left"):  # noqa: PT012
            for _ in range(10_000):
                writer.write(Console(text="x" * 500, severity="warning"))
        kept = writer.count
        writer.write(RunFailure(failure_class="infrastructure", stage="plan", message="x" * 2000))
        with pytest.raises(InfrastructureError, match="No space left"):
            writer.write(Console(text="", severity="warning"))
        writer.write(End(outcome="failed"))
    history = History(small)
    assert [*history][kept:] == [*history][-2:]
    assert "" == history.damage
    # The verdict finds room where the reserve was.
    (small / "verdict.json").write_bytes(bytes(150_000))


@pytest.mark.root
def test_a_record_that_does_not_fit_leaves_no_part_of_it(small: Path) -> None:
    """Half a line would be taken for a run that was killed."""
    with HistoryWriter(small / "history.jsonl") as writer:
        writer.write(HEADER)
        _fill(small)
        with pytest.raises(InfrastructureError, match="No space left"):  # noqa: PT012
            for _ in range(10_000):
                writer.write(Stage(name="x" * 1000, phase="note"))
        count = writer.count
    history = History(small)
    assert (count, "") == (len([*history]), history.damage)


def test_the_reserve_is_given_back(tmp_path: Path) -> None:
    """A closed history takes no more of the disk than its records."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        writer.write(HEADER)
        during = (tmp_path / "history.jsonl").stat().st_blocks * 512
    after = (tmp_path / "history.jsonl").stat()
    assert after.st_blocks * 512 <= after.st_size + 4096 <= during
