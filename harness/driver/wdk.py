# SPDX-License-Identifier: MIT
"""The WDK build: ``hpnotify.sys`` made by Microsoft's compiler, in a Windows guest with the Enterprise WDK in its drive.

The sources are copied into the guest, ``wdk/build.cmd`` runs there, and its products are copied back with their logs. The
caller connects to the guest: :class:`BuildGuest` is the interface, and a transport of ``harness.guest`` implements it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from harness.deadline import Deadline
from harness.driver import manifest
from harness.driver.build import DRIVER, KMDF
from harness.driver.image import ImageCheck, check_image
from harness.driver.manifest import DriverManifest
from harness.driver.resources import write_resources
from harness.driver.source import driver_folder, revision
from harness.errors import GuestError, GuestRefused, UsageError, system_errors

WDK_LABEL = "WDK-built"
"""The label of such a driver. ``pytest -m hardware`` shows whether Windows loads it."""

SOURCES = {"src": ("*.c", "*.h"), "wdk": ("*.cmd", "*.inf", "*.vcxproj")}
"""The input of the WDK, by folder. The folders are next to each other in the guest, as here."""

SECTOR = 2048
DESCRIPTORS = 16
"""The sector at which an ISO's volume descriptors begin (ECMA-119, 6.2.1; ECMA-167, part 2, 8.3.1)."""

VOLUMES = (b"CD001", b"BEA01")
"""The first descriptor's identifier: ISO 9660, or the extended area of UDF. The Enterprise WDK's medium may be either."""


class CommandAnswer(Protocol):
    """The result of a command."""

    @property
    def exit_code(self) -> int:
        """The exit code, 0 for success."""

    @property
    def stdout(self) -> str:
        """Its standard output."""

    @property
    def stderr(self) -> str:
        """Its standard error."""


class BuildGuest(Protocol):
    """A guest to build in. Each method raises GuestError if the guest cannot be reached or refuses."""

    def run(self, command: str, deadline: Deadline) -> CommandAnswer:
        """Run a command line of the guest's shell."""

    def put(self, source: Path, target: str, deadline: Deadline) -> object:
        """Copy a file into the guest, into a folder that exists."""

    def get(self, source: str, target: Path, deadline: Deadline, *, limit: int) -> object:
        """Copy a file of at most ``limit`` bytes out of the guest. Raises GuestRefused if there is none."""


LARGEST = 256 << 20
"""Bytes of the largest file that is taken from the guest."""


class ShellWords(NamedTuple):
    """The commands in the language of a guest's shell. ``build`` names no drive: the script searches for the medium itself."""

    folder: str
    separator: str
    prepare: str
    build: str
    remove: str

    def path(self, *names: str) -> str:
        """Return a path below the folder."""
        return self.separator.join((self.folder, *names))


WINDOWS = ShellWords(
    folder=r"C:\hpnotify-wdk",
    separator="\\",
    prepare=r"(if exist C:\hpnotify-wdk rmdir /s /q C:\hpnotify-wdk) & mkdir C:\hpnotify-wdk\src C:\hpnotify-wdk\wdk",
    build=r"C:\hpnotify-wdk\wdk\build.cmd auto Release verify",
    remove=r"rmdir /s /q C:\hpnotify-wdk",
)
"""The commands for cmd.exe."""


class WdkGuest(Protocol):
    """A guest type in which the WDK runs."""

    def build_vm(
        self, medium: Path, cache: Path, deadline: Deadline, progress: Callable[[str], None]
    ) -> AbstractContextManager[BuildGuest]:
        """Start the guest with ``medium`` in its drive, yield it when it is ready, and shut it down at the end.

        Raises UsageError or MissingPart with the command that makes what is missing, such as a template that was not built.
        """


class WdkProduct(NamedTuple):
    """A file that the build makes: its name here, and its path below ``wdk`` in the guest."""

    name: str
    at: tuple[str, ...]


PACKAGE = (
    WdkProduct(DRIVER, ("build", "Release", "hpnotify", DRIVER)),
    WdkProduct("hpnotify.inf", ("build", "Release", "hpnotify", "hpnotify.inf")),
    WdkProduct("hpnotify.pdb", ("build", "Release", "hpnotify.pdb")),
)
"""The required files of a driver."""

EXTRAS = (
    WdkProduct("hpnotify.cat", ("build", "Release", "hpnotify", "hpnotify.cat")),
    WdkProduct("hpnotify.cer", ("build", "Release", "hpnotify.cer")),
    WdkProduct("versions.txt", ("build", "Release", "versions.txt")),
    WdkProduct("code-analysis.xml", ("build", "Release", "objects", "vc.nativecodeanalysis.all.xml")),
    WdkProduct("static-driver-verifier.xml", ("sdv", "SDV.DVL.xml")),
    WdkProduct("driver-verification.xml", ("hpnotify.DVL.XML",)),
)
"""The optional files. Static Driver Verifier, for example, is not in the WDK after that of Windows 11 22H2."""

