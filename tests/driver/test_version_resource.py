# SPDX-License-Identifier: MIT
"""Version resources: byte for byte those of Microsoft's resource compiler."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.driver.version_resource import FileVersion, Version, parse_version, version_resource

GIVEN = Path(__file__).resolve().parents[3] / "shared" / "data" / "wevt"
POWERSHELL = GIVEN / "PowerShell.Core.Instrumentation.version.bin"
LIBRARY, PRIVATE_BUILD = 2, 8


@pytest.mark.skipif(not POWERSHELL.is_file(), reason=f"there is no version resource at {GIVEN}")
def test_powershells() -> None:
    """The version that PowerShell ships is made of what it says."""
    made = version_resource(
        FileVersion(
            file=(10, 0, 10011, 16384),
            product=(10, 0, 10011, 16384),
            strings={
                "CompanyName": "Windows (R) Win 7 DDK provider",
                "FileDescription": "PowerShellCore",
                "FileVersion": "10.0.10011.16384",
                "InternalName": "PowerShell.Core.Instrumentation.dll",
                "LegalCopyright": "© Microsoft Corporation. All rights reserved.",
                "OriginalFilename": "PowerShell.Core.Instrumentation.dll",
                "ProductName": "Windows (R) Win 7 DDK driver",
                "ProductVersion": "10.0.10011.16384",
            },
            kind=LIBRARY,
            subtype=0,
            flags=PRIVATE_BUILD,
        )
    )
    assert POWERSHELL.read_bytes() == made


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.1.0", (0, 1, 0, 0)),
        ("1.2.3.4.5", (1, 2, 3, 4)),
        ("2.0rc1", (2, 0, 0, 0)),
        ("99999", (65535, 0, 0, 0)),
    ],
)
def test_versions(text: str, version: Version) -> None:
    """What is no number counts as zero, and no number is larger than its 16 bits."""
    assert version == parse_version(text)
