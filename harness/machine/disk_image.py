# SPDX-License-Identifier: MIT
"""Disk images as files: created, overlaid and flattened with qemu-img."""

from __future__ import annotations

from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.program import run_program


def qemu_img(arguments: list[str], deadline: Deadline, *, folder: Path) -> str:
    """Run qemu-img in ``folder`` and return its output. Raises MissingPart, InfrastructureError with its words."""
    done = run_program(
        ["qemu-img", *arguments], deadline, cwd=folder, apart=True, slow="The host's disk is slow or hangs."
    )
    if done.status:
        raise InfrastructureError(
            f"{deadline.what}: qemu-img {arguments[0]} failed: {done.failure()}",
            hint=f"See whether {folder} has enough space and may be written to.",
        )
    return done.output


def create(image: Path, size: int, deadline: Deadline) -> None:
    """Make an empty image of ``size`` bytes."""
    qemu_img(["create", "-q", "-f", "qcow2", image.name, str(size)], deadline, folder=image.parent)


def make_overlay(file: Path, backing: Path, deadline: Deadline, *, format: str = "qcow2") -> None:  # noqa: A002
    """Make ``file``, an overlay that holds only its own changes, on ``backing``, an image of ``format`` that never changes.

    QEMU: docs/tools/qemu-img.rst, create.
    """
    command = ["create", "-q", "-f", "qcow2", "-F", format, "-b", str(backing.absolute()), file.name]
    qemu_img(command, deadline, folder=file.parent)


def rebase(image: Path, backing: Path, deadline: Deadline) -> None:
    """Set the backing file of ``image`` to the same image elsewhere, also on another host (docs/tools/qemu-img.rst, rebase -u)."""
    qemu_img(["rebase", "-u", "-F", "qcow2", "-b", str(backing), image.name], deadline, folder=image.parent)


def flatten(image: Path, target: Path, deadline: Deadline) -> None:
    """Write the content of ``image`` and its backing files to the new image ``target``, and check it."""
    qemu_img(["convert", "-O", "qcow2", str(image), str(target)], deadline, folder=image.parent)
    qemu_img(["check", "-q", target.name], deadline, folder=target.parent)