LOG = WdkProduct("build.log", ("build", "Release", "build.log"))


class WdkProducts(NamedTuple):
    """The result: the driver, its manifest, the checks of its image, and the missing products."""

    driver: Path
    manifest: DriverManifest
    checks: list[ImageCheck]
    missing: list[str]


def check_medium(iso: Path) -> None:
    """Raise UsageError unless ``iso`` is a file in the format of an ISO."""
    hint = "Name the ISO of the Enterprise WDK, as it was downloaded."
    with system_errors(f"cannot read {iso}", hint=hint, kind=UsageError), iso.open("rb") as file:
        file.seek(DESCRIPTORS * SECTOR + 1)
        volume = file.read(len(VOLUMES[0]))
    if volume not in VOLUMES:
        raise UsageError(f"{iso} is not laid out as an ISO", hint=hint)


def build_with_wdk(
    vm: BuildGuest, out: Path, deadline: Deadline, *, medium: str, words: ShellWords = WINDOWS
) -> WdkProducts:
    """Build the driver in a guest whose drive holds the Enterprise WDK, and put the result into the folder ``out``.

    ``medium`` names the ISO, for the manifest. The sources are removed from the guest. Raises GuestRefused, with the end
    of the build's log, if it does not build; GuestError if the guest is lost; InfrastructureError if ``out`` cannot be
    written.
    """
    folder = driver_folder()
    with system_errors(f"cannot write {out}", hint="Name another folder with --out."):
        out.mkdir(parents=True, exist_ok=True)
    _ask(vm, words.prepare, "make a folder for the sources", deadline)
    try:
        for name, patterns in SOURCES.items():
            for source in sorted(path for pattern in patterns for path in (folder / name).glob(pattern)):
                vm.put(source, words.path(name, source.name), deadline)
        with tempfile.TemporaryDirectory() as place:
            resources = write_resources(folder, Path(place))[0]
            vm.put(resources, words.path("wdk", resources.name), deadline)
        made = vm.run(words.build, deadline)
        missing = _fetch(vm, words, (LOG, *EXTRAS), out, deadline)
        if made.exit_code:
            raise GuestRefused(
                f"the driver does not build with the WDK (exit code {made.exit_code}): {_end(made)}",
                hint=f"The whole log is {out / LOG.name}." if LOG.name not in missing else "It left no log.",
            )
        for product in PACKAGE:
            vm.get(words.path("wdk", *product.at), out / product.name, deadline, limit=LARGEST)
    finally:
        _remove(vm, words, deadline)
    record = _manifest(out, folder, missing, medium, deadline)
    manifest.save(out / DRIVER, record)
    return WdkProducts(out / DRIVER, record, check_image(out / DRIVER), missing)


def _ask(vm: BuildGuest, command: str, what: str, deadline: Deadline) -> None:
    answer = vm.run(command, deadline)
    if answer.exit_code:
        raise GuestRefused(f"the guest could not {what} (exit code {answer.exit_code}): {_end(answer)}")


def _end(answer: CommandAnswer) -> str:
    """Return the last lines of a command's output. The guest's text is escaped where it is shown."""
    lines = f"{answer.stdout}\n{answer.stderr}".split("\n")
    return "\n  ".join([line.rstrip()[:300] for line in lines if line.strip()][-20:]) or "no output"


def _fetch(
    vm: BuildGuest, words: ShellWords, products: tuple[WdkProduct, ...], out: Path, deadline: Deadline
) -> list[str]:
    """Copy back the existing products and return the names of missing ones. Files of an earlier build are removed first."""
    missing = []
    for product in products:
        (out / product.name).unlink(missing_ok=True)
        try:
            vm.get(words.path("wdk", *product.at), out / product.name, deadline, limit=LARGEST)
        except GuestRefused:
            missing.append(product.name)
    return missing


def _remove(vm: BuildGuest, words: ShellWords, deadline: Deadline) -> None:
    """Remove the sources from the guest. An earlier error has priority over one of the removal."""
    try:
        vm.run(words.remove, deadline)
    except GuestError:
        return


def _manifest(out: Path, folder: Path, missing: list[str], medium: str, deadline: Deadline) -> DriverManifest:
    versions = ""
    if "versions.txt" not in missing:
        with (out / "versions.txt").open(errors="replace") as file:
            versions = file.read(1 << 16)
    products = [product.name for product in (*PACKAGE, *EXTRAS) if product.name not in missing]
    return DriverManifest(
        label=WDK_LABEL,
        sha256={name: manifest.digest(out / name) for name in products},
        toolchain=f"wdk: {medium}",
        compiler=_line(versions, "Compiler Version"),
        linker=_line(versions, "Linker Version"),
        kmdf=KMDF,
        declarations="WDK",
        revision=revision(folder, deadline),
    )


def _line(text: str, word: str) -> str:
    """Return the first line of a text with a word in it, "unknown" if there is none."""
    return next((line.strip()[:200] for line in text.splitlines() if word in line), "unknown")
