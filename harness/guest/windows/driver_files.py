# SPDX-License-Identifier: MIT
"""The driver that a run installs in Windows: its file, the control program next to it, and what is known about both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.capture.mapping.driver_map import DriverMap
from harness.deadline import Deadline
from harness.driver import build as cross
from harness.driver import manifest
from harness.driver.image import check_image
from harness.errors import UsageError
from harness.guest.signed_driver import driver_with_tool, signed_driver
from harness.setup.cache import Cache

INF = "hpnotify.inf"
PNP_SERVICE = "hpnotifypnp"
"""The service that ``hpnotify.inf`` installs."""


class DriverFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A driver's files. ``tool`` exists, and so does ``driver``, unless it is None for a driver that the guest has itself.

    ``package`` is the folder of the INF file ``inf`` with its catalog, None without one. ``pnp_service`` is the service that
    it installs. ``certificate`` is the one to be trusted in the guest, in DER, None if the signature needs none. ``label``
    describes the file.
    """

    driver: Path | None
    tool: Path
    sha256: str
    label: str
    certificate: Path | None = None
    package: Path | None = None
    inf: str = INF
    pnp_service: str = PNP_SERVICE

    @property
    def description(self) -> str:
        """The driver's description in ``run.json``."""
        if self.driver is None:
            return self.label
        return f"{self.driver.name} sha256 {self.sha256}; {self.label}"


def find_driver(
    wanted: Path | None, cache: Path, deadline: Deadline, progress: Callable[[str], None]
) -> DriverFiles:
    """Return the driver in ``wanted``, a folder or the file itself; None selects a cross build, signed for tests.

    Raises UsageError for a folder without a driver, and the errors of building and signing.
    """
    path = wanted if wanted is not None else signed_driver(Cache(cache, progress), deadline, progress)
    driver = driver_with_tool(path)
    return DriverFiles(
        driver=driver,
        tool=driver.with_name(cross.TOOL),
        sha256=manifest.digest(driver),
        label=_label(driver),
        certificate=_signer(driver.parent),
        package=_package(driver.with_name(INF)),
    )


def find_mapped(
    wanted: Path | None,
    mapped: DriverMap,
    cache: Path,
    deadline: Deadline,
    progress: Callable[[str], None],
) -> DriverFiles:
    """Return the files of another driver: ``wanted`` is its file or folder, None for one that the guest has.

    The control program, which counts processors and controls traces, is the one next to it or the harness's own. Raises
    UsageError for a folder without the driver, for a file that is not a driver for x64, or if no driver is named.
    """
    name = mapped.service or mapped.driver
    driver = None
    if wanted is not None:
        driver = wanted / f"{mapped.driver}.sys" if wanted.is_dir() else wanted
        if not driver.is_file():
            there = sorted(file.name for file in wanted.glob("*.sys"))
            raise UsageError(
                f"there is no {driver}, and {mapped.files[0]} maps the driver {mapped.driver!r}; "
                f"drivers in the folder: {', '.join(there) or 'none'}",
                hint="Give the file itself: --driver FILE.",
            )
        _refuse_image(driver)
    elif not mapped.service:
        raise UsageError(
            f"{mapped.files[0]} maps the driver {mapped.driver!r}, and nothing says where the driver is",
            hint=f"Give it with --driver, {mapped.driver}.sys or its folder. For a driver that the template has, say in the map: "
            'service = "NAME".',
        )
    tool = driver.with_name(cross.TOOL) if driver is not None else Path()
    if not tool.is_file():
        tool = signed_driver(Cache(cache, progress), deadline, progress) / cross.TOOL
    sha256 = manifest.digest(driver) if driver is not None else ""
    return DriverFiles(
        driver=driver,
        tool=tool,
        sha256=sha256,
        label=f"{mapped.driver}, described by a map"
        if driver
        else f"{mapped.driver}, the template's own service {name}",
        certificate=_signer(driver.parent) if driver is not None else None,
        package=_package(driver.with_suffix(".inf")) if driver is not None else None,
        inf=f"{driver.stem}.inf" if driver is not None else "",
        pnp_service=name,
    )


def _refuse_image(driver: Path) -> None:
    """Raise UsageError for a file that no x64 Windows loads as a driver, before anything boots."""
    wrong = [
        check for check in check_image(driver) if check.name in ("machine", "subsystem") and not check.ok
    ]
    if wrong:
        raise UsageError(
            f"{driver} is not a driver for this guest: {wrong[0].name}: {wrong[0].detail}",
            hint="Give the x64 build of the driver.",
        )


def _signer(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("keys/*.cer")) + sorted(folder.glob("*.cer"))), None)


def _package(inf: Path) -> Path | None:
    return inf.parent if inf.is_file() and inf.with_suffix(".cat").is_file() else None


def _label(driver: Path) -> str:
    known = manifest.load(driver)
    if known is None:
        return "of unknown origin: it has no manifest"
    if known.sha256.get(driver.name) != manifest.digest(driver):
        return f"not the file that its manifest describes ({known.label})"
    return known.label if known.signer else f"{known.label}; not signed"
