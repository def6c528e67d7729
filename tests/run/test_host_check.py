# SPDX-License-Identifier: MIT
"""What a plan's DIMMs ask of the host that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from harness.errors import ExitCode, UsageError
from harness.host.qemu_build import QemuBuild
from harness.machine.machine import MachineSpec
from harness.run.host_check import asks_host, check_apic_ids, check_host
from harness.run.plan import Plan, decode_plan, find_plan

DIMM = '[[do]]\nop = "add-dimm"\nsize = "1 TiB"\n'


def plan(body: str) -> Plan:
    """Return a plan of a large DIMM."""
    return decode_plan(f'name = "a"\n[machine]\nmax_memory = "2 TiB"\n{DIMM}{body}', name="p.toml")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('backend = "memfd"\nhugepages = "1 GiB"\n', r"this host has (\d+ free|no) huge pages of 1 GiB"),
        ("host_nodes = [0, 127]\n", "this host has no memory on node 127"),
        (
            'backend = "file"\nprealloc = true\n',
            "the plan's preallocated DIMMs are files of 1024 GiB together, and ",
        ),
    ],
)
def test_what_the_host_lacks(tmp_path: Path, body: str, words: str) -> None:
    """Is usage, in words; an add that is to be refused asks for nothing."""
    with pytest.raises(UsageError, match=words) as refused:
        check_host(plan(body), tmp_path)
    assert (ExitCode.USAGE, True) == (refused.value.exit_code, bool(refused.value.hint))
    assert asks_host(plan(body))
    check_host(plan(body + 'expect = "refused"\n'), tmp_path)


@pytest.mark.parametrize("body", ["", 'backend = "file"\n', "prealloc = true\n"])
def test_what_may_be(tmp_path: Path, body: str) -> None:
    """A sparse file needs no room, and memory is the lease's business."""
    check_host(plan(body), tmp_path)


def test_libvirt_keeps_files_elsewhere(tmp_path: Path) -> None:
    """The room beside the run directory does not limit them: the plan that QEMU has no room for is accepted."""
    large = plan('backend = "file"\nprealloc = true\n')
    check_host(large, tmp_path, backend="libvirt")
    with pytest.raises(UsageError, match="preallocated DIMMs"):
        check_host(large, tmp_path, backend="qemu")


def test_only_a_plan_that_asks_is_looked_at() -> None:
    """Most plans ask for nothing but memory."""
    assert (False, True) == (asks_host(find_plan("cpu-and-dimm")), asks_host(find_plan("dimm-backends")))


@pytest.mark.parametrize(
    ("accelerator", "version", "most", "may"),
    [
        ("tcg", "7.2.22", 255, True),
        ("tcg", "7.2.22", 256, False),
        ("tcg", "9.0.0", 288, True),
        ("kvm", "7.2.22", 288, True),
    ],
)
def test_how_many_processors_there_are_numbers_for(
    accelerator: Literal["tcg", "kvm"], version: str, most: int, may: bool
) -> None:
    """QEMU 7.2 refuses the same under TCG, in words that name no number (tests/machine/qemu/test_machine.py)."""
    spec = MachineSpec(accelerator=accelerator, qemu=Path("qemu"), max_processors=most)
    build = QemuBuild(Path("qemu"), version, "")
    if may:
        check_apic_ids(spec, build)
        return
    with pytest.raises(
        UsageError, match="at most 255 processors under TCG, and max_processors is 256"
    ) as refused:
        check_apic_ids(spec, build)
    assert "QEMU 9.0 or newer" in refused.value.hint
