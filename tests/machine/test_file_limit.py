# SPDX-License-Identifier: MIT
"""The file limit: the kernel ends a QEMU that writes a larger file than a run may have, and no run meets it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from limited_files import limited_files
from machine.conftest import MakeMachine

from harness.deadline import Deadline
from harness.machine import disk_image
from harness.machine.attachments import Disk
from harness.machine.file_limit import SLACK, blocks, largest_file, virtual_size
from harness.machine.machine import MachineSpec
from harness.machine.process import Process

GIB = 1 << 30


def spec(**changes: object) -> MachineSpec:
    """Return a machine with a GiB of memory that may grow to four."""
    usual = {"accelerator": "tcg", "qemu": Path("qemu"), "memory": GIB, "max_memory": 4 * GIB}
    return MachineSpec(**(usual | changes))  # type: ignore[arg-type]


@pytest.mark.qemu
def test_a_disk_is_as_large_as_qemu_says(tmp_path: Path) -> None:
    """The size of a qcow2 image is the guest's, not the file's; that of any other file is its own."""
    image, overlay, raw = (tmp_path / name for name in ("image", "overlay", "raw"))
    deadline = Deadline(60, "make images")
    disk_image.create(image, 64 * GIB, deadline)
    disk_image.make_overlay(overlay, image, deadline)
    raw.write_bytes(bytes(4096))
    sizes = [virtual_size(Disk(file=file)) for file in (image, overlay, raw, tmp_path / "none")]
    assert [64 * GIB, 64 * GIB, 4096, 0] == sizes
    assert largest_file(spec(disks=(Disk(file=overlay),))) > 65 * GIB


def test_everything_that_a_run_may_write_fits() -> None:
    """A dump and a saved state of all the memory there may be, the file behind a DIMM, and a channel."""
    assert largest_file(spec()) >= 4 * GIB + (4 * GIB >> 8) + SLACK
    assert largest_file(spec(), channel=100 * GIB) > 100 * GIB


def test_a_limit_of_this_process_is_kept() -> None:
    """ulimit cannot raise what this process has itself; its unit is 512 bytes."""
    assert 3 == blocks(1025)
    with limited_files(1 << 40):
        assert (1 << 31, 2) == (blocks(1 << 50), blocks(1024))


@pytest.mark.qemu
def test_qemu_has_the_limit(make_machine: MakeMachine, deadline: Deadline) -> None:
    """The kernel knows it for QEMU's process."""
    machine = make_machine()
    machine.start(deadline)
    limits = Path(f"/proc/{machine.pid}/limits").read_text("ascii")
    (line,) = [line for line in limits.splitlines() if line.startswith("Max file size")]
    expected = blocks(largest_file(machine.spec)) * 512
    assert [str(expected)] * 2 == line.split()[3:5]


def test_a_process_beyond_it_is_ended(tmp_path: Path) -> None:
    """SIGXFSZ ends it, and the file is no larger than the limit."""
    process = Process(
        ["sh", "-c", f"exec yes > {tmp_path}/big"], tmp_path / "log", ended=lambda: None, largest_file=1 << 20
    )
    process.spawn()
    assert process.wait(30)
    assert (-signal.SIGXFSZ, 1 << 20) == (process.status, (tmp_path / "big").stat().st_size)
