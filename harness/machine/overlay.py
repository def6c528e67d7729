# SPDX-License-Identifier: MIT
"""Overlays: disks that hold only what was written to them, on top of an image that never changes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfrastructureError, MissingPart


def make_overlay(file: Path, backing: Path, deadline: Deadline, *, format: str = "qcow2") -> None:  # noqa: A002
    """Make a new qcow2 overlay ``file`` on ``backing``, an image of ``format`` (QEMU: docs/tools/qemu-img.rst, create).

    Raises MissingPart without qemu-img, InfrastructureError with its words if the overlay cannot be made.
    """
    command = [
        "qemu-img", "create", "-q", "-f", "qcow2", "-F", format, "-b", str(backing.absolute()), str(file),
    ]  # fmt: skip
    try:
        made = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=max(0.1, deadline.remaining())
        )
    except FileNotFoundError as error:
        raise MissingPart("qemu-img is not installed", hint="sudo apt-get install qemu-utils") from error
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(
            f"qemu-img did not make the overlay {file} within {deadline.seconds:g} s"
        ) from error
    if made.returncode != 0:
        raise InfrastructureError(
            f"cannot make the overlay {file} on {backing}: {made.stderr.strip()[-500:]}",
            hint="Is there room, and is the image readable?",
        )
