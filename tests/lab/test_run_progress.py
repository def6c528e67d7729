# SPDX-License-Identifier: MIT
"""The progress of a run, read from its run directory while it grows."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.history.record import OperationProgress, Stage
from harness.history.run_directory import HISTORY
from harness.history.writer import HistoryWriter
from harness.lab.run_progress import LARGEST_LOOK, FollowedRuns, RunProgress

RECORDED = Path(__file__).resolve().parents[1] / "recorded" / "runs" / "03691fe" / "twin-demo" / HISTORY


def seen(progress: RunProgress) -> tuple[str, int, str]:
    """What a look says."""
    progress.look()
    return progress.stage, progress.operation, progress.doing


def test_stages_and_operations_are_followed(tmp_path: Path) -> None:
    """The innermost stage counts; notes do not count; an operation that has ended keeps its number."""
    progress = RunProgress(tmp_path)
    assert ("", 0, "") == seen(progress)
    with HistoryWriter(tmp_path) as writer:
        steps = [
            (Stage(name="boot", phase="begin"), ("boot", 0, "")),
            (Stage(name="image", phase="begin"), ("image", 0, "")),
            (Stage(name="twin", phase="note", detail="x"), ("image", 0, "")),
            (Stage(name="image", phase="fail"), ("boot", 0, "")),
            (Stage(name="boot", phase="end"), ("", 0, "")),
            (OperationProgress(index=1, name="add-cpu", phase="begin"), ("", 1, "add-cpu")),
            (OperationProgress(index=1, name="add-cpu", phase="end"), ("", 1, "")),
            (OperationProgress(index=2, name="reset", phase="fail"), ("", 2, "")),
        ]
        for record, expected in steps:
            writer.write(record)
            assert expected == seen(progress)


@given(cuts=st.lists(st.integers(0, RECORDED.stat().st_size), max_size=6))
def test_a_history_says_the_same_however_it_grows(
    tmp_path_factory,
    cuts: list[int],  # type: ignore[no-untyped-def]
) -> None:
    """A look in the middle of a line takes nothing twice and leaves nothing out."""
    data = RECORDED.read_bytes()
    folder = tmp_path_factory.mktemp("run")
    growing, whole = RunProgress(folder), RunProgress(RECORDED.parent)
    for cut in [*sorted(cuts), len(data)]:
        (folder / HISTORY).write_bytes(data[:cut])
        growing.look()
    assert seen(whole) == seen(growing)
    assert whole.operation > 0


def test_hostile_lines_say_nothing(tmp_path: Path) -> None:
    """Lines that only begin like a stage, and one that is longer than a look, which is passed over."""
    lines = [
        b'{"k":"stage","name":5}',
        b'{"k":"stage"',
        b'{"k":"operation","index":"x"}',
        b'{"k":"console","text":"' + b"a" * 2 * LARGEST_LOOK + b'"}',
        b'{"k":"stage","name":"boot","phase":"begin"}',
        b"",
    ]
    (tmp_path / HISTORY).write_bytes(b"\n".join(lines))
    progress = RunProgress(tmp_path)
    for _ in range(4):
        progress.look()
    assert progress.stage == "boot"


def made(runs: Path, name: str, *words: str) -> Path:
    """Make a run directory of a command."""
    path = runs / name
    path.mkdir(parents=True)
    facts = {
        "run": name,
        "harness": "0",
        "argv": ["harness", *words],
        "guest": "twin",
        "plan": {},
        "seed": 1,
        "started": "",
    }
    (path / "run.json").write_text(json.dumps(facts))
    return path


def test_runs_are_found_by_their_command(tmp_path: Path) -> None:
    """Those that are there already are ignored; the newest of a command counts; one that is not wanted any more is forgotten."""
    old = made(tmp_path, "0", "run", "a")
    followed = FollowedRuns(tmp_path)
    assert followed.look([("run", "a")]) == {}
    made(tmp_path, "1", "run", "a")
    (tmp_path / "draft").mkdir()
    made(tmp_path, "2", "run", "b")
    (tmp_path / "latest").symlink_to("1")

    def names(*commands: str) -> dict[str, str]:
        found = followed.look([("run", command) for command in commands])
        return {command[1]: progress.directory.name for command, progress in found.items()}

    assert {"a": "1", "b": "2"} == names("a", "b")
    made(tmp_path, "3", "run", "a")
    assert {"a": "3"} == names("a")
    assert {} == names("b")
    assert old.exists()


def test_no_directory_of_runs_has_no_runs(tmp_path: Path) -> None:
    """It may not be made yet, or be gone."""
    assert FollowedRuns(tmp_path / "none").look([("run",)]) == {}
