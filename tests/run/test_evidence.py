# SPDX-License-Identifier: MIT
"""Evidence without a guest: whatever cannot be had is said, nothing is raised, and nobody's words break the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.errors import MonitorLost, UsageError
from harness.history.evidence import EvidenceIndex, EvidenceItem
from harness.history.run_directory import RunDirectory
from harness.run.evidence import Evidence, page_lines


class Broken:
    """A machine whose every answer is what a test wants: an error."""

    def __init__(self, fail: Callable[[], Any]) -> None:
        self._fail = fail
        self.asked: list[str] = []

    def alive(self) -> bool:
        return True

    def execute(self, command: str, _deadline: Deadline, **_arguments: Any) -> Any:
        self.asked.append(command)
        return self._fail()

    def inspector(self) -> Broken:
        return self

    def registers(self, deadline: Deadline) -> str:
        return str(self.execute("registers", deadline))

    def screenshot(self, stem: Path, deadline: Deadline) -> Path:
        return Path(self.execute(str(stem), deadline))

    def dump(self, into: Path, deadline: Deadline) -> None:
        self.execute(str(into), deadline)


def fail(error: BaseException) -> Callable[[], Any]:
    """A function that raises."""

    def raise_it() -> Any:
        raise error

    return raise_it


def collect(directory: RunDirectory, machine: object) -> EvidenceIndex:
    """Collect from a machine without a guest, and return the index as it is on disk."""
    evidence = Evidence(directory, machine, None, dump=1)  # type: ignore[arg-type]
    try:
        evidence.collect("why", Deadline(30, "test"))
    finally:
        index = RunDirectory(directory.path).evidence()
    assert index is not None
    return index


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """A run directory with a log in it."""
    made = RunDirectory.create(tmp_path / "runs", "p")
    (made.path / "qemu.log").write_text("words")
    return made


def test_run_without_a_machine_keeps_its_logs(directory: RunDirectory) -> None:
    """It ended before there was one; what lies in the directory is listed, relative to it."""
    items = {item.name: item for item in collect(directory, None).items}
    assert ("collected", ["qemu.log"], 5) == (
        items["qemu.log"].state,
        items["qemu.log"].files,
        items["qemu.log"].bytes,
    )
    assert {"the run ended before there was a machine"} == {
        items[name].reason for name in ("state", "registers", "screen", "memory")
    }


def test_qemu_that_does_not_answer_is_asked_once(directory: RunDirectory) -> None:
    """The first question that it leaves unanswered is the last."""
    machine = Broken(fail(MonitorLost("query-status: QEMU did not answer within 5 s")))
    items = {item.name: (item.state, item.reason) for item in collect(directory, machine).items}
    assert ["query-status"] == machine.asked
    assert ("failed", "query-status: QEMU did not answer within 5 s") == items["state"]
    assert ("skipped", "QEMU did not answer before") == items["registers"]


def test_a_defect_of_the_collector_is_an_entry_too(directory: RunDirectory) -> None:
    """Evidence never hides what it is evidence of."""
    machine = Broken(fail(ZeroDivisionError("x")))
    items = {item.name: (item.state, item.reason) for item in collect(directory, machine).items}
    assert ("failed", "ZeroDivisionError: x") == items["registers"]


def test_ctrl_c_ends_the_collection_and_keeps_the_index(directory: RunDirectory) -> None:
    """What came so far is listed, the rest is said to be left out, and the interruption goes on."""
    with pytest.raises(KeyboardInterrupt):
        collect(directory, Broken(fail(KeyboardInterrupt())))
    index = RunDirectory(directory.path).evidence()
    assert index is not None
    assert ("the rest", "skipped", "interrupted") == (
        index.items[-1].name,
        index.items[-1].state,
        index.items[-1].reason,
    )


@settings(max_examples=examples(50), deadline=None)
@given(st.text(max_size=80), st.text(max_size=80))
def test_nobodys_words_leave_their_place_on_the_page(why: str, reason: str) -> None:
    """What a guest or QEMU said stays in one line and one cell, and brings no link and no heading."""
    item = EvidenceItem(name="state", state="failed", reason=reason)
    lines = page_lines(EvidenceIndex(run="r", why=why, items=[item]))
    assert all(line.isprintable() for line in lines)
    plain = [
        line.replace("\\\\", "").replace("\\|", "").replace("\\[", "").replace("\\<", "") for line in lines
    ]
    assert (4, 0) == (plain[-1].count("|"), plain[-1].count("[") + plain[-1].count("<"))


@pytest.mark.parametrize("damage", ["", "{", '{"run": 3}', "\xff"])
def test_damaged_index_is_refused(tmp_path: Path, damage: str) -> None:
    """It says which file, and that the others may be whole."""
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "index.json").write_text(damage, encoding="latin-1")
    with pytest.raises(UsageError, match="cannot be read"):
        RunDirectory(tmp_path).evidence()
