# SPDX-License-Identifier: MIT
"""Evidence names the bytes that ran: what is damaged in the cache is built anew, and a cache may be read-only."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from part_markers import needs
from twin.running import plan_of

from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.guest.twin import kernel_package
from harness.guest.twin.image import build
from harness.history import record as r
from harness.history.reader import History
from harness.run.request import RunRequest
from harness.run.run import RunResult, perform
from harness.setup.cache import cache_directory

pytestmark = pytest.mark.qemu

ONE_CPU = plan_of('[[do]]\nop = "add-cpu"\n')
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


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 1]))


def notes(result: RunResult) -> str:
    """Return what the stages said."""
    return "\n".join(one.detail for one in History(result.directory) if isinstance(one, r.Stage))


def content(result: RunResult) -> dict[str, str]:
    """Return what the run says that it ran."""
    found: dict[str, str] = json.loads((result.directory / "run.json").read_bytes())["content"]
    return found


def test_a_flipped_bit_in_a_saved_state_is_found(
    request_run: Callable[..., RunRequest], own_cache: Path
) -> None:
    """The second run finds that the memory is not what was saved, saves it anew, and names the bytes that it ran."""
    request = dataclasses.replace(request_run(ONE_CPU, restore=True), cache=own_cache)
    first = perform(request)
    (memory,) = own_cache.glob("states/*/memory")
    assert content(first)["state/memory"] == hashlib.sha256(memory.read_bytes()).hexdigest()
    flip(memory)
    second = perform(request)
    assert (second.error, second.verdict.verdict) == (None, Verdict.HOLDS)
    assert "is damaged and is made anew: memory has SHA-256 " in notes(second)
    assert content(second)["state/memory"] == hashlib.sha256(memory.read_bytes()).hexdigest()


def test_a_flipped_bit_in_the_initrd_is_found(own_cache: Path) -> None:
    """The image with the driver's module in it is not what was built: it is not booted, but built anew."""
    said: list[str] = []
    before = build(own_cache, Deadline(60, "look it up"), progress=said.append)
    assert said == []
    flip(before.initrd)
    shutil.rmtree(own_cache / "twin" / "kernel")
    (own_cache / "twin" / "kernel").symlink_to(cache_directory(os.environ) / "twin" / "kernel")
    after = build(own_cache, Deadline(170, "build it anew"), progress=said.append)
    assert said[0].startswith(f"{before.initrd.parent} is damaged and is built again: initrd has SHA-256 ")
    assert "compiling the driver for the twin" in said
    assert after.content["initrd"] == hashlib.sha256(after.initrd.read_bytes()).hexdigest()


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
