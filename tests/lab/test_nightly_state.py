# SPDX-License-Identifier: MIT
"""A nightly run's state survives whatever cuts it short: what was over stays over, the rest is done."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ExitCode, UsageError
from harness.lab.matrix import Matrix, decode_matrix
from harness.lab.nightly_state import STATE, CellOutcome, open_nightly_run, read_state
from harness.lab.summary import document, exit_code, lines, write
from harness.run.failure import BootFailure

BOOT = BootFailure(guest="twin", machine="m", stage="boot", message="x", failure_class="guest hang", run="r")


def matrix(repeat: int = 2, seed: int = 0) -> Matrix:
    """A nightly run of two plans."""
    text = f'repeat = {repeat}\nseed = {seed}\n[[plan]]\nplan = "veto"\n[[plan]]\nplan = "reset"\n'
    return decode_matrix(text, name="lab.toml", base=Path())


def outcome(cell: str, code: int = 0, verdict: str = "holds", **more: object) -> CellOutcome:
    """What became of a cell."""
    return CellOutcome(cell=cell, state="done", exit_code=code, verdict=verdict, seconds=1.0, **more)  # type: ignore[arg-type]


@settings(max_examples=examples(15), deadline=None)
@given(done=st.integers(0, 4), cut=st.integers(0, 2000))
def test_interrupted_nightly_run_goes_on_where_it_stopped(
    tmp_path_factory: pytest.TempPathFactory, done: int, cut: int
) -> None:
    """However much of its last line was written, what is whole counts and the rest is done, each cell once."""
    into = tmp_path_factory.mktemp("nightly")
    plan = matrix()
    with open_nightly_run(into, plan, name="n") as state:
        for cell in plan.cells[:done]:
            state.record(outcome(cell.id, boot=BOOT))
    file = into / "n" / STATE
    data = file.read_bytes()
    first = data.index(b"\n") + 1
    file.write_bytes(data[: max(first, len(data) - cut)])
    whole = file.read_bytes().count(b"\n") - 1
    if done == len(plan.cells) == whole:
        return
    with open_nightly_run(into, plan, name="n") as state:
        assert [cell.id for cell in plan.cells[whole:]] == [cell.id for cell in state.todo(plan)]
        for cell in state.todo(plan):
            state.record(outcome(cell.id))
    _, outcomes, length = read_state(file.read_bytes())
    assert ({cell.id for cell in plan.cells}, file.stat().st_size) == (set(outcomes), length)


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_state_or_are_refused(data: bytes) -> None:
    """The reader never fails in another way."""
    try:
        read_state(data)
    except ValueError:
        return


def test_nightly_run_of_the_day_is_found_again_or_followed_by_another(tmp_path: Path) -> None:
    """Unfinished it goes on; over, or of another matrix, a second one of the day begins."""
    plan = matrix(repeat=1)
    with open_nightly_run(tmp_path, plan) as first:
        name = first.directory.name
    with open_nightly_run(tmp_path, plan) as again:
        assert again.directory.name == name
        for cell in plan.cells:
            again.record(outcome(cell.id))
    with open_nightly_run(tmp_path, plan) as second, open_nightly_run(tmp_path, matrix(seed=5)) as third:
        assert (f"{name}-2", f"{name}-3") == (second.directory.name, third.directory.name)


def test_two_cannot_be_at_one_nightly_run(tmp_path: Path) -> None:
    """The second is told, and the first goes on."""
    plan = matrix()
    with (
        open_nightly_run(tmp_path, plan, name="n"),
        pytest.raises(UsageError, match="another process uses the nightly run"),
    ):
        open_nightly_run(tmp_path, plan, name="n")


@pytest.mark.parametrize(
    ("name", "seed", "message"),
    [
        ("../n", 0, "invalid --name '../n'"),
        ("n", 9, "the nightly run 'n' belongs to another lab.toml"),
        ("spoilt", 0, "is not the state of a nightly run"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, name: str, seed: int, message: str) -> None:
    """A name that leads elsewhere, another matrix under a known name, a file that is no state."""
    with open_nightly_run(tmp_path, matrix(), name="n"):
        pass
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt" / STATE).write_text("hello\n")
    with pytest.raises(UsageError, match=message) as refused:
        open_nightly_run(tmp_path, matrix(seed=seed), name=name)
    assert refused.value.hint


def test_summary_says_what_is_left_what_failed_and_what_wavers(tmp_path: Path) -> None:
    """Counts, each failure with its command, points that came out differently, and the worst code."""
    plan = matrix()
    with open_nightly_run(tmp_path, plan, name="n") as state:
        ids = sorted(cell.id for cell in plan.cells)
        state.record(outcome(ids[0]))
        state.record(
            outcome(ids[1], 1, "violated", failure_class="contract", reason="RULE: x\x1b", runs=["a/r 1"])
        )
        assert (ExitCode.INTERRUPTED, "2 runs are left; the same command continues with them.") == (
            exit_code(state, left=2),
            lines(state, plan)[-1],
        )
        state.record(outcome(ids[2], 69, "unknown", failure_class="infrastructure", runs=["a/1", "a/2"]))
        skipped = CellOutcome(cell=ids[3], state="skipped", exit_code=3, verdict="unknown", reason=str(BOOT))
        state.record(skipped)
        text = "\n".join(lines(state, plan))
        said = document(state, plan)
    assert "Reproduce: harness repro 'a/r 1'" in text
    assert "RULE: x\\x1b" in text
    assert "twin.default.default.reset: holds 1, violated 1" in text
    assert said["counts"] == {
        "holds": 1, "violated": 1, "unknown": 0, "plan": 0, "infrastructure": 1, "skipped": 1,
    }  # fmt: skip
    assert (said["left"], said["exit_code"]) == (0, ExitCode.INFRASTRUCTURE)


def test_an_error_that_ends_a_nightly_run_gives_the_code(tmp_path: Path) -> None:
    """Not that of a signal which never came, whether runs are left or not; called again, the code is that of the runs."""
    plan = matrix()
    with open_nightly_run(tmp_path, plan, name="n") as state:
        state.failed = ExitCode.INFRASTRUCTURE
        assert [69, 69] == [exit_code(state, left=left) for left in (2, 0)]
        assert "exit code 69" in lines(state, plan)[0]
    with open_nightly_run(tmp_path, plan, name="n") as state:
        assert exit_code(state, left=0) == ExitCode.HOLDS


def test_what_a_nightly_run_leaves_is_private(tmp_path: Path) -> None:
    """Summaries, JUnit and plans are 0600 whatever the umask."""
    plan = matrix()
    before = os.umask(0)
    try:
        with open_nightly_run(tmp_path, plan, name="n") as state:
            write(state, plan)
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "n").rglob("*") if path.is_file()]
    assert {"summary.txt", "summary.json", "junit.xml", STATE} <= {path.name for path in files}
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in files}
