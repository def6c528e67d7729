# SPDX-License-Identifier: MIT
"""Overlays: disks that hold only what was written to them, on top of an image that never changes."""

from __future__ import annotations

from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.program import run_program


def make_overlay(file: Path, backing: Path, deadline: Deadline, *, format: str = "qcow2") -> None:  # noqa: A002
    """Make a new qcow2 overlay ``file`` on ``backing``, an image of ``format`` (QEMU: docs/tools/qemu-img.rst, create).

    Raises MissingPart without qemu-img, InfrastructureError with its words if the overlay cannot be made.
    """
    command = [
        "qemu-img", "create", "-q", "-f", "qcow2", "-F", format, "-b", str(backing.absolute()), str(file),
    ]  # fmt: skip
    made = run_program(command, deadline)
    if made.status:
        raise InfrastructureError(
            f"cannot make the overlay {file} on {backing}: {made.failure()}",
            hint="Is there room, and is the image readable?",
        )
