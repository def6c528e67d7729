# SPDX-License-Identifier: MIT
"""The installed package: the place of its data, and the command that installs an extra.

Templates and the sources of driver, twin and agent are package data in ``harness/data``. In a clone its entries are symbolic
links to ``guest_drivers`` and ``vm_templates``; hatchling follows them when it builds a wheel or an sdist. So a clone, an
editable installation and a wheel find the data in the same way. The data may belong to another user and be read-only:
everything built from them is built in the cache.
"""

from __future__ import annotations

import re
import sys
from importlib import resources
from pathlib import Path

from harness.errors import MissingPart

DISTRIBUTION = "hotplug-harness"
"""The package's name on a package index."""

PIPX_RECORD = "pipx_metadata.json"
"""The file that pipx writes into each environment that it makes (pipx: docs/how-pipx-works.md)."""


def data_folder(name: str) -> Path:
    """Return the folder ``guest_drivers`` or ``vm_templates`` as a real directory, for make and QEMU.

    Raises MissingPart if the package was copied without it, or is in an archive.
    """
    folder = resources.files("harness").joinpath("data", name)
    if isinstance(folder, Path) and folder.is_dir():
        return folder.resolve()
    raise MissingPart(
        f"the package's data are missing: {folder} is not a directory",
        hint="Install the wheel with pip or pipx, or clone the repository on a file system with symbolic links.",
    )


def missing_extra(what: str, extra: str, *further: str) -> MissingPart:
    """Return the error that says ``what`` is missing and which ``extra`` supplies it. ``further`` lines follow in its hint."""
    return MissingPart(what, hint="\n".join([f"Install it with: {install_extra(extra)}", *further]))


def install_extra(extra: str, prefix: Path | None = None) -> str:
    """Return the command that installs ``extra`` into the environment at ``prefix`` (default: the running one)."""
    if ((prefix or Path(sys.prefix)) / PIPX_RECORD).is_file() and (names := extra_packages(extra)):
        return f"pipx inject {DISTRIBUTION} {' '.join(names)}"
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def extra_packages(extra: str) -> list[str]:
    """Return the names of the packages in ``extra``, none if the package is not installed."""
    # Imported here: reading mail headers, as it does, is slow to load, and most commands need no extra.
    from importlib import metadata

    try:
        requirements = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    marked = re.compile(rf"extra == ['\"]{re.escape(extra)}['\"]")
    return [re.split(r"[\s<>=!~;\[(]", line, maxsplit=1)[0] for line in requirements if marked.search(line)]
