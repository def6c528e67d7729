# SPDX-License-Identifier: MIT
"""The cross build: ``hpnotify.sys`` and ``hpnctl.exe`` made on Linux by mingw-w64's gcc or by clang, checked, with its manifest.

``guest_drivers/hpnotify/cross/Makefile`` does the work. This module finds the sources, sets the checksum, refuses an image
that Windows would not load, and installs a complete set of files or none.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from harness.choice import check_choice
from harness.deadline import Deadline
from harness.driver import manifest
from harness.driver.image import check_image, load_pefile, set_checksum
from harness.driver.manifest import LABEL, DriverManifest
from harness.driver.resources import write_resources
from harness.driver.source import driver_folder, makefile, revision
from harness.driver.symbols import symbols_identity
from harness.errors import InfrastructureError, UsageError, system_errors
from harness.program import run_program

KMDF = "1.15"
"""The framework version that the driver is built for: that of Windows 10 1507, so that every Server since 2016 has it."""

DRIVER = "hpnotify.sys"
TOOL = "hpnctl.exe"
PRODUCTS = (DRIVER, TOOL)
PACKAGE = "hpnotify.inf"
"""The INF file that installs the driver as a Plug and Play driver. It is next to the driver; the catalog is made from it."""


SYMBOLS = "hpnotify.pdb"


class Toolchain(NamedTuple):
    """A compiler and a linker, by the programs that print their versions, and whether they make symbols for WinDbg."""

    name: str
    compiler: str
    linker: str
    symbols: bool


TOOLCHAINS = {
    "clang": Toolchain("clang", "clang", "lld-link", symbols=True),
    "gcc": Toolchain("gcc", "x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-ld", symbols=False),
}
DEFAULT = "clang"
"""The toolchain that makes symbols. Both use mingw-w64's headers."""


def build(
    out: Path, deadline: Deadline, *, toolchain: str = DEFAULT, kmdf_inc: Path | None = None
) -> tuple[Path, DriverManifest]:
    """Build the driver into the folder ``out`` and return its path and manifest. The same sources give the same bytes.

    ``kmdf_inc`` is the folder of a WDK with KMDF's ``wdf.h`` (``…/Include/wdf/kmdf/1.15``), used instead of the
    project's own declarations; the build fails where the two disagree. Raises UsageError (no such toolchain, no wdf.h),
    MissingPart (compiler, pefile) and InfrastructureError (does not compile, cannot write, image not loadable).
    """
    check_choice("toolchain", toolchain, TOOLCHAINS)
    tools = TOOLCHAINS[toolchain]
    if kmdf_inc is not None and not (kmdf_inc / "wdf.h").is_file():
        raise UsageError(
            f"there is no wdf.h in {kmdf_inc}",
            hint="Name the folder of a WDK that holds it: …/Include/wdf/kmdf/1.15",
        )
    load_pefile()
    folder = driver_folder()
    versions = [run_program([program, "--version"], deadline) for program in (tools.compiler, tools.linker)]
    with system_errors(f"cannot build the driver in {out}", hint="Name another folder with --out."):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".build-") as temporary:
            made = _make(folder, Path(temporary), tools, kmdf_inc, deadline)
            symbols = symbols_identity(Path(temporary) / DRIVER)
            record = DriverManifest(
                label=LABEL,
                sha256={path.name: manifest.digest(path) for path in made},
                toolchain=tools.name,
                compiler=versions[0].first_line,
                linker=versions[1].first_line,
                kmdf=KMDF,
                declarations="own" if kmdf_inc is None else "KMDF_INC",
                revision=revision(folder, deadline),
                symbols=symbols.guid if symbols else "",
                symbols_age=symbols.age if symbols else 0,
            )
            (out / SYMBOLS).unlink(missing_ok=True)
            for path in made:
                path.replace(out / path.name)
    manifest.save(out / DRIVER, record)
    return out / DRIVER, record


def _make(
    folder: Path, place: Path, tools: Toolchain, kmdf_inc: Path | None, deadline: Deadline
) -> list[Path]:
    """Run make, finish the driver's image, and return the files made."""
    write_resources(folder, place)
    command = [
        "make", "-s", f"-j{os.cpu_count() or 1}", "-f", str(makefile(folder, "cross", place.resolve())),
        f"OUT={os.path.realpath(place)}", f"TOOLCHAIN={tools.name}", f"RESOURCES={os.path.realpath(place)}",
        f"KMDF_INC={kmdf_inc.resolve() if kmdf_inc else ''}",
    ]  # fmt: skip
    done = run_program(command, deadline)
    if done.status:
        raise InfrastructureError(
            f"the driver does not build with {tools.name}: {done.failure()}",
            hint="A missing header or program comes with: apt-get install gcc-mingw-w64-x86-64 clang lld",
        )
    driver = place / DRIVER
    set_checksum(driver)
    wrong = [f"{check.name}: {check.detail}" for check in check_image(driver) if not check.ok]
    if wrong:
        raise InfrastructureError(
            f"{tools.name} made an image that Windows would not load: {'; '.join(wrong)}",
            hint="Try the other toolchain, and report this one's version.",
        )
    shutil.copyfile(folder / "wdk" / PACKAGE, place / PACKAGE)
    symbols = [SYMBOLS] if tools.symbols else []
    return [place / name for name in (*PRODUCTS, PACKAGE, *symbols)]
