# SPDX-License-Identifier: MIT
"""UEFI firmware on this host, as its packages describe it (QEMU: docs/interop/firmware.json).

Only firmware without SMM and without Secure Boot is used. With SMM a processor can be added only if the firmware
supports it ("cpu hotplug with SMI wasn't enabled by firmware"). Test-signed drivers load only without Secure Boot
(Windows driver docs: "The TESTSIGNING boot configuration option").
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.errors import MissingPart
from harness.history.json_file import read_json

UNWANTED = {"requires-smm", "secure-boot", "enrolled-keys"}

DESCRIPTIONS = (
    Path("/etc/qemu/firmware"),
    Path("/usr/local/share/qemu/firmware"),
    Path("/usr/share/qemu/firmware"),
)
"""The folders of firmware descriptions. The first file of a name hides the others."""


class Ovmf(msgspec.Struct, frozen=True):
    """A pair of files: ``code`` to execute, and ``variables``, the empty store that each machine copies."""

    code: Path
    variables: Path


class _File(msgspec.Struct):
    filename: str
    format: str


class _Mapping(msgspec.Struct, rename="kebab"):
    device: str
    mode: str = "split"
    executable: _File | None = None
    nvram_template: _File | None = None


class _Target(msgspec.Struct):
    architecture: str
    machines: list[str]


class _Description(msgspec.Struct, rename="kebab"):
    interface_types: list[str]
    mapping: _Mapping
    targets: list[_Target]
    features: list[str]


def find_ovmf(folders: Sequence[Path] = DESCRIPTIONS) -> Ovmf:
    """Return the first pair of UEFI firmware for q35 without SMM. Raises MissingPart with what supplies it."""
    described: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            described.setdefault(file.name, file)
    for name in sorted(described):
        found = _pair(described[name])
        if found is not None:
            return found
    raise MissingPart(
        f"there is no UEFI firmware for q35 without SMM (looked in {', '.join(map(str, folders))})",
        hint="sudo apt install ovmf",
    )


def _pair(description: Path) -> Ovmf | None:
    # Distributions may link them. An empty file is the documented way to hide a description.
    found = read_json(description.resolve(), _Description)
    if found is None:
        return None
    mapping = found.mapping
    fits = any(
        target.architecture == "x86_64" and any(name.startswith("pc-q35") for name in target.machines)
        for target in found.targets
    )
    if not fits or "uefi" not in found.interface_types or UNWANTED & set(found.features):
        return None
    if (
        mapping.device != "flash"
        or mapping.mode != "split"
        or not mapping.executable
        or not mapping.nvram_template
    ):
        return None
    if (mapping.executable.format, mapping.nvram_template.format) != ("raw", "raw"):
        return None
    pair = Ovmf(Path(mapping.executable.filename), Path(mapping.nvram_template.filename))
    return pair if os.access(pair.code, os.R_OK) and os.access(pair.variables, os.R_OK) else None
