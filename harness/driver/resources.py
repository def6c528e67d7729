# SPDX-License-Identifier: MIT
"""The resources of the driver and of its tool: the version, and the driver's event descriptions."""

from __future__ import annotations

from pathlib import Path

from harness import __version__
from harness.driver.instrumentation import source
from harness.driver.instrumentation.compiler import compile_manifest
from harness.driver.instrumentation.products import resources
from harness.driver.resource_file import ENGLISH, VERSION, Resource, resource_file
from harness.driver.version_resource import (
    APPLICATION_FILE,
    DRIVER_FILE,
    SYSTEM_DRIVER,
    FileVersion,
    parse_version,
    version_resource,
)

NUMBER = 1
DESCRIPTIONS = {
    "hpnotify.sys": "Hotplug notification driver",
    "hpnctl.exe": "Client of the hotplug notification driver",
}
"""The files' descriptions in their versions."""


def write_resources(folder: Path, place: Path) -> list[Path]:
    """Write ``hpnotify.res`` and ``hpnctl.res`` into ``place`` and return their paths; the sources are in ``folder``.

    Raises BadDocument if the driver's manifest does not compile.
    """
    manifest = folder / "src" / "hpnotify.man"
    events = resources(compile_manifest(source.read(manifest), manifest.name))
    found = []
    for file in DESCRIPTIONS:
        path = place / Path(file).with_suffix(".res").name
        driver = file.endswith(".sys")
        path.write_bytes(resource_file([*(events if driver else ()), _version(file)]))
        found.append(path)
    return found


def _version(file: str) -> Resource:
    """Return the version resource of a file: the project's version, with nothing that differs between two builds."""
    number = parse_version(__version__)
    driver = file.endswith(".sys")
    version = FileVersion(
        file=number,
        product=number,
        strings={
            "CompanyName": "Hotplug Harness",
            "FileDescription": DESCRIPTIONS[file],
            "FileVersion": __version__,
            "InternalName": file,
            "LegalCopyright": "MIT licence",
            "OriginalFilename": file,
            "ProductName": "Hotplug Harness",
            "ProductVersion": __version__,
        },
        kind=DRIVER_FILE if driver else APPLICATION_FILE,
        subtype=SYSTEM_DRIVER if driver else 0,
    )
    return Resource(VERSION, NUMBER, ENGLISH, version_resource(version))
