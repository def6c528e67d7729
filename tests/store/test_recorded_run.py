# SPDX-License-Identifier: MIT
"""Reading run directories: those of former revisions, and those that are damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from store.made_runs import make_run

from harness.errors import UsageError
from harness.store.recorded_run import read_run

RECORDED = Path(__file__).parents[1] / "recorded" / "runs"
RUNS = sorted(path.parent for path in RECORDED.glob("*/*/run.json"))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_runs_of_former_revisions_are_read(path: Path) -> None:
    """Each has its verdict, its rules and its times."""
    run = read_run(path)
    assert run is not None
    assert run.verdict is not None
    assert (run.facts.verdict, True, True, True) == (
        str(run.verdict.verdict), len(run.verdict.rules) > 100, "boot" in times(path) or "restore" in times(path), run.at > 0,
    )  # fmt: skip


def times(path: Path) -> set[str]:
    """Return what is timed of a run."""
    run = read_run(path)
    return {one.what for one in run.timings} if run is not None else set()


def test_a_restored_run_has_no_boot() -> None:
    """Its time from QEMU's start to the guest's answer is its restore: 0.2 s, where a boot takes seconds."""
    restored, booted = RECORDED / "03691fe" / "twin-restored", RECORDED / "03691fe" / "twin-demo"
    found = read_run(restored)
    assert found is not None
    (restore,) = [one.ms for one in found.timings if one.what == "restore"]
    assert [True, False, True] == [100 < restore < 1000, "boot" in times(restored), "boot" in times(booted)]


def test_an_add_is_timed_to_the_firmware_s_answer() -> None:
    """The history of the run has both records: 29.8 ms is what README.md shows of a like one."""
    found = read_run(RECORDED / "03691fe" / "twin-demo")
    assert found is not None
    added = {one.what: one.ms for one in found.timings}
    assert [True, True] == [1 < added["add-cpu"] < 1000, 1 < added["add-dimm"] < 1000]


def test_the_driver_s_digest_is_that_of_its_file(tmp_path: Path) -> None:
    """A driver that is built into an image is told by the image."""
    file = read_run(make_run(tmp_path, "a", driver="b" * 64))
    image = read_run(make_run(tmp_path, "c", content={"initrd": "e" * 64}, image_digest="d" * 64))
    assert ["b" * 16, "d" * 16] == [one.driver_digest for one in (file, image) if one is not None]


@pytest.mark.parametrize(
    ("name", "data"),
    [("run.json", b"{"), ("run.json", b"\xff"), ("verdict.json", b"[]"), ("verdict.json", b"[" * 9999)],
)
def test_a_damaged_document_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    """The message names the directory."""
    path = make_run(tmp_path, "a")
    (path / name).write_bytes(data)
    with pytest.raises(UsageError, match=str(path)):
        read_run(path)


def test_a_history_that_is_no_history_has_no_times(tmp_path: Path) -> None:
    """Lines that look like records and are none, and lines without an end, are passed over."""
    path = make_run(tmp_path, "a")
    (path / "history.jsonl").write_bytes(
        b'{"k":"stage"}\n{"k":"ost",' + b"x" * 200_000 + b'\n\xff{"k":"add"\n{"k":"stage","name":[]}'
    )
    run = read_run(path)
    assert run is not None
    assert [] == run.timings


def test_a_history_that_is_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody writes to it: the run has its facts, and no times."""
    path = make_run(tmp_path, "a")
    os.mkfifo(path / "history.jsonl")
    run = read_run(path)
    assert run is not None
    assert [] == run.timings
