# SPDX-License-Identifier: MIT
"""harness doctor: its two forms say the same, and its exit code says whether the main job can run."""

import json
from pathlib import Path

import pytest

from harness.cli.main import main

Caught = pytest.CaptureFixture[str]


@pytest.fixture
def bare_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on whose PATH there is nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOTPLUG_HARNESS_CACHE", str(tmp_path))


def test_a_bare_host_cannot_run_the_main_job(bare_host: None, capsys: Caught) -> None:
    """Without QEMU the text says what is missing, what for and what to type, and the code is 69."""
    code = main(["doctor"])
    text = capsys.readouterr().out
    assert code == 69
    assert "missing  qemu         QEMU is missing: qemu-system-x86_64 is not installed\n" in text
    assert "get: sudo apt install qemu-system-x86, or name another with --qemu PATH.\n" in text
    assert text.splitlines()[-1].startswith("The main job cannot run yet: qemu, firmware, gcc, make")


def test_json_says_the_same_as_the_text(bare_host: None, capsys: Caught) -> None:
    """Every part of the JSON document stands in the text with its state, in the same order."""
    main(["doctor"])
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    code = main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [[part["state"], part["name"]] for part in document["parts"]] == lines[: len(document["parts"])]
    assert [69, False] == [code, document["ready"]]


def test_another_qemu_is_looked_at_when_asked(tmp_path: Path, capsys: Caught) -> None:
    """--qemu names a program that is not there, and the message names it."""
    main(["doctor", "--json", "--qemu", str(tmp_path / "nowhere")])
    parts = {part["name"]: part for part in json.loads(capsys.readouterr().out)["parts"]}
    assert [parts["qemu"]["state"], parts["qemu"]["found"]] == [
        "missing",
        f"QEMU is missing: no program at {tmp_path}/nowhere",
    ]
