# SPDX-License-Identifier: MIT
"""What a DIMM is made of on the host: QEMU's arguments, the file, and what is said where the host lacks it."""

from __future__ import annotations

from pathlib import Path

import pytest
from limited_files import limited_files

from harness.errors import CommandRefused, HostExhausted, InfrastructureError
from harness.machine.libvirt.domain import dimm_xml
from harness.machine.memory_backend import RAM, MemoryBackend, exhaustion, not_of_one_dimm

MIB = 1 << 20


@pytest.mark.parametrize(
    ("backend", "properties"),
    [
        (RAM, {"qom-type": "memory-backend-ram"}),
        (MemoryBackend(share=False, prealloc=True), {"qom-type": "memory-backend-ram", "share": False, "prealloc": True}),
        (MemoryBackend(kind="memfd", hugepages=2 * MIB), {"qom-type": "memory-backend-memfd", "hugetlb": True, "hugetlbsize": 2 * MIB}),
        (MemoryBackend(host_nodes=(0, 2)), {"qom-type": "memory-backend-ram", "host-nodes": [0, 2], "policy": "bind"}),
    ],
)  # fmt: skip
def test_properties(backend: MemoryBackend, properties: dict[str, object]) -> None:
    """Only what was asked for is said; QEMU has defaults of its own."""
    assert {"id": "m", "size": MIB, **properties} == backend.properties("m", MIB, None)


def test_a_file_is_private_sparse_and_gone(tmp_path: Path) -> None:
    """It has the DIMM's size or another, takes no room, and its name is gone once QEMU has it."""
    with MemoryBackend(kind="file").made_file(tmp_path, 64 * MIB) as file:
        assert file is not None
        status = file.stat()
        assert (64 * MIB, 0, 0o600) == (status.st_size, status.st_blocks, status.st_mode & 0o777)
        assert str(file) == MemoryBackend(kind="file").properties("m", MIB, file)["mem-path"]
    with MemoryBackend(kind="file", file_size=MIB).made_file(tmp_path, 64 * MIB) as file:
        assert file is not None
        assert file.stat().st_size == MIB
    with RAM.made_file(tmp_path, MIB) as nothing:
        assert nothing is None
    assert [] == [*tmp_path.iterdir()]


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    """The run directory is gone, or the file would be larger than any may be."""
    backend = MemoryBackend(kind="file")
    with (
        pytest.raises(InfrastructureError, match=r"cannot make the file .* No such file"),
        backend.made_file(tmp_path / "absent", MIB),
    ):
        pass
    with (
        pytest.raises(InfrastructureError, match=r"cannot make the file .* too large"),
        limited_files(MIB),
        backend.made_file(tmp_path, MIB + 1),
    ):
        pass
    assert [] == [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("backend", "description", "words"),
    [
        (MemoryBackend(kind="file", prealloc=True), "qemu_prealloc_mem: preallocating memory failed: Bad address", "the disk has no room to preallocate 1 MiB for the DIMM 'd': its file is in "),
        (MemoryBackend(kind="memfd", hugepages=2 * MIB), "unable to map backing store for guest RAM: Cannot allocate memory", "the host has too few free pages of 2 MiB for"),
        (RAM, "cannot set up guest memory 'j': Cannot allocate memory", "the host has too little free memory"),
    ],
)  # fmt: skip
def test_what_the_host_is_out_of(
    tmp_path: Path, backend: MemoryBackend, description: str, words: str
) -> None:
    """QEMU's words (7.2, on a full disk and without pages) become plain ones, and stand beside them."""
    refusal = CommandRefused(
        "refused", command="object-add", error_class="GenericError", description=description
    )
    with pytest.raises(HostExhausted, match=words) as exhausted, exhaustion("d", MIB, backend, tmp_path):
        raise refusal
    assert f"QEMU says: {description}" in exhausted.value.message
    with pytest.raises(CommandRefused, match="other"), exhaustion("d", MIB, backend, tmp_path):
        raise CommandRefused("other", command="object-add", error_class="", description="duplicate id")


@pytest.mark.parametrize(
    ("backend", "option"),
    [
        (RAM, None),
        (MemoryBackend(kind="file"), None),
        (MemoryBackend(kind="file", share=True, host_nodes=(0,)), None),
        (MemoryBackend(kind="memfd", hugepages=2 * MIB, prealloc=True), None),
        (MemoryBackend(kind="memfd"), "backend"),
        (MemoryBackend(prealloc=True), "prealloc"),
        (MemoryBackend(share=True), "share"),
        (MemoryBackend(kind="file", file_size=1), "file_size"),
    ],
)
def test_what_libvirt_has_for_one_dimm(backend: MemoryBackend, option: str | None) -> None:
    """Of the rest the XML is refused, too."""
    lacking = not_of_one_dimm(backend)
    assert option == (lacking and lacking[0])
    if option is None:
        assert "<target>" in dimm_xml("ua-d", 128 * MIB, 0, backend)
    else:
        with pytest.raises(Exception, match="libvirt cannot be given"):
            dimm_xml("ua-d", 128 * MIB, 0, backend)


def test_libvirts_words_for_a_file_and_for_pages() -> None:
    """An access mode makes one DIMM a file; the pages' size is in KiB."""
    shared = dimm_xml("ua-d", 128 * MIB, 0, MemoryBackend(kind="file", share=True, host_nodes=(0, 1)))
    assert ('access="shared"' in shared, "<nodemask>0,1</nodemask>" in shared) == (True, True)
    assert 'access="private"' in dimm_xml("ua-d", MIB, 0, MemoryBackend(kind="file"))
    huge = dimm_xml("ua-d", 128 * MIB, 0, MemoryBackend(kind="memfd", hugepages=2 * MIB))
    assert '<pagesize unit="KiB">2048</pagesize>' in huge
