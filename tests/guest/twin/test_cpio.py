# SPDX-License-Identifier: MIT
"""The archive that the kernel unpacks."""

from __future__ import annotations

import stat

from hypothesis import given
from hypothesis import strategies as st

from harness.guest.twin import cpio


def members(archive: bytes) -> list[tuple[str, int, bytes, tuple[int, int]]]:
    """Read an archive back as the format's description says (Linux: early-userspace/buffer-format)."""
    found = []
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, device, name_size = fields[1], fields[6], (fields[9], fields[10]), fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        assert archive[at + 110 + name_size - 1] == 0
        data = (at + 110 + name_size + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found.append((name, mode, archive[data : data + size], device))
        at = (data + size + 3) & ~3


@given(st.lists(st.tuples(st.text("abc/", min_size=1, max_size=20), st.binary(max_size=40)), max_size=8))
def test_reads_back(files: list[tuple[str, bytes]]) -> None:
    """Whatever goes in comes out, whatever its length."""
    archive = cpio.archive([cpio.program(name, data) for name, data in files])
    assert [(name, stat.S_IFREG | 0o755, data, (0, 0)) for name, data in files] == members(archive)
    assert len(archive) % 512 == 0


def test_kinds() -> None:
    """Directories, files and devices keep their kind."""
    archive = cpio.archive(
        [cpio.directory("dev"), cpio.character_device("dev/console", 5, 1), cpio.file("x", b"12345")]
    )
    assert [
        ("dev", stat.S_IFDIR | 0o755, b"", (0, 0)),
        ("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)),
        ("x", stat.S_IFREG | 0o644, b"12345", (0, 0)),
    ] == members(archive)
