# SPDX-License-Identifier: MIT
"""The entries of a driver package's INF file that its catalog repeats: files, devices, date.

Only the syntax of the project's own INF files is supported (WD: install/general-syntax-rules-for-inf-files.md): one architecture,
no line continuations.
"""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import NamedTuple

from harness.errors import UsageError, system_errors

LARGEST = 1 << 20
_SECTION = re.compile(r"\[([^\]]+)\]")
_DATE = re.compile(r"(\d{2})/(\d{2})/(\d{4})")


class PackageInf(NamedTuple):
    """An INF file: the catalog that it names, the files that it copies, its devices' hardware IDs, its date."""

    path: Path
    catalog: str
    files: list[str]
    hardware: list[str]
    date: datetime.datetime


def read_inf(path: Path) -> PackageInf:
    """Read an INF file. Raises UsageError if an entry that a catalog needs is missing, or the file cannot be read."""
    with (
        system_errors(f"cannot read {path}", hint="Name the INF file of a driver package.", kind=UsageError),
        path.open("rb") as file,
    ):
        text = file.read(LARGEST).decode("utf-8-sig", "replace")
    sections = _sections(text)
    version = {key.lower(): value for key, value in sections.get("version", [])}
    found = _DATE.match(version.get("driverver", ""))
    catalog = version.get("catalogfile", "")
    files = [name for name, _ in sections.get("sourcedisksfiles", [])]
    if not found or not catalog or not files:
        raise UsageError(
            f"{path} lacks DriverVer, CatalogFile or [SourceDisksFiles]",
            hint="A driver package's INF file has all three (WD: install/inf-version-section.md).",
        )
    for name in (catalog, *files):
        if name != Path(name).name or "\\" in name:
            raise UsageError(f"{path}: {name!r} is not a file's name", hint="Name files without a folder.")
    month, day, year = map(int, found.groups())
    try:
        date = datetime.datetime(year, month, day, tzinfo=datetime.UTC)
    except ValueError as error:
        raise UsageError(
            f"{path}: DriverVer: {error}", hint="Write DriverVer = MM/DD/YYYY,w.x.y.z."
        ) from error
    return PackageInf(path, catalog, files, _hardware(sections), date)


def _sections(text: str) -> dict[str, list[tuple[str, str]]]:
    """Return the entries of each section, by the section's name in lower case. Values have no quotation marks."""
    sections: dict[str, list[tuple[str, str]]] = {}
    entries: list[tuple[str, str]] = []
    for raw in text.splitlines():
        line = raw.partition(";")[0].strip()
        if found := _SECTION.fullmatch(line):
            entries = sections.setdefault(found[1].lower(), [])
        elif "=" in line:
            key, _, value = line.partition("=")
            entries.append((key.strip(), value.strip().strip('"')))
    return sections


def _hardware(sections: dict[str, list[tuple[str, str]]]) -> list[str]:
    """Return the hardware IDs of all models, in lower case."""
    found: dict[str, None] = {}
    for _, value in sections.get("manufacturer", []):
        name, *decorations = (part.strip().lower() for part in value.split(","))
        for section in [name, *(f"{name}.{each}" for each in decorations)]:
            for _, model in sections.get(section, []):
                found.update(dict.fromkeys(part.strip().lower() for part in model.split(",")[1:]))
    return list(found)
