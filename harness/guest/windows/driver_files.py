# SPDX-License-Identifier: MIT
"""The driver that a run installs in Windows: its file, the control program next to it, and what is known of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.driver import build as cross
from harness.driver import manifest
from harness.errors import UsageError
from harness.guest.signed_driver import signed_driver
from harness.invocation import invocation
from harness.setup.cache import Cache

INF = "hpnotify.inf"


class DriverFiles(msgspec.Struct, frozen=True, kw_only=True):
    """``driver`` and ``tool`` are there; ``package`` is the folder of an INF file with its catalog, None without one.

    ``certificate`` is the one to be trusted in the guest, in DER, None if the signature needs none. ``label`` says what
    the file is in words.
    """

    driver: Path
    tool: Path
    sha256: str
    label: str
    certificate: Path | None = None
    package: Path | None = None

    @property
    def description(self) -> str:
        """For ``run.json``."""
        return f"{self.driver.name} sha256 {self.sha256}; {self.label}"


def find_driver(
    wanted: Path | None, cache: Path, deadline: Deadline, progress: Callable[[str], None]
) -> DriverFiles:
    """Return the driver in ``wanted``, a folder or the file itself; None is a cross build, signed for tests.

    Raises UsageError for a folder without it, and what building and signing raise.
    """
    path = wanted if wanted is not None else signed_driver(Cache(cache, progress), deadline, progress)
    driver = path / cross.DRIVER if path.is_dir() else path
    tool = driver.with_name(cross.TOOL)
    for file in (driver, tool):
        if not file.is_file():
            raise UsageError(
                f"there is no {file}",
                hint=f"A driver's folder holds {cross.DRIVER} and {cross.TOOL}. This makes one: "
                f"{invocation('driver', 'build', '--out', 'DIR')}",
            )
    signer = next(iter(sorted(driver.parent.glob("keys/*.cer")) + sorted(driver.parent.glob("*.cer"))), None)
    inf = driver.with_name(INF)
    return DriverFiles(
        driver=driver,
        tool=tool,
        sha256=manifest.digest(driver),
        label=_label(driver),
        certificate=signer,
        package=inf.parent if inf.is_file() and inf.with_suffix(".cat").is_file() else None,
    )


def _label(driver: Path) -> str:
    known = manifest.load(driver)
    if known is None:
        return "of unknown origin: it has no manifest"
    if known.sha256.get(driver.name) != manifest.digest(driver):
        return f"not the file that its manifest describes ({known.label})"
    return known.label if known.signer else f"{known.label}; not signed"
