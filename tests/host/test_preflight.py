# SPDX-License-Identifier: MIT
"""What the preflight says of a host is what the host has: real files, real programs, made for the purpose."""

import json
import sys
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.host.kvm_probe import last
from harness.host.preflight import HostPart, PartState, examine, ready
from harness.setup import parts

NEEDED = ["python", "qemu", "firmware", "qemu.qmp", "gcc", "make", "apt", "disk", "memory"]


def program(path: Path, script: str) -> Path:
    """Write an executable shell script."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def look(
    monkeypatch: pytest.MonkeyPatch, search: Path, *, tested: bool = False, **options: object
) -> dict[str, HostPart]:
    """Examine this host with nothing but ``search`` on PATH.

    Without ``tested`` the optional parts are left out some of whose programs are looked for elsewhere, too, and answer slowly.
    """
    monkeypatch.setenv("PATH", str(search))
    if not tested:
        monkeypatch.setattr(parts, "TESTED", ())
    return {part.name: part for part in examine(Deadline(30, "test"), **options)}  # type: ignore[arg-type]


def test_an_empty_path_gives_every_part_its_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any program the needed ones are missing, each with the command that supplies it, and nothing is ready."""
    found = look(monkeypatch, tmp_path, tested=True)
    missing = [name for name in NEEDED if found[name].state is PartState.MISSING]
    assert missing == ["qemu", "firmware", "gcc", "make", "apt"]
    assert [] == [name for name in missing if name != "firmware" and not found[name].supply]
    assert not ready(list(found.values()))


def test_the_needed_parts_are_those_of_the_main_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optional parts never keep the main job from running."""
    found = look(monkeypatch, tmp_path, tested=True)
    assert NEEDED == [name for name, part in found.items() if part.needed]


def test_programs_on_the_path_are_named_with_their_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host with all needed parts is ready."""
    program(tmp_path / "gcc", "echo 'gcc 12.2.0'; echo 'more words'")
    program(tmp_path / "make", "echo 'GNU Make 4.3'")
    program(tmp_path / "apt-get", "exit 0")
    program(tmp_path / "dpkg-deb", "exit 0")
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / "bios-256k.bin").write_bytes(b"firmware")
    program(
        tmp_path / "qemu-system-x86_64",
        f'case "$*" in --version) echo "QEMU emulator version 9.1.0";; *) echo {tmp_path}/share;; esac',
    )
    found = look(monkeypatch, tmp_path)
    said = {
        name: (found[name].state.value, found[name].found) for name in ("gcc", "make", "qemu", "firmware")
    }
    assert said == {
        "gcc": ("ok", f"gcc 12.2.0 at {tmp_path}/gcc"),
        "make": ("ok", f"GNU Make 4.3 at {tmp_path}/make"),
        "qemu": ("ok", f"QEMU emulator version 9.1.0 at {tmp_path}/qemu-system-x86_64"),
        "firmware": ("ok", f"{tmp_path}/share/bios-256k.bin"),
    }
    lacking = [name for name in NEEDED if found[name].state is not PartState.OK]
    assert [ready(list(found.values())), set(lacking) - {"memory"}] == [not lacking, set()]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'QEMU emulator version 6.2.0'", "too old"),
        ("exit 1", "status 1"),
        ("echo hello", "hello"),
        ("kill -9 $$", "status -9"),
    ],
)
def test_an_unusable_qemu_is_broken_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    """A QEMU that is too old, fails, dies or is something else is told apart from a missing one."""
    part = look(monkeypatch, tmp_path, qemu=program(tmp_path / "my-qemu", script))["qemu"]
    assert [PartState.BROKEN, True] == [part.state, words in part.found]


def test_a_program_that_does_not_start_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An executable that is no program is named with the reason, not as missing."""
    (tmp_path / "gcc").write_bytes(b"\x00\x01")
    (tmp_path / "gcc").chmod(0o755)
    part = look(monkeypatch, tmp_path)["gcc"]
    assert [PartState.BROKEN, True] == [part.state, "cannot run" in part.found]


def test_a_program_that_never_answers_does_not_hold_up_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the deadline over, a hanging program is broken, and the parts after it are still looked at."""
    program(tmp_path / "gcc", f"exec {sys.executable} -c 'import time; time.sleep(60)'")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {part.name: part for part in examine(Deadline(0, "test"))}
    assert [PartState.BROKEN, PartState.MISSING] == [found["gcc"].state, found["make"].state]
    assert "did not end within 0.1 s" in found["gcc"].found


def test_a_place_that_does_not_exist_yet_is_judged_by_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs directory is made later; its disk is that of the nearest directory there is."""
    part = look(monkeypatch, tmp_path, directory=tmp_path / "runs" / "deep")["disk"]
    assert part.found.endswith(f"free at {tmp_path}")


@pytest.mark.parametrize(("works", "state"), [(True, PartState.OK), (False, PartState.BROKEN)])
def test_the_last_probe_of_kvm_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool, state: PartState
) -> None:
    """A /dev/kvm that opens is broken when the last guest under it hung, and says so in the probe's words."""
    answer = {"key": "k", "works": works, "reason": "a guest said so"}
    (tmp_path / "accelerator.json").write_text(json.dumps(answer))
    # A host may have no KVM, and this user no right to open it.
    (tmp_path / "kvm").touch()
    monkeypatch.setattr("harness.host.kvm_probe.KVM", tmp_path / "kvm")
    part = look(monkeypatch, tmp_path, cache=tmp_path)["kvm"]
    assert [state, "when last probed, a guest said so"] == [part.state, part.found]


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"works": 1}'])
def test_a_damaged_memory_of_the_probe_is_no_memory(tmp_path: Path, kept: str) -> None:
    """A cut or foreign file counts as never probed."""
    (tmp_path / "accelerator.json").write_text(kept)
    assert last(tmp_path) is None


def test_the_directory_of_leases_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is unsafe keeps every run from starting, and is said with what mends it; without one the main job can run."""
    place = tmp_path / "leases"
    place.mkdir(mode=0o700)
    monkeypatch.setenv("HOTPLUG_HARNESS_LEASES", str(place))
    part = look(monkeypatch, tmp_path)["leases"]
    assert [PartState.OK, str(place)] == [part.state, part.found]
    place.chmod(0o777)
    part = look(monkeypatch, tmp_path)["leases"]
    assert [PartState.BROKEN, True] == [part.state, part.needed]
    assert f"sudo install -d -o root -g root -m 1777 {place}" in part.supply
    monkeypatch.delenv("HOTPLUG_HARNESS_LEASES")
    assert not look(monkeypatch, tmp_path)["leases"].needed
