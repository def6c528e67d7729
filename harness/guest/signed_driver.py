# SPDX-License-Identifier: MIT
"""The driver for guests that execute its Windows file: cross-built, signed for tests, and cached until its sources change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness import __version__
from harness.deadline import Deadline
from harness.driver import build as cross
from harness.driver import certificate
from harness.driver.catalog import sign_package
from harness.driver.source import digest_of_folders, driver_folder
from harness.errors import UsageError
from harness.invocation import invocation
from harness.program import run_program
from harness.setup.cache import Cache


def signed_driver(cache: Cache, deadline: Deadline, progress: Callable[[str], None]) -> Path:
    """Return the folder of the driver, its control program and its signed driver package.

    Raises the errors of building and signing.
    """
    folder = driver_folder()
    tools = cross.TOOLCHAINS[cross.DEFAULT]
    programs = (tools.compiler, tools.linker)
    versions = [run_program([program, "--version"], deadline).first_line for program in programs]
    own = digest_of_folders(Path(certificate.__file__).parents[1], ("driver",))
    digest = digest_of_folders(folder, ("src", "kmdf", "cross", "tools", "wdk"), *versions, __version__, own)

    def make(place: Path, _lock: int) -> None:
        progress("cross-building and signing the driver")
        driver, _ = cross.build(place, deadline)
        sign_package(driver, certificate.ensure(place / "keys"), deadline)

    return cache.built("signed-driver", digest[:20], make, deadline, clone=folder.parents[1], sealed=True)


def driver_with_tool(path: Path) -> Path:
    """Return the driver's file at ``path``, a folder or the file itself. Raises UsageError without it or its control program."""
    driver = path / cross.DRIVER if path.is_dir() else path
    for file in (driver, driver.with_name(cross.TOOL)):
        if not file.is_file():
            raise UsageError(
                f"there is no {file}",
                hint=f"A driver's folder holds {cross.DRIVER} and {cross.TOOL}. This makes one: "
                f"{invocation('driver', 'build', '--out', 'DIR')}",
            )
    return driver
