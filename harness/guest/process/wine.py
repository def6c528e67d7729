# SPDX-License-Identifier: MIT
"""The guest ``wine``: the driver's Windows file, byte for byte, executed by Wine, with ``hpnctl.exe`` as its client.

A double of the framework's loader and the project's own double of the NT kernel stand in for what Wine lacks. The guest
shows what a compiler, a linker or the binary interface could have got wrong, and nothing about Windows.

The table of guests imports this module in every run, so the driver's build is imported where it is used.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.driver.source import digest_of_folders, driver_folder, makefile
from harness.errors import GuestRefused, InfrastructureError, MissingPart
from harness.guest.bootable import Bootable, GuestOptions
from harness.guest.process.guest import ProcessGuest, ProcessType
from harness.guest.process.machine import ProcessMachine
from harness.guest.process.wine_prefix import WinePrefix, prepare_prefix
from harness.history.writer import HistoryWriter
from harness.program import run_program
from harness.setup.cache import Cache
from harness.setup.parts import part

UNUSED = ("llvm",)
"""Packages that only tests need."""

KEY = "HKLM\\System\\CurrentControlSet\\Services\\{driver}\\Parameters"
EXISTS = "1073"
"""ERROR_SERVICE_EXISTS: the driver was loaded before in this run."""

DOUBLE = ("wdfldr.sys", "drive.exe")
PNP = "hpnotifypnp"
"""The service's name in the INF file."""

DEVICE = "ROOT\\HPNOTIFY"
SYSTEM = "C:\\windows\\system32"
PLACE = "C:\\hpn"


