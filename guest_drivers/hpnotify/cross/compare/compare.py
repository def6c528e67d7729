# SPDX-License-Identifier: MIT
"""Compares our KMDF 1.15 declarations with Microsoft's: ``python3 compare.py KMDF_INC``.

KMDF_INC is the folder ``wdf/kmdf/1.15`` of a WDK, or of the headers that Microsoft publishes. Nothing of it is kept:
a copy in a temporary folder is made fit for gcc and a file system that tells upper from lower case.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CROSS = Path(__file__).resolve().parents[1]
COMPILER = [
    "x86_64-w64-mingw32-gcc", "-std=gnu11", "-fms-extensions", "-w", "-D_AMD64_", "-D_WIN64",
    "-D_WIN32_WINNT=0x0A00", "-DNTDDI_VERSION=0x0A000000", "-isystem", "/usr/share/mingw-w64/include/ddk",
]  # fmt: skip
INCLUDE = re.compile(r'#include\s*[<"]([A-Za-z0-9]+\.h)[>"]')
REQUEST_TYPE = re.compile(r"typedef enum _WDF_REQUEST_TYPE \{.*?\} WDF_REQUEST_TYPE;", re.DOTALL)
FORWARD = "typedef enum _WDF_REQUEST_TYPE WDF_REQUEST_TYPE;"


def made_fit(source: Path, folder: Path) -> Path:
    """Copy the headers; gcc takes no enumeration that is declared before it is defined."""
    copy = folder / "kmdf"
    shutil.copytree(source, copy)
    headers = {path.name.lower(): path for path in copy.glob("*.h")}
    for header in list(headers.values()):
        for name in INCLUDE.findall(header.read_text("latin-1")):
            found = headers.get(name.lower())
            if found is not None and not (copy / name).exists():
                (copy / name).symlink_to(found.name)
    request = headers["wdfrequest.h"].read_text("latin-1")
    definition = REQUEST_TYPE.search(request)
    device = headers["wdfdevice.h"].read_text("latin-1")
    if definition is not None and FORWARD in device:
        headers["wdfrequest.h"].write_text(request.replace(definition[0], ""), "latin-1")
        headers["wdfdevice.h"].write_text(device.replace(FORWARD, definition[0]), "latin-1")
    return copy


def values(folder: Path, name: str, *options: str) -> bytes:
    """Compile values.c and return the numbers in it."""
    target = folder / f"{name}.o"
    source = CROSS / "compare" / "values.c"
    subprocess.run([*COMPILER, *options, "-c", str(source), "-o", str(target)], check=True)
    plain = folder / f"{name}.bin"
    subprocess.run(
        ["x86_64-w64-mingw32-objcopy", "-O", "binary", "-j", ".rdata", str(target), str(plain)], check=True
    )
    return plain.read_bytes()


def main(source: Path) -> int:
    """Return 0 if all numbers are equal, 1 with the places that differ otherwise."""
    if not (source / "wdf.h").is_file():
        sys.stderr.write(f"{source} holds no wdf.h; give the folder wdf/kmdf/1.15\n")
        return 64
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = values(folder, "ours", "-include", str(CROSS / "include/shim.h"), f"-I{CROSS / 'include'}")
        theirs = values(
            folder, "theirs", "-DKMDF_MAJOR_VERSION=1", "-DKMDF_MINOR_VERSION=15",
            f"-I{made_fit(source, folder)}",
        )  # fmt: skip
    differing = [at // 8 for at in range(0, len(ours), 8) if ours[at : at + 8] != theirs[at : at + 8]]
    sys.stdout.write(f"{len(ours) // 8} values compared, {len(differing)} differ{differing or ''}\n")
    return 1 if differing or len(ours) != len(theirs) else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.stderr.write("usage: compare.py KMDF_INC\n")
        raise SystemExit(64)
    raise SystemExit(main(Path(sys.argv[1])))
