# SPDX-License-Identifier: MIT
"""The manifest next to a built driver: its sources and tools, and the label that says what it does not prove."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from harness.errors import BadDocument, system_errors

LABEL = "cross-built: never loaded by Windows"
"""The label of every cross-built driver, until a real Windows has loaded it."""


class DriverManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One build.

    ``sha256`` has the files' current SHA-256 by name (signing changes it). ``declarations`` names the headers used, ``own`` or
    ``KMDF_INC``. ``revision`` is the git revision of the sources. ``signer`` is the SHA-256 of the certificate, "" while
    unsigned. ``symbols`` is the GUID and ``symbols_age`` the age by which a debugger identifies the driver's PDB, "" and 0
    without one.
    """

    label: str
    sha256: dict[str, str]
    toolchain: str
    compiler: str
    linker: str
    kmdf: str
    declarations: str
    revision: str
    signer: str = ""
    symbols: str = ""
    symbols_age: int = 0


def path_of(driver: Path) -> Path:
    """Return the path of a driver's manifest: the driver's own name with ``.json``."""
    return driver.with_suffix(".json")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(driver: Path) -> DriverManifest | None:
    """Return the manifest next to a driver, None if there is none. Raises BadDocument if another program wrote it."""
    path = path_of(driver)
    try:
        return msgspec.json.decode(path.read_bytes(), type=DriverManifest)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadDocument(
            f"{path}: not a manifest of a built driver: {error}", hint="Delete it, or build again."
        ) from error


def save(driver: Path, manifest: DriverManifest) -> None:
    """Write the manifest next to a driver. Raises InfrastructureError."""
    path = path_of(driver)
    with system_errors(f"cannot write {path}"):
        path.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
