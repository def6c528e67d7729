# SPDX-License-Identifier: MIT
"""The twin's kernel and its headers: the distribution's own for virtual machines, fetched with apt, unpacked in the cache.

Nothing is installed on the host: ``apt-get download`` and ``dpkg-deb -x``. Once unpacked, apt is not asked again.

Debian's headers (linux-headers-RELEASE) have a Makefile that includes one under /usr/src, and need
linux-headers-VERSION-common and linux-kbuild-VERSION (Debian kernel handbook, chapter 3). Ubuntu's are relative
symbolic links into linux-headers-VERSION and bring their own build programs; its modules are in a package of their own
(linux-modules-RELEASE), which the twin does not need: its kernel has hot-add, the serial ports and the initramfs
built in. Both put the kernel into /boot/vmlinuz-RELEASE.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import InfrastructureError, MissingPart
from harness.history.json_file import read_json
from harness.program import ProgramResult, run_program
from harness.setup.content import ContentDigests, ContentError

META_PACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")
"""The packages that depend on the current kernel for virtual machines: Debian's, then Ubuntu's. Each has only its own.

Ubuntu: https://wiki.ubuntu.com/Kernel/Dev/Meta-Pkgs.
"""

RECORD = "kernel.json"
PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{1,99}")


class UnpackedKernel(msgspec.Struct, frozen=True, kw_only=True):
    """An unpacked kernel: ``release`` as ``uname -r`` says, ``packages`` with their versions, the unpacked ``root``."""

    release: str
    packages: dict[str, str]
    root: Path

    @property
    def image(self) -> Path:
        """The compressed kernel image that QEMU boots."""
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def headers(self) -> Path:
        """The directory in which ``make`` builds a module for this kernel."""
        return self.root / "usr" / "src" / f"linux-headers-{self.release}"


class _Record(msgspec.Struct, frozen=True):
    release: str
    packages: dict[str, str]


def ensure(cache: Path, deadline: Deadline, *, progress: Callable[[str], None]) -> UnpackedKernel:
    """Return the unpacked kernel in ``cache``, fetching and unpacking it if it is not there.

    The caller holds the cache's lock. Raises MissingPart (no apt-get or dpkg-deb, no such package, no libelf) and
    InfrastructureError (registry not reachable, disk full), each with the command to run.
    """
    place = cache / "kernel"
    kernel = load(cache, progress)
    if kernel is None:
        _fetch(cache, place, deadline, progress)
        kernel = load(cache, progress)
        if kernel is None:
            raise InfrastructureError(
                f"the kernel in {place} is incomplete although it was just unpacked",
                hint=f"Delete {place} and try again; if it happens again the disk may be full.",
            )
    return kernel


def load(cache: Path, progress: Callable[[str], None]) -> UnpackedKernel | None:
    """Return the unpacked kernel in ``cache`` if it is there, complete and undamaged. ``progress`` receives a report of damage."""
    place = cache / "kernel"
    record = read_json(place / RECORD, _Record)
    if record is None:
        return None
    kernel = UnpackedKernel(release=record.release, packages=record.packages, root=place / "root")
    try:
        ContentDigests(cache.parent).check(kernel.image.parent)
    except ContentError as error:
        progress(f"the kernel in {place} is damaged and is unpacked again: {error}")
        return None
    return kernel if kernel.image.is_file() and (kernel.headers / "Makefile").is_file() else None


def _fetch(cache: Path, place: Path, deadline: Deadline, progress: Callable[[str], None]) -> None:
    work = cache / "kernel.new"
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)
    (work / "packages").mkdir(parents=True)
    apt = _Apt(work, deadline)
    progress("asking apt for a kernel for virtual machines")
    names, release = apt.resolve()
    progress(f"fetching {', '.join(names)}")
    apt.download(names)
    packages = {}
    for archive in sorted((work / "packages").glob("*.deb")):
        progress(f"unpacking {archive.name}")
        unpacked = run_program(["dpkg-deb", "-x", str(archive), str(work / "root")], deadline)
        if unpacked.status:
            raise InfrastructureError(
                f"cannot unpack {archive.name}: {unpacked.failure()}",
                hint="If the disk is full, free some space.",
            )
        name, version, *_ = archive.name.split("_")
        packages[name] = version
    _point_headers_here(work / "root" / "usr" / "src" / f"linux-headers-{release}")
    shutil.rmtree(work / "packages")
    shutil.rmtree(work / "lists", ignore_errors=True)
    ContentDigests(cache.parent).seal(work / "root" / "boot")
    (work / RECORD).write_bytes(msgspec.json.encode(_Record(release=release, packages=packages)))
    work.rename(place)


def _point_headers_here(headers: Path) -> None:
    """Make Debian's one-line Makefile include its neighbour instead of a file under /usr/src. Ubuntu's is a link to it."""
    makefile = headers / "Makefile"
    if makefile.is_symlink():
        return
    text = makefile.read_text()
    makefile.write_text(text.replace("/usr/src/", "$(dir $(lastword $(MAKEFILE_LIST)))../"))


class _Apt:
    """apt with the host's package lists, or with its own lists if those are missing or out of date."""

    def __init__(self, work: Path, deadline: Deadline) -> None:
        self.work = work
        self.deadline = deadline
        self.options: list[str] = []
        if os.geteuid() == 0:
            self.options += ["-o", "APT::Sandbox::User=root"]

    def _run(self, program: str, *arguments: str, cwd: Path | None = None) -> ProgramResult:
        return run_program(
            [program, *self.options, *arguments], self.deadline, cwd=cwd,
            supply="The twin's kernel comes from Debian's or Ubuntu's packages: run there, or put a built cache in place.",
            slow="Try again, or allow more time; a registry that does not answer is the usual cause.",
        )  # fmt: skip

    def _update(self) -> None:
        lists = self.work / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        self.options += [
            "-o", f"Dir::State::Lists={lists}", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
        ]  # fmt: skip
        updated = self._run("apt-get", "update")
        if updated.status:
            raise InfrastructureError(
                f"apt cannot reach its registry: {updated.failure()}",
                hint="Check the network and /etc/apt; 'apt-get update' must work.",
            )

    def _depends(self, package: str) -> list[str]:
        """Return the names in the package's Depends, first alternatives only; empty if apt does not know the package."""
        shown = self._run("apt-cache", "show", "--no-all-versions", package)
        for line in shown.output.splitlines() if shown.status == 0 else []:
            if line.startswith("Depends:"):
                words = [part.split("|")[0].split() for part in line[len("Depends:") :].split(",")]
                return [word[0] for word in words if word and PACKAGE_NAME.fullmatch(word[0])]
        return []

    def _try_resolve(self) -> tuple[list[str], str] | None:
        for meta_package in META_PACKAGES:
            images = [name for name in self._depends(meta_package) if name.startswith("linux-image-")]
            if not images:
                continue
            release = images[0].removeprefix("linux-image-")
            headers = f"linux-headers-{release}"
            parts = [
                name
                for name in self._depends(headers)
                if name.startswith(("linux-headers-", "linux-kbuild-"))
            ]
            if parts:
                return [images[0], headers, *parts], release
        return None

    def resolve(self) -> tuple[list[str], str]:
        """Return the packages to fetch and the kernel's release."""
        found = self._try_resolve()
        if found is None:
            self._update()
            found = self._try_resolve()
        if found is None:
            raise MissingPart(
                f"apt knows neither {' (Debian) nor '.join(META_PACKAGES)} (Ubuntu) with the headers of its kernel",
                hint="The twin boots the distribution's kernel for virtual machines: add the main archive of Debian, "
                "or of Ubuntu, to /etc/apt/sources.list.d, then run 'apt-get update'.",
            )
        return found

    def download(self, names: list[str]) -> None:
        """Fetch the packages into ``work/packages``."""
        place = self.work / "packages"
        fetched = self._run("apt-get", "download", *names, cwd=place)
        if fetched.status and not (self.work / "lists").exists():
            # Lists that are out of date name versions that the archive has already replaced.
            self._update()
            names, _ = self.resolve()
            fetched = self._run("apt-get", "download", *names, cwd=place)
        if fetched.status:
            raise InfrastructureError(
                f"cannot fetch {', '.join(names)}: {fetched.failure()}",
                hint="Check the network and run 'apt-get update'.",
            )
