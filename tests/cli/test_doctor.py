# SPDX-License-Identifier: MIT
"""harness doctor: its two forms say the same, and its exit code says whether the main job can run."""

import json
import re
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


ROW = re.compile(r"^  (ok|missing|broken|[-+!]) +(\S+)", re.MULTILINE)
SIGNS = {"ok": "+", "missing": "-", "broken": "!"}


def test_json_says_the_same_as_the_text(bare_host: None, capsys: Caught) -> None:
    """Every part of the JSON document stands in the text once, with its state: a word if it is needed, else a sign."""
    main(["doctor"])
    rows = ROW.findall(capsys.readouterr().out)
    code = main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    said = [
        (part["state"] if part["needed"] else SIGNS[part["state"]], part["name"])
        for part in document["parts"]
    ]
    assert sorted(said) == sorted(rows)
    assert [69, False] == [code, document["ready"]]


def test_what_the_main_job_lacks_comes_first(bare_host: None, capsys: Caught) -> None:
    """Then come one command for all of it, what there is, and at last what is optional."""
    main(["doctor"])
    text = capsys.readouterr().out
    headings = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert [
        "The main job, harness demo, lacks:",
        "Get all packages at once: harness setup, or by hand:",
        "The main job has:",
        "Optional, harness demo needs none of it:",
    ] == headings[:4]
    lacking, rest = text.split("Get all packages at once")
    command = rest.splitlines()[1]
    assert re.match(r"  sudo apt-get install --no-install-recommends qemu-system-x86 .*gcc make", command)
    assert {"missing", "broken"} >= {word for word, _ in ROW.findall(lacking)}
    assert "  missing  qemu " in lacking
    words = [word for word, _ in ROW.findall(rest)]
    signs = [word for word in words if word in SIGNS.values()]
    assert words == ["ok"] * (len(words) - len(signs)) + signs


def test_a_cache_that_cannot_be_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Caught
) -> None:
    """A path that make cannot build in keeps the main job from running, and every other part is looked at all the same."""
    monkeypatch.setenv("HOTPLUG_HARNESS_CACHE", f"{tmp_path}/with a space")
    code = main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    parts = {part["name"]: part for part in document["parts"]}
    assert [69, "broken", True] == [code, parts["cache"]["state"], parts["cache"]["needed"]]
    assert "Set HOTPLUG_HARNESS_CACHE" in parts["cache"]["supply"]
    assert "qemu" in parts


def test_a_directory_that_is_gone_is_named(
    bare_host: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Caught
) -> None:
    """Doctor runs where the working directory was removed, and says so."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    main(["doctor", "--json"])
    parts = {part["name"]: part for part in json.loads(capsys.readouterr().out)["parts"]}
    assert "the working directory is gone: No such file or directory" == parts["disk"]["found"]


def test_another_qemu_is_looked_at_when_asked(tmp_path: Path, capsys: Caught) -> None:
    """--qemu names a program that is not there, and the message names it."""
    main(["doctor", "--json", "--qemu", str(tmp_path / "nowhere")])
    parts = {part["name"]: part for part in json.loads(capsys.readouterr().out)["parts"]}
    assert [parts["qemu"]["state"], parts["qemu"]["found"]] == [
        "missing",
        f"QEMU is missing: no program at {tmp_path}/nowhere",
    ]


def test_deep_reads_the_cache(bare_host: None, tmp_path: Path, capsys: Caught) -> None:
    """What is as it was built is counted; a file that changed is named, and what to do about it."""
    place = tmp_path / "signed-driver" / "k"
    place.mkdir(parents=True)
    (place / "hpnotify.sys").write_bytes(b"driver")
    ContentDigests(tmp_path).seal(place)

    def printed() -> str:
        main(["doctor", "--deep"])
        return " ".join(capsys.readouterr().out.split())

    assert f"+ cache 1 directories in {tmp_path} are as they were built" in printed()
    (place / "hpnotify.sys").write_bytes(b"drives")
    text = printed()
    assert "! cache signed-driver/k is damaged: hpnotify.sys has SHA-256 " in text
    assert (
        "images, drivers and snapshots that are what was built: nothing to do: what needs it next builds it anew"
        in text
    )