class WineGuest(ProcessGuest):
    """The guest ``wine``: the client in Wine starts the driver's service, hpnctl sends the driver requests."""

    def __init__(self, machine: ProcessMachine, writer: HistoryWriter, **options: Any) -> None:
        super().__init__(machine, writer, **options)
        self._devices: set[str] = set()

    def _load(self, driver: str, values: dict[str, int], deadline: Deadline) -> None:
        """Call StartService, with the values in the registry; install a Plug and Play driver by its INF file, on a root device.

        Raises GuestRefused with ``opt_out``: the devices are Wine's.
        """
        if values.get("RebalanceOptOut"):
            raise self._machine.unshown("devices that opted out of rebalances")
        pnp = bool(values["PlugAndPlay"])
        service = PNP if pnp else driver
        path = f"{PLACE}\\hpnotify.sys"
        if not pnp and driver != "hpnotify":
            # A file is loaded only once, under any service name. So each service has its own copy, named after it.
            copy = f"{PLACE}\\{driver}.sys"
            self._ask(f"run {SYSTEM}\\cmd.exe /c copy /y {path} {copy}", deadline)
            path = copy
        # The service exists before the INF file is installed, so that it runs in the process of the double.
        self._ask(f"install {service} {path}", deadline, EXISTS)
        key = KEY.format(driver=service)
        for name, value in values.items():
            words = f"add {key} /v {name} /t REG_DWORD /d {value} /f"
            self._ask(f"run {SYSTEM}\\reg.exe {words}", deadline)
        if pnp:
            self._devices.add(driver)
            self._ask(f"device {DEVICE} {PLACE}\\hpnotify.inf", deadline)
        else:
            self._ask(f"load {driver}", deadline)

    def _unload(self, driver: str, deadline: Deadline) -> None:
        """Run ``hpnctl detach``, remove the device if there is one, and stop the service."""
        self._control(driver, "detach", deadline)
        if driver in self._devices:
            self._ask(f"remove {DEVICE}", deadline)
        self._ask(f"unload {self._service(driver)}", deadline)
        self._devices.discard(driver)

    def _service(self, driver: str) -> str:
        return PNP if driver in self._devices else driver

    def veto_next(
        self, deadline: Deadline, *, status: int = 0xC000009A, nth: int = 1, driver: str = "hpnotify"
    ) -> None:
        """Run ``hpnctl veto``."""
        self._control(driver, f"veto --nth {nth} --status {status:#x}", deadline)

    def delay_start(self, milliseconds: int, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Run ``hpnctl delay``."""
        self._control(driver, f"delay {milliseconds}", deadline)

    def register(
        self, which: str, deadline: Deadline, *, existing: bool = False, driver: str = "hpnotify"
    ) -> None:
        """Run ``hpnctl register``."""
        self._control(driver, f"register {which}{' --existing' if existing else ''}", deadline)

    def deregister(self, which: str, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Run ``hpnctl deregister``."""
        self._control(driver, f"deregister {which}", deadline)

    def mark(self, nonce: str, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Run ``hpnctl mark``."""
        self._control(driver, f"mark {nonce}", deadline)

    def _control(self, driver: str, words: str, deadline: Deadline) -> None:
        self._ask(f"run {PLACE}\\hpnctl.exe --device {self._service(driver)} {words}", deadline)

    def _ask(self, line: str, deadline: Deadline, *fine: str) -> None:
        word = self._machine.ask(line, deadline)
        if word not in ("0", *fine):
            kind = "exit code" if line.startswith("run ") else "Windows error"
            raise GuestRefused(
                f"{line.split(' ')[0]!r} ended with {kind} {word}: {line}",
                hint=f"What the programs said is in {self._machine.log}.",
            )


class WineType(ProcessType):
    """The guest type ``wine``: the driver's file in Wine."""

    label = "wine"
    guest = WineGuest

    def prepare(self, options: GuestOptions, deadline: Deadline, progress: Callable[[str], None]) -> Bootable:
        """Build driver, double and prefix, or take them from the cache. Raises MissingPart, which names the package."""
        from harness.driver import manifest

        missing = [need for need in part("wine").missing() if need.package not in UNUSED]
        if missing:
            raise MissingPart(
                f"the guest 'wine' needs {missing[0].why} ({missing[0].evidence[0]}), which is not installed",
                hint=f"Install it with: apt-get install {' '.join(need.package for need in missing)}",
            )
        cache = Cache(options.cache, progress)
        driver, said = _driver(options.driver, cache, deadline, progress)
        double = _double(cache, deadline, progress)
        prefix = prepare_prefix(cache, part("wine").needs[0].found(), deadline, progress)

        @contextmanager
        def place(within: Deadline) -> Iterator[None]:
            with prefix.used(within, progress):
                _install(prefix, double, driver)
                yield

        return self.bootable(
            options,
            digest=manifest.digest(driver),
            content={driver.name: cache.content.sha256(driver)},
            description=prefix.version,
            driver=said,
            command=prefix.command(prefix.drive / "hpn" / "drive.exe"),
            transcript=prefix.drive / "hpnotify-transcript.log",
            opening=(f"install hpnwine {SYSTEM}\\drivers\\wdfldr.sys", "load hpnwine"),
            closing=("finish", "unload hpnwine"),
            place=place,
        )


def _driver(
    wanted: Path | None, cache: Cache, deadline: Deadline, progress: Callable[[str], None]
) -> tuple[Path, str]:
    """Return the driver's file, with its client next to it, and a description of it."""
    from harness.driver import manifest
    from harness.guest.signed_driver import driver_with_tool, signed_driver

    path = driver_with_tool(signed_driver(cache, deadline, progress) if wanted is None else wanted)
    known = manifest.load(path)
    label = known.label if known is not None else "of unknown origin: it has no manifest"
    return path, f"{path.name} sha256 {manifest.digest(path)}; {label}"


def _double(cache: Cache, deadline: Deadline, progress: Callable[[str], None]) -> Path:
    folder = driver_folder()
    compiler = run_program(["x86_64-w64-mingw32-gcc", "--version"], deadline).first_line
    digest = digest_of_folders(folder, ("wine", "kmdf", "nt", "cross"), compiler)

    def make(place: Path, _lock: int) -> None:
        progress("building the double of the framework's loader")
        done = run_program(
            ["make", "-s", "-j2", "-f", str(makefile(folder, "wine", place)), f"OUT={place}"], deadline
        )
        if done.status:
            raise InfrastructureError(
                f"the double for Wine does not build: {done.failure()}",
                hint="A missing header comes with: apt-get install gcc-mingw-w64-x86-64",
            )

    return cache.built("wine-double", digest[:20], make, deadline, clone=folder.parents[1], sealed=True)


def _install(prefix: WinePrefix, double: Path, driver: Path) -> None:
    """Copy the files to where Wine finds them, with an empty transcript. Raises InfrastructureError."""
    from harness.driver import build as cross

    place = prefix.drive / "hpn"
    system = prefix.drive / "windows" / "system32" / "drivers"
    try:
        place.mkdir(exist_ok=True)
        shutil.copy(double / DOUBLE[0], system)
        shutil.copy(double / DOUBLE[1], place)
        shutil.copy(driver, place / cross.DRIVER)
        shutil.copy(driver.with_name(cross.TOOL), place / cross.TOOL)
        # Wine 8 does not support a version in the decoration of a Models section.
        inf = (driver_folder() / "wdk" / "hpnotify.inf").read_text(encoding="ascii")
        (place / "hpnotify.inf").write_text(inf.replace("NTamd64.10.0", "NTamd64"), encoding="ascii")
        (prefix.drive / "hpnotify-transcript.log").write_bytes(b"")
    except OSError as error:
        raise InfrastructureError(
            f"cannot copy the driver into Wine's prefix {prefix.path}: {error}",
            hint="Free some disk space, or set HOTPLUG_HARNESS_CACHE to another directory.",
        ) from error
