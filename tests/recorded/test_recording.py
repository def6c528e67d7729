# SPDX-License-Identifier: MIT
"""The program that records sets: what it replaces, what it refuses, and that what it keeps is judged the same."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.setup.cache import cache_directory
from tests.recorded.kept import Difference, Expected, Kept
from tests.recorded.placeholders import ROOT, Placeholders, of_machine, telling
from tests.recorded.record import KEPT, NotRecorded, Recorder, Recording, copy, free, revision_of

ADA = Placeholders(
    {"/home/ada": "/HOME", "/home/ada/.cache": "/CACHE"}, {"ada": "USER-NAME", "engine": "HOST-NAME"}
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"path=/home/ada/x,append=on"', '"path=/HOME/x,append=on"'),
        ('"/home/ada/.cache/twin"', '"/CACHE/twin"'),
        ('"/home/adam/x"', '"/home/adam/x"'),
        ('"file:///home/ada"', '"file:///HOME"'),
        ('"user ada on engine.local"', '"user USER-NAME on HOST-NAME.local"'),
        ('"adapter of search-engine"', '"adapter of search-engine"'),
        ('"audit=0 tsc_early_khz=2596150"', '"audit=0 tsc_early_khz=1000000"'),
    ],
)
def test_paths_and_words_are_replaced_whole(text: str, expected: str) -> None:
    """The longest path wins, and what only begins or ends like a path or a word stays."""
    assert expected == ADA.apply(text)


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        ('"/home/adam/x"', ["/home"]),
        ('"/root/.cache"', ["/root"]),
        ('"path=/tmp/hotplug-0123456789abcdef/qmp"', ["/tmp"]),
        ('"/srv/lab/image"', ["/srv"]),
        ('"/proc/4711/fd/3"', ["/proc/4711"]),
        ('"on engine"', ["engine"]),
        ('"/usr/bin/qemu-system-x86_64", "/machine/peripheral/cpu-1", "/CACHE/twin", "qpc/00c0ffee"', []),
        ('"http://schemas.example.org/events/x", "</memory>", "../run.json"', []),
    ],
)
def test_leaks_are_found(text: str, leaks: list[str]) -> None:
    """Foreign absolute paths and the machine's own words are found; the system's and QEMU's own paths are none."""
    assert leaks == ADA.leaks(text)


def test_the_host_s_facts_alone_are_replaced() -> None:
    """Of ``run.json`` the values in ``host`` are replaced, and equal keys elsewhere stay."""
    text = (
        '{\n  "cpus": "2",\n  "host": {\n    "system": "Linux-6",\n    "cpus": "2"\n  },\n  "python": "3"\n}'
    )
    expected = '{\n  "cpus": "2",\n  "host": {\n    "system": "SYSTEM",\n    "cpus": "CPUS"\n  },\n  "python": "3"\n}'
    assert expected == ADA.apply_to_facts(text)


def test_names_that_are_words_of_the_harness_tell_nothing() -> None:
    """A host called guest or a user called driver is in every history; other names are not."""
    assert [False, False, False, True] == [telling(name) for name in ("guest", "driver", "", "adas-engine")]


def test_a_file_that_names_a_machine_is_not_kept(tmp_path: Path) -> None:
    """What no placeholder stands for ends the recording, and the file is not written."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "history.jsonl").write_text('{"image": "/srv/lab/image"}\n')
    with pytest.raises(NotRecorded, match=r"history.jsonl names this machine: \['/srv'\]"):
        copy(run, tmp_path / "kept", ADA, KEPT)
    assert not (tmp_path / "kept" / "history.jsonl").exists()


def clone_of(place: Path) -> Path:
    """Make a clone with one commit and return its directory."""
    (place / "harness").mkdir(parents=True)
    (place / "harness" / "rule.py").write_text("one\n")
    for words in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"),
    ):
        subprocess.run(["git", "-C", str(place), *words], check=True)
    return place


def test_changed_sources_are_not_recorded(tmp_path: Path) -> None:
    """A clone with changes, or with new files, in its sources is refused; files elsewhere do not matter."""
    clone = clone_of(tmp_path / "clone")
    (clone / "notes.txt").write_text("mine")
    short, commit = revision_of(clone)
    assert (7, True) == (len(short), commit.startswith(short))
    for file in ("rule.py", "new.py"):
        (clone / "harness" / file).write_text("two\n")
        with pytest.raises(NotRecorded, match=f"harness/{file}"):
            revision_of(clone)
        subprocess.run(["git", "-C", str(clone), "stash", "-qu"], check=True, env=named())


def named() -> dict[str, str]:
    """Return an environment in which git knows who commits."""
    who = {f"GIT_{role}_{what}": "a" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {**os.environ, **who}


def test_a_set_is_not_replaced_silently(tmp_path: Path) -> None:
    """A set that exists is refused unless it is to be replaced."""
    free(tmp_path / "new", force=False)
    free(tmp_path, force=True)
    with pytest.raises(NotRecorded, match="--force"):
        free(tmp_path, force=False)


def test_a_difference_explains_only_what_it_names() -> None:
    """Set, pattern of runs, rule and both verdicts must agree."""
    nothing = Expected(command="", verdict="holds", exit_code=0, failure_class="", rules={})
    run = Kept(revision="r", name="twin-demo", directory=Path(), expected=nothing)
    listed = Difference(revision="r", run="twin-*", what="A", before="holds", now="unknown", reason="why")
    changes: tuple[dict[str, str], ...] = (
        {},
        {"revision": "s"},
        {"run": "host-*"},
        {"what": "B"},
        {"before": "absent"},
        {"now": "holds"},
    )
    assert [True, False, False, False, False, False] == [
        msgspec.structs.replace(listed, **change).explains(run, "A", "holds", "unknown") for change in changes
    ]


@pytest.mark.host
def test_a_run_is_recorded(tmp_path: Path) -> None:
    """A run of the host guest is made, kept without this machine's paths, and judged as it was."""
    place = tmp_path / "place"
    place.mkdir()
    recorder = Recorder(ROOT, place, {}, [sys.executable, "-m", "harness"])
    into = tmp_path / "set"
    said = recorder.keep(Recording("host-veto", ("run", "veto", "--guest", "host")), into)
    assert ("harness run veto --guest host", "holds", 0) == (
        said["command"],
        said["verdict"],
        said["exit_code"],
    )
    assert "holds" == said["rules"]["VETO-NO-COMPLETE"]
    (made,) = (path for path in (place / "host-veto" / "runs").iterdir() if not path.is_symlink())
    kept = into / "host-veto"
    before, after = (json.loads((folder / "run.json").read_bytes()) for folder in (made, kept))
    program = Path(before["process_argv"][0])
    assert (cache_directory(os.environ) / "host-process", platform.platform()) == (
        program.parents[1],
        before["host"]["system"],
    )
    assert ([f"/CACHE/host-process/{program.parent.name}/{program.name}", "--follow"], "SYSTEM") == (
        after["process_argv"],
        after["host"]["system"],
    )
    files = sorted(path for path in kept.rglob("*") if path.is_file())
    assert ["history.jsonl", "run.json", "verdict.json"] == [path.name for path in files]
    own = of_machine({place: "/PLACE"})
    assert [] == [leak for path in files for leak in own.leaks(path.read_text())]
