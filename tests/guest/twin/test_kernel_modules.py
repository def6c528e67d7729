# SPDX-License-Identifier: MIT
"""The modules of the distribution's kernel are found wherever its package has them."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from harness.guest.twin.kernel_modules import module_files
from harness.guest.twin.kernel_package import UnpackedKernel

RELEASE = "6.12.118+deb13-cloud-amd64"


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [("lib", ".ko"), ("usr/lib", ".ko.xz")],
    ids=["debian-12", "debian-13"],
)
def test_modules_of_a_release_are_found(tmp_path: Path, folder: str, suffix: str) -> None:
    """As linux-image-6.1.0-57-cloud-amd64 of Debian 12 and linux-image-6.12.118+deb13-cloud-amd64 of Debian 13 have them."""
    drivers = tmp_path / folder / "modules" / RELEASE / "kernel" / "drivers"
    for name in ("virtio/virtio_balloon", "virtio/virtio_mem", "virtio/virtio_input"):
        file = drivers / f"{name}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        data = file.stem.partition(".")[0].encode()
        file.write_bytes(lzma.compress(data) if suffix.endswith(".xz") else data)
    kernel = UnpackedKernel(release=RELEASE, packages={}, root=tmp_path)
    assert list(module_files(kernel)) == [
        ("virtio_mem", b"virtio_mem"),
        ("virtio_balloon", b"virtio_balloon"),
    ]
