# SPDX-License-Identifier: MIT
"""harness gc ends and removes what the registry says is ours and nobody's any more, and nothing else."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.cli.main import main
from harness.errors import ExitCode, InfrastructureError
from harness.host.lease import Leases
from harness.host.registry import ProcessName, Registry
from harness.host.runtime import RuntimeDirectory
from harness.lab.leftover import leftovers
from harness.machine import orphan
from tests.lab.machines import dead_harness, idle, name_of, noted

ME = ProcessName.of(os.getpid())


def gc(registry: Registry, host: Path) -> list[str]:
    """Remove everything that is left; return what it was."""
    found = leftovers(registry, Leases(), host / "cache")
    texts = [each.text for each in found]
    for each in found:
        each.remove()
    return texts


def test_orphans_are_ended(registry: Registry, host: Path) -> None:
    """QEMU of a dead harness is ended, also when its number was never noted; entry and runtime directory go."""
    with idle("one") as first, idle("two") as second:
        noted(registry, host, dead_harness(), name_of(first))
        unnoted = [str(word) for word in second.args]  # type: ignore[union-attr]
        noted(registry, host, dead_harness(), None, command=unnoted)
        assert 2 == len(gc(registry, host))
        assert [-15, -15] == [first.wait(10), second.wait(10)]
    assert [] == registry.entries()
    assert [] == list((host / "runtime").iterdir())


def test_one_that_takes_no_sigterm_is_killed(
    registry: Registry, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL follows when the grace is over."""
    monkeypatch.setattr(orphan, "TERM_GRACE", 0.05)
    with idle("qemu", stubborn=True) as process:
        noted(registry, host, dead_harness(), name_of(process))
        gc(registry, host)
        assert -9 == process.wait(10)


def test_the_living_are_left_alone(registry: Registry, host: Path) -> None:
    """A machine whose harness lives is not listed, and not ended even if somebody insists."""
    assert ME is not None
    with idle("qemu") as process:
        entry = noted(registry, host, ME, name_of(process))
        assert [] == gc(registry, host)
        with pytest.raises(InfrastructureError, match="which is alive"):
            orphan.end_orphan(registry, entry)
        assert process.poll() is None
    assert [entry] == registry.entries()


def test_a_recycled_number_is_left_alone(registry: Registry, host: Path) -> None:
    """A process that bears the number of ours, but began at another time or boot, is a stranger."""
    with idle("stranger") as process:
        name = name_of(process)
        noted(registry, host, dead_harness(), msgspec.structs.replace(name, started=name.started - 1))
        noted(registry, host, dead_harness(), msgspec.structs.replace(name, boot="another"))
        assert all(text.startswith("forget machine") for text in gc(registry, host))
        assert process.poll() is None
    assert [] == registry.entries()


def test_after_a_reboot(registry: Registry, host: Path) -> None:
    """Entries of another boot go without asking anybody: a transient domain on this host did not outlive it."""
    old = msgspec.structs.replace(dead_harness(), boot="another")
    noted(registry, host, old, None, uri="test:///nowhere", domain="f7c6e4b4-6a5c-4a0c-9b0c-3f6f6d3d4b11")
    assert 1 == len(gc(registry, host))
    assert [] == registry.entries()


