# SPDX-License-Identifier: MIT
"""Disk images as files: made and flattened with qemu-img."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfrastructureError, MissingPart

SUPPLY = "sudo apt install qemu-utils"


def qemu_img(arguments: list[str], deadline: Deadline, *, folder: Path) -> str:
    """Run qemu-img in ``folder`` and return what it said. Raises MissingPart, InfrastructureError with its words."""
    try:
        done = subprocess.run(
            ["qemu-img", *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=max(0.001, deadline.remaining()), check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise MissingPart("qemu-img is not installed", hint=SUPPLY) from error
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(
            f"{deadline.what}: qemu-img {arguments[0]} did not end within {deadline.seconds:g} s",
            hint="The host's disk is slow or hangs.",
        ) from error
    if done.returncode != 0:
        raise InfrastructureError(
            f"{deadline.what}: qemu-img {arguments[0]} failed: {done.stderr.strip()[-500:] or done.returncode}",
            hint=f"See whether {folder} has enough space and may be written to.",
        )
    return done.stdout


def create(image: Path, size: int, deadline: Deadline) -> None:
    """Make an empty image of ``size`` bytes."""
    qemu_img(["create", "-q", "-f", "qcow2", image.name, str(size)], deadline, folder=image.parent)


def flatten(image: Path, target: Path, deadline: Deadline) -> None:
    """Write all that is in ``image`` and below it to the new image ``target``, and check that."""
    qemu_img(["convert", "-O", "qcow2", str(image), str(target)], deadline, folder=image.parent)
    qemu_img(["check", "-q", target.name], deadline, folder=target.parent)
