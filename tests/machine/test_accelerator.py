# SPDX-License-Identifier: MIT
"""The accelerator is chosen by a guest's own word; answers are kept until something changes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from part_markers import needs

from harness.deadline import Deadline
from harness.errors import ExitCode, InfrastructureError
from harness.host.qemu_build import find_program
from harness.machine import accelerator
from harness.machine.accelerator import AcceleratorChoice, choose
from harness.machine.qemu.machine import QemuMachine
from tests.machine import bare_guest

READY = bare_guest.write(bare_guest.COM2, b"hello\r\n! ready 1\r\n")


class Image(msgspec.Struct, frozen=True):
    """A kernel alone."""

    kernel: Path
    initrd: Path | None = None
    append: str = ""


@pytest.fixture
def kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is taken for /dev/kvm."""
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(accelerator, "KVM", path)
    return path


@pytest.fixture
@needs("qemu")
def qemu(tmp_path: Path, kvm: Path) -> Path:
    """QEMU with TCG for KVM, so that a guest runs under it on any host; it notes how often it ran."""
    path = tmp_path / "qemu"
    path.write_text(
        f"#!/bin/bash\ntest $1 = --version || echo run >> {tmp_path}/runs\n"
        f'exec {find_program()} "${{@/#kvm/tcg}}"\n'
    )
    path.chmod(0o755)
    return path


def _killed(listen: Callable[[QemuMachine, Deadline], str]) -> Callable[[QemuMachine, Deadline], str]:
    """The same listening, to a machine whose QEMU is killed a moment later."""

    def listen_and_kill(machine: QemuMachine, deadline: Deadline) -> str:
        threading.Timer(0.2, os.kill, (machine.pid, signal.SIGKILL)).start()
        return listen(machine, deadline)

    return listen_and_kill


def runs(tmp_path: Path) -> int:
    """How many guests were started."""
    file = tmp_path / "runs"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_tcg_needs_no_probe(tmp_path: Path, deadline: Deadline) -> None:
    """TCG asked for is TCG, whatever there is."""
    image = Image(tmp_path / "no kernel")
    assert AcceleratorChoice(name="tcg", reason="requested") == choose(
        "tcg", tmp_path / "no qemu", image, tmp_path, deadline
    )