def test_a_libvirt_that_does_not_answer_keeps_the_entry(
    registry: Registry, host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where only libvirt could end it, it stays known, the message says so, and the rest goes all the same."""
    nowhere = f"qemu+unix:///system?socket={host}/nowhere"
    kept = noted(registry, host, dead_harness(), None, uri=nowhere, domain="0-0")
    noted(registry, host, dead_harness(), None)
    assert ExitCode.INFRASTRUCTURE == main(["gc", "--yes"])
    assert "may still be there" in capsys.readouterr().err
    assert [kept] == registry.entries()


def test_without_libvirt_a_known_qemu_is_ended(registry: Registry, host: Path) -> None:
    """libvirtd is dead, but QEMU's process is here and known: it is ended, and libvirtd will find it gone."""
    nowhere = f"qemu+unix:///system?socket={host}/nowhere"
    with idle("qemu") as process:
        noted(registry, host, dead_harness(), name_of(process), uri=nowhere, domain="0-0")
        gc(registry, host)
        assert -15 == process.wait(10)
    assert [] == registry.entries()


MAKER = """
import sys
from pathlib import Path
from harness.host import runtime
runtime._bases = lambda: [Path(sys.argv[1])]
runtime.LONGEST_SOCKET_PATH = 1000
made = runtime.RuntimeDirectory()
print(flush=True)
sys.stdin.read()
"""


def test_runtime_directories_of_the_dead(registry: Registry, host: Path) -> None:
    """A directory that never came into the registry goes once its owner is dead; one in use, or of another name, stays."""
    mine = RuntimeDirectory()
    place = host / "runtime"
    (place / "hotplug-far").mkdir()
    command = [sys.executable, "-c", MAKER, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 3 == len(list(place.iterdir()))
        assert [] == gc(registry, host)
        process.kill()
        process.wait()
        assert 1 == len(gc(registry, host))
    assert {mine.path, place / "hotplug-far"} == set(place.iterdir())
    mine.remove()
    assert not mine.path.exists()


def test_half_written_entries(registry: Registry, host: Path) -> None:
    """What a harness left that was killed while it wrote goes; what is being written stays."""
    assert ME is not None
    dead = noted(registry, host, dead_harness(), None)
    alive = noted(registry, host, ME, None)
    for entry in (dead, alive):
        Path(entry.file).rename(Path(entry.file).with_suffix(".new"))
    (registry.directory / "young.new").write_text("{")
    torn = registry.directory / "torn.new"
    torn.write_text("{")
    os.utime(torn, (0, 0))
    assert 2 == sum(text.startswith("remove half-written entry") for text in gc(registry, host))
    assert {Path(alive.file).with_suffix(".new").name, "young.new"} == {
        path.name for path in registry.directory.iterdir()
    }


def test_overlays_of_the_dead(registry: Registry, host: Path) -> None:
    """Disks that a killed run wrote go with its machine; its evidence stays, and so does what its links lead to."""
    noted(registry, host, dead_harness(), None)
    run, image = host / "run", host / "image.qcow2"
    image.touch()
    for name in ("disk.qcow2", "restored-disk0.qcow2", "history.jsonl", "console.log"):
        (run / name).touch()
    (run / "link.qcow2").symlink_to(image)
    gc(registry, host)
    assert ["console.log", "history.jsonl", "link.qcow2"] == sorted(path.name for path in run.iterdir())
    assert image.exists()


@pytest.mark.parametrize("name", ["twin/image.new", "states/new"])
def test_half_built(registry: Registry, host: Path, name: str) -> None:
    """What a maker left that was killed goes; what is being made stays."""
    place = host / "cache" / name
    place.mkdir(parents=True)
    (place / "memory").touch()
    with (place.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert [] == gc(registry, host)
    assert [f"remove half-built {place}"] == gc(registry, host)
    assert not place.exists()


def images(host: Path, count: int) -> Path:
    place = host / "cache" / "twin"
    for number in range(count):
        image = place / f"image-{number:016x}"
        image.mkdir(parents=True)
        (image / "image.json").touch()
        os.utime(image, (number, number))
    (place / "lock").touch()
    return place


def test_old_images(registry: Registry, host: Path) -> None:
    """The images used last stay, and one that a machine boots from; while one is built or looked up, all do."""
    assert ME is not None
    place = images(host, 8)
    noted(registry, host, ME, None, command=["qemu", "-kernel", f"{place}/image-{1:016x}/vmlinuz"])
    with (place / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert 2 == len(gc(registry, host))
        assert 8 == len(list(place.glob("image-*")))
    assert 2 == len(gc(registry, host))
    assert [1, 3, 4, 5, 6, 7] == sorted(int(path.name[6:], 16) for path in place.glob("image-*"))
    assert [] == gc(registry, host)


def test_nothing_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """On a tidy host gc says so."""
    assert ExitCode.HOLDS == main(["gc"])
    assert "Nothing is left behind.\n" == capsys.readouterr().out


def test_gc_asks_before_it_acts(
    registry: Registry, host: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--dry-run only tells; without --yes and nobody to ask nothing is done; --yes does it."""
    noted(registry, host, dead_harness(), None)
    assert ExitCode.HOLDS == main(["gc", "--dry-run"])
    assert capsys.readouterr().out.startswith("would forget machine vm0, QEMU, of ")
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert ExitCode.USAGE == main(["gc"])
    assert 1 == len(registry.entries())
    assert ExitCode.HOLDS == main(["gc", "--yes"])
    assert "done: forget machine vm0" in capsys.readouterr().out
    assert [] == registry.entries()


def test_doctor_fixes_what_is_safe(
    registry: Registry, host: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """doctor --fix does what gc --yes does, and forgets the answer about KVM, so that the next run asks again."""
    noted(registry, host, dead_harness(), None)
    (host / "cache").mkdir()
    (host / "cache" / "accelerator.json").write_text("{}")
    monkeypatch.setenv("PATH", str(host))
    assert ExitCode.INFRASTRUCTURE == main(["doctor", "--fix"])
    assert "done: forget machine vm0" in capsys.readouterr().out
    assert [] == registry.entries()
    assert not (host / "cache" / "accelerator.json").exists()
