# SPDX-License-Identifier: MIT
"""harness doctor: its two forms say the same, and its exit code says whether the main job can run."""

import json
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.setup.content import ContentDigests

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


def test_deep_reads_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Caught) -> None:
    """What is as it was built is counted; a file that changed is named, and what to do about it."""
    monkeypatch.setenv("HOTPLUG_HARNESS_CACHE", str(tmp_path))
    place = tmp_path / "signed-driver" / "k"
    place.mkdir(parents=True)
    (place / "hpnotify.sys").write_bytes(b"driver")
    ContentDigests(tmp_path).seal(place)

    def cache_lines() -> list[str]:
        main(["doctor", "--deep"])
        lines = capsys.readouterr().out.splitlines()
        at = next(number for number, line in enumerate(lines) if line.split()[1:2] == ["cache"])
        return lines[at : at + 3]

    assert cache_lines()[0] == f"ok       cache        1 directories in {tmp_path} are as they were built"
    (place / "hpnotify.sys").write_bytes(b"drives")
    broken, serves, get = cache_lines()
    assert broken.startswith("broken   cache        signed-driver/k is damaged: hpnotify.sys has SHA-256 ")
    assert serves.strip() == "for: images, drivers and snapshots that are what was built"
    assert get.strip() == "get: nothing to do: what needs it next builds it anew"
