# SPDX-License-Identifier: MIT
"""The driver for guests that execute its Windows file: cross-built, signed for tests, and kept until its sources change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.deadline import Deadline
from harness.driver import build as cross
from harness.driver import certificate
from harness.driver.signature import sign
from harness.driver.source import digest_of_folders, driver_folder
from harness.program import run_program
from harness.setup.cache import Cache


def signed_driver(cache: Cache, deadline: Deadline, progress: Callable[[str], None]) -> Path:
    """Return the folder of the driver and its control program. Raises what building and signing raise."""
    folder = driver_folder()
    compiler = run_program(["x86_64-w64-mingw32-gcc", "--version"], deadline).output.partition("\n")[0]
    digest = digest_of_folders(folder, ("src", "cross", "tools"), compiler)

    def make(place: Path, _lock: int) -> None:
        progress("cross-building and signing the driver")
        driver, _ = cross.build(place, deadline)
        sign(driver, certificate.ensure(place / "keys"), deadline)

    return cache.built("signed-driver", digest[:20], make, deadline, clone=folder.parents[1], sealed=True)
