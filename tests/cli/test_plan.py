# SPDX-License-Identifier: MIT
"""``harness plan check``: what it says of plans, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.errors import ExitCode

WRONG = 'name = "a"\n[[do]]\nop = "add-cpu"\nslot = 9\n'


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    """A plan's file with a mistake."""
    path = tmp_path / "mine.toml"
    path.write_text(WRONG)
    return str(path)


def test_each_plan_gets_its_line(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All are checked, and one that is wrong makes the code 64."""
    assert ExitCode.USAGE == main(["plan", "check", "veto", wrong, "nosuch"])
    lines = capsys.readouterr().out.splitlines()
    assert "veto: right" == lines[0]
    assert lines[1].startswith(f"{wrong}:4: do[1] (add-cpu): there is no processor slot 9")
    assert "machine.max_processors" in lines[2]
    assert lines[3].startswith("no plan is called 'nosuch'")


def test_plans_that_are_right_end_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert ExitCode.HOLDS == main(["plan", "check", "veto", "burst", "--guest", "host"])
    assert "veto: right\nburst: right\n" == capsys.readouterr().out


def test_what_one_qemu_dies_of_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan is right, and which QEMU is to execute it is not known yet."""
    path = tmp_path / "again.toml"
    path.write_text(
        'name = "a"\n[[do]]\nop = "add-cpu"\nid = "x"\n[[do]]\nop = "unplug"\ndevice = "x"\n[[do]]\nop = "add-cpu"\n'
    )
    assert ExitCode.HOLDS == main(["plan", "check", str(path)])
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("again.toml: right")
    assert second.strip().startswith("QEMU 7.2 under TCG dies of do[3], since do[2] takes a processor out")


def test_the_guest_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ost.toml"
    path.write_text('name = "a"\n[[do]]\nop = "wait-for"\nwhat = "ost"\n')
    assert ExitCode.HOLDS == main(["plan", "check", str(path)])
    assert ExitCode.USAGE == main(["plan", "check", str(path), "--guest", "host"])
    assert "cannot show the firmware's _OST" in capsys.readouterr().out


def test_programs_get_a_document(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ExitCode.USAGE == main(["plan", "check", "--json", "veto", wrong])
    document = json.loads(capsys.readouterr().out)
    assert [True, False] == [row["right"] for row in document["plans"]]
    assert "max_processors" in document["plans"][1]["hint"]


def test_a_guest_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert ExitCode.USAGE == main(["plan", "check", "veto", "--guest", "twim"])
    assert "'twin'" in capsys.readouterr().err


def test_a_run_of_a_wrong_plan_leaves_nothing(
    wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No run directory is made, and runs/latest stays."""
    runs = tmp_path / "runs"
    assert ExitCode.USAGE == main(["run", wrong, "--runs", str(runs), "--guest", "host"])
    assert (False, True) == (runs.exists(), "mine.toml:4" in capsys.readouterr().err)