def test_no_kvm(tmp_path: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the device auto takes TCG and says why; KVM asked for is an error with a way out."""
    monkeypatch.setattr(accelerator, "KVM", tmp_path / "none")
    image = Image(tmp_path / "kernel")
    choice = choose("auto", tmp_path / "qemu", image, tmp_path, deadline)
    assert AcceleratorChoice(name="tcg", reason=f"KVM cannot be used: there is no {tmp_path}/none") == choice
    with pytest.raises(
        InfrastructureError, match="KVM was requested but cannot be used: there is no"
    ) as refused:
        choose("kvm", tmp_path / "qemu", image, tmp_path, deadline)
    assert "--accel tcg" in refused.value.hint
    assert ExitCode.INFRASTRUCTURE == refused.value.exit_code


def test_qemu_that_dies(tmp_path: Path, kvm: Path, deadline: Deadline) -> None:
    """QEMU's own words are the reason, and the answer is kept until the image changes."""
    qemu = tmp_path / "qemu"
    qemu.write_text(
        "#!/bin/sh\ntest $1 = --version && exec echo QEMU emulator version 8.0.0\n"
        f"echo run >> {tmp_path}/runs; echo qemu: no such MSR >&2; exit 1\n"
    )
    qemu.chmod(0o755)
    image = Image(bare_guest.build(tmp_path / "kernel"))
    choice = choose("auto", qemu, image, tmp_path / "cache", deadline)
    assert "tcg" == choice.name
    assert "QEMU died, exit status 1: qemu: no such MSR" in choice.reason
    assert (
        choice.reason + " (probed before)" == choose("auto", qemu, image, tmp_path / "cache", deadline).reason
    )
    assert 1 == runs(tmp_path)
    bare_guest.build(image.kernel, bare_guest.spin())
    choose("auto", qemu, image, tmp_path / "cache", deadline)
    assert 2 == runs(tmp_path)


def test_damaged_cache(tmp_path: Path, kvm: Path, deadline: Deadline) -> None:
    """A cache that is no cache, or cannot be written, costs a probe and no more."""
    qemu = tmp_path / "qemu"
    qemu.write_text("#!/bin/sh\ntest $1 = --version && exec echo QEMU emulator version 8.0.0\nexit 1\n")
    qemu.chmod(0o755)
    image = Image(bare_guest.build(tmp_path / "kernel"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "accelerator.json").write_text("{")
    for cache in (tmp_path / "cache", image.kernel / "cache"):
        assert "tcg" == choose("auto", qemu, image, cache, deadline).name


@pytest.mark.qemu
class TestGuestsWord:
    """A real guest decides."""

    def test_ready(self, tmp_path: Path, qemu: Path, deadline: Deadline) -> None:
        """A guest that says that it is ready proves KVM; the answer is kept."""
        image = Image(bare_guest.build(tmp_path / "kernel", READY, bare_guest.spin()))
        for _ in range(2):
            choice = choose("kvm", qemu, image, tmp_path / "cache", deadline)
            assert "kvm" == choice.name
        assert choice.reason.endswith("under KVM (probed before)")
        assert 1 == runs(tmp_path)

    def test_printing_proves_nothing(
        self, tmp_path: Path, qemu: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A guest that prints and then hangs is a hang, and its last line is told, fit for a terminal."""
        monkeypatch.setattr(accelerator, "SILENCE", 0.5)
        said = bare_guest.write(bare_guest.COM1, b"Probing EDD\x1b[2J\r\n")
        image = Image(bare_guest.build(tmp_path / "kernel", said, bare_guest.spin()))
        choice = choose("auto", qemu, image, tmp_path / "cache", deadline)
        assert "tcg" == choice.name
        assert "a guest is not ready under it after" in choice.reason
        assert choice.reason.endswith("it stopped after printing 'Probing EDD?[2J'")

    def test_silence(
        self, tmp_path: Path, qemu: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A guest that says nothing at all is told so."""
        monkeypatch.setattr(accelerator, "SILENCE", 0.5)
        image = Image(bare_guest.build(tmp_path / "kernel", bare_guest.spin()))
        with pytest.raises(InfrastructureError, match="it did not print a byte"):
            choose("kvm", qemu, image, tmp_path / "cache", deadline)

    def test_talk_without_end(self, tmp_path: Path, qemu: Path, deadline: Deadline) -> None:
        """A guest that talks for ever of something else is not listened to for ever."""
        talk = bare_guest.write(bare_guest.COM2, b"no" * 50)
        image = Image(bare_guest.build(tmp_path / "kernel", talk, bare_guest.again(len(talk))))
        choice = choose("auto", qemu, image, tmp_path / "cache", deadline)
        assert choice.reason.endswith("it sent much on its control channel, but never '! ready'")

    def test_death_in_the_middle(
        self, tmp_path: Path, qemu: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A QEMU that ends while its guest is listened to is told so at once."""
        monkeypatch.setattr(accelerator, "_obstacle", _killed(accelerator._obstacle))
        image = Image(bare_guest.build(tmp_path / "kernel", bare_guest.spin()))
        choice = choose("auto", qemu, image, tmp_path / "cache", deadline)
        assert "KVM cannot be used: QEMU died, killed by SIGKILL, without any output" == choice.reason

    @pytest.mark.skipif(not accelerator.KVM.exists(), reason="there is no /dev/kvm")
    def test_this_hosts_own_kvm(
        self, tmp_path: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever this host's KVM is worth, a guest that hangs does not prove it."""
        monkeypatch.setattr(accelerator, "SILENCE", 0.5)
        image = Image(bare_guest.build(tmp_path / "kernel", bare_guest.spin()))
        assert "tcg" == choose("auto", find_program(), image, tmp_path / "cache", deadline).name
