# SPDX-License-Identifier: MIT
"""The plugin's header before the tests: what they run on. Nothing is built or booted for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.testing.settings import Settings


def header_lines(settings: Settings, guests: Sequence[str]) -> list[str]:
    """Return a line for each guest and its image, and one for QEMU and the accelerator if a guest runs on QEMU.

    Missing parts are reported, never raised.
    """
    from harness.errors import HarnessError
    from harness.host.qemu_build import find_qemu
    from harness.run.options import is_process
    from harness.setup.cache import cache_directory

    cache = cache_directory(os.environ)
    lines = [f"hotplug: guest {name}, {_image(name, str(cache))}" for name in guests]
    if all(is_process(name) for name in guests):
        return lines
    try:
        found = find_qemu(settings["qemu"])
        qemu = f"{found.text} ({found.path})"
    except HarnessError as error:
        qemu = error.message
    lines.append(f"hotplug: {qemu}, accelerator {_accelerator(settings['accel'], str(cache))}")
    return lines


def _accelerator(asked: str, cache: str) -> str:
    from pathlib import Path

    from harness.host.kvm_probe import KVM, last

    if asked != "auto":
        return asked
    if not KVM.exists():
        return f"tcg (there is no {KVM})"
    known = last(Path(cache))
    if known is None:
        return "auto (KVM is tried by the first guest)"
    return f"{'kvm' if known.works else 'tcg'} (last tried: {known.reason})"


def _image(name: str, cache: str) -> str:
    """Return the digest of a guest's image, or that there is none."""
    from pathlib import Path

    if name == "twin":
        built = sorted(
            Path(cache).glob("twin/image-*/image.json"), key=lambda file: file.parent.stat().st_mtime
        )
        return (
            f"image {built[-1].parent.name.removeprefix('image-')[:12]} used last"
            if built
            else "image not built yet"
        )
    if name.startswith("windows"):
        return _template(name)
    return "made on the spot"


def _template(name: str) -> str:
    from harness.errors import HarnessError
    from harness.template.store import Store, store_directory

    try:
        built = Store(store_directory(os.environ)).built(name)
    except HarnessError as error:
        return error.message
    return f"template {built.digest()[:12]}" if built is not None else "template not built"
