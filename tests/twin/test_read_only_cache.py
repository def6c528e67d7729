# SPDX-License-Identifier: MIT
"""A cache that nobody may write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from part_markers import needs

from harness.deadline import Deadline
from harness.guest.twin import kernel_package
from harness.guest.twin.image import build
from harness.setup.cache import cache_directory

pytestmark = pytest.mark.qemu

READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


@pytest.fixture
@needs("qemu")
def own_cache(tmp_path: Path) -> Path:
    """A cache of the test's own, with a copy of the twin's image and of what identifies the kernel it is made from."""
    whole = cache_directory(os.environ) / "twin"
    image = build(whole.parent, Deadline(600, "make the image"))
    own = tmp_path / "cache" / "twin"
    shutil.copytree(image.kernel.parent, own / image.kernel.parent.name)
    kernel = kernel_package.load(whole, print)
    assert kernel is not None
    folder = whole / "kernel"
    for file in (folder / "kernel.json", *kernel.image.parent.iterdir(), kernel.headers / "Makefile"):
        copy = own / "kernel" / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return tmp_path / "cache"


def test_a_cache_may_be_read_only(own_cache: Path, tmp_path: Path) -> None:
    """A run whose image is there needs to write nothing to the cache."""
    command = [
        sys.executable,
        "-m",
        "harness",
        "run",
        "cpu-and-dimm",
        "--runs",
        str(tmp_path / "runs"),
        "--accel",
        "tcg",
    ]
    if os.geteuid() == 0:
        command = ["unshare", "--mount", "sh", "-ec", READ_ONLY, str(own_cache), *command]
        tried = subprocess.run(
            [*command[:6], "true"], capture_output=True, text=True, timeout=30, check=False
        )
        if tried.returncode:
            pytest.skip(f"root may not mount here, and is kept from no file: {tried.stderr.strip()}")
    else:
        for directory, _, _ in os.walk(own_cache):
            Path(directory).chmod(0o555)
    environment = {**os.environ, "HOTPLUG_HARNESS_CACHE": str(own_cache)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert {path.name for path in own_cache.iterdir()} == {"twin"}
