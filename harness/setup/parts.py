# SPDX-License-Identifier: MIT
"""The parts of a machine that the harness uses: how to detect a part, and which packages supply it.

``BASE`` is what every command of ``./lab`` needs, ``TWIN`` and ``HOST`` what their guests need. The others
have the name of the test marker that needs them, are installed only on request (``./lab test --require
NAME``), and are used if they are present. The kernel and the headers of the twin are not a part: they are
unpacked into the cache and never installed.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from harness.errors import MissingPart, UsageError
from harness.invocation import invocation


class Need(NamedTuple):
    """One component of a part.

    ``package`` is its Debian and Ubuntu package ("" for none), ``why`` says what it is for, and ``evidence``
    shows that it is present: names of programs and absolute glob patterns, any one of which is sufficient. ``version``
    is the option with which a program prints its version.
    """

    package: str
    why: str
    evidence: tuple[str, ...]
    version: str = "--version"

    def found(self, path: str | None = None) -> str:
        """Return the first evidence found in ``path`` (default ``$PATH``) and the file system, "" if none."""
        for wanted in self.evidence:
            if wanted.startswith("/"):
                files = sorted(glob.glob(wanted))  # noqa: PTH207 (pathlib costs 10 ms of every start)
                if files:
                    return files[-1]
            elif program := shutil.which(wanted, path=path):
                return program
        return ""


class Part(NamedTuple):
    """A named set of needs. On ``unpackaged``, a distribution's id, no package supplies it; ``elsewhere`` says where to get it.

    ``serves`` says what it is for besides the tests of the harness.
    """

    name: str
    needs: tuple[Need, ...]
    unpackaged: str = ""
    elsewhere: str = ""
    serves: str = ""

    def missing(self, path: str | None = None) -> list[Need]:
        """Return the needs without evidence."""
        return [need for need in self.needs if not need.found(path)]


BASE = Part(
    "base",
    (
        Need("qemu-system-x86", "runs the guests", ("qemu-system-x86_64",)),
        Need("qemu-utils", "disk images and overlays", ("qemu-img",)),
        Need(
            "seabios",
            "BIOS firmware of the guests",
            ("/usr/share/seabios/bios*.bin", "/usr/share/qemu/bios*.bin"),
        ),
        Need(
            "ovmf",
            "UEFI firmware of the guests",
            ("/usr/share/OVMF/OVMF_CODE*.fd", "/usr/share/edk2/*/OVMF_CODE*.fd"),
        ),
        Need("gcc", "compiles the twin's driver", ("gcc",)),
        Need("make", "builds the twin's driver", ("make",)),
        Need("libc6-dev", "C headers", ("/usr/include/stdio.h",)),
        Need("libelf-dev", "the kernel's own build tools read ELF with it", ("/usr/include/libelf.h",)),
        Need("libvirt-dev", "libvirt-python is built against it", ("/usr/include/libvirt/libvirt.h",)),
        Need("pkgconf", "finds libvirt for that build", ("pkg-config",)),
        Need("python3-dev", "Python's headers for that build", ("/usr/include/python3*/Python.h",)),
        Need("python3-venv", "makes the virtual environment", ("/usr/lib*/python3*/ensurepip/__init__.py",)),
    ),
)


def base_need(package: str) -> Need:
    """Return the need of the base for a package."""
    return next(need for need in BASE.needs if need.package == package)


HOST = Part("host", tuple(map(base_need, ("gcc", "make", "libc6-dev"))), serves="runs on the guest 'host'")
TWIN = Part(
    "twin",
    (
        *map(base_need, ("qemu-system-x86", "seabios")),
        *HOST.needs,
        Need(
            "libelf-dev",
            "the kernel's own build tools read ELF with it",
            (
                "/usr/lib/*/libelf.so.1",
                "/lib/*/libelf.so.1",
                "/usr/lib64/libelf.so.1",
                "/usr/lib/libelf.so.1",
            ),
        ),
    ),
    serves="the main job: runs on the twin",
)
WINDOWS = Part(
    "windows",
    tuple(map(base_need, ("qemu-utils", "qemu-system-x86", "ovmf"))),
    serves="templates of Windows and runs on them",
)

LIBVIRT_PYTHON = Part(
    "libvirt-python",
    tuple(map(base_need, ("gcc", "libvirt-dev", "pkgconf", "python3-dev"))),
    serves="compiles the extra 'libvirt' of the package",
)

OWN_PYTHON = ("python3-dev", "python3-venv")
"""Packages of the distribution's own Python; another interpreter includes their content."""

TESTED = (
    Part("qemu", tuple(map(base_need, ("qemu-system-x86", "qemu-utils", "ovmf", "gcc", "make")))),
    Part(
        "libvirt",
        (
            Need("libvirt-daemon", "libvirt's daemon", ("libvirtd", "/usr/sbin/libvirtd")),
            Need(
                "libvirt-daemon-driver-qemu",
                "libvirt's QEMU driver",
                (
                    "/usr/lib*/libvirt/connection-driver/libvirt_driver_qemu.so",
                    "/usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so",
                ),
            ),
        ),
        serves="--backend libvirt on this host",
    ),
    Part(
        "wine",
        (
            Need("wine64", "64-bit Wine", ("wine64", "/usr/lib/wine/wine64", "wine")),
            Need("gcc-mingw-w64-x86-64", "compiles the driver for Windows", ("x86_64-w64-mingw32-gcc",)),
            Need("clang", "compiles the driver for Windows, too", ("clang",)),
            Need("lld", "links what clang compiled", ("lld-link",)),
            Need("llvm", "reads the driver's symbols and resources back", ("llvm-pdbutil",)),
            Need("osslsigncode", "signs the driver for tests", ("osslsigncode",)),
        ),
        serves="runs on the guest 'wine'",
    ),
    Part(
        "browser",
        (
            Need(
                "chromium",
                "headless Chromium",
                ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
            ),
        ),
        "ubuntu",
        "Ubuntu has Chromium only as a snap: sudo snap install chromium. Google's package of Chrome will do as well.",
    ),
    Part(
        "node",
        (
            Need("nodejs", "builds and tests the script of the report", ("node",)),
            Need("npm", "fetches what that script is made of", ("npm",)),
        ),
    ),
    Part(
        "postgres",
        (
            Need("postgresql", "PostgreSQL's server", ("/usr/lib/postgresql/*/bin/postgres", "postgres")),
            Need("postgresql", "makes a PostgreSQL cluster", ("/usr/lib/postgresql/*/bin/initdb", "initdb")),
        ),
    ),
    Part("prometheus", (Need("prometheus", "promtool checks the metrics of nightly runs", ("promtool",)),)),
    Part(
        "remote",
        (
            Need("openssh-server", "the SSH server", ("sshd", "/usr/sbin/sshd")),
            Need("qemu-guest-agent", "QEMU's guest agent", ("qemu-ga", "/usr/sbin/qemu-ga")),
        ),
    ),
    Part(
        "media",
        (
            Need("wimtools", "makes Windows image files", ("wimlib-imagex",)),
            Need("genisoimage", "makes installation media", ("genisoimage",)),
            Need("genisoimage", "reads the answer medium", ("isoinfo",)),
            Need("libarchive-tools", "reads the answer medium, too", ("bsdtar",)),
        ),
    ),
    Part(
        "ntfs",
        (
            Need("ntfs-3g", "makes and reads the volumes of Windows", ("ntfscat",)),
            Need("fuse3", "shows a volume inside an image as a file", ("fusermount3",)),
        ),
        serves="the disk of a Windows guest that hangs",
    ),
    Part(
        "llvm",
        (
            Need("clang", "compiles the driver with libFuzzer", ("clang",)),
            Need(
                "libclang-rt-dev",
                "clang's sanitizers and libFuzzer",
                (
                    "/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a",
                    "/usr/lib*/clang/*/lib/*/libclang_rt.fuzzer*.a",
                ),
            ),
            Need("llvm", "compiles resources, as Windows' compiler does", ("llvm-rc",)),
        ),
    ),
    Part(
        "shells",
        (
            Need("zsh", "completes command lines of the harness", ("zsh",)),
            Need("fish", "completes command lines of the harness, too", ("fish",)),
        ),
    ),
    Part("systemd", (Need("systemd", "checks the units of nightly runs", ("systemd-analyze",)),)),
    Part(
        "slurm",
        (
            Need("slurmctld", "Slurm's controller", ("slurmctld", "/usr/sbin/slurmctld"), "-V"),
            Need("slurmd", "Slurm's daemon of a node", ("slurmd", "/usr/sbin/slurmd")),
            Need("slurm-client", "sbatch, squeue and scancel", ("sbatch",)),
            Need("munge", "Slurm's authentication", ("munged", "/usr/sbin/munged")),
        ),
    ),
)

PWSH = "HOTPLUG_HARNESS_PWSH"
"""Environment variable: the PowerShell for the scripts for Windows, if it is neither on ``PATH`` nor beside
the clone."""


def powershell(environment: Mapping[str, str]) -> Part:
    """Return the part that executes the scripts for Windows: named by ``environment``, or found automatically.

    No distribution package supplies it, so it is never installed automatically; only tests use it.
    """
    clone = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    beside = os.path.join(os.path.dirname(clone), "shared", "tools", "powershell", "pwsh")  # noqa: PTH118, PTH120
    named = environment.get(PWSH, "")
    return Part(
        "powershell",
        (Need("", "PowerShell 7", (named,) if named else ("pwsh", beside)),),
        elsewhere="put pwsh on PATH, or into ../shared/tools/powershell beside the clone",
    )


REQUIRABLE = tuple(part.name for part in TESTED if part.name != "qemu")
"""The parts that ``--require`` accepts: those that are optional."""


def part(name: str) -> Part:
    """Return the tested part ``name``. Raises UsageError for an unknown name."""
    for candidate in TESTED:
        if candidate.name == name:
            return candidate
    raise UsageError(
        f"no part is called {name!r}",
        hint=f"Give one or more of {', '.join(REQUIRABLE)}, separated by commas.",
    )


def has_apt() -> bool:
    """Return whether this system installs packages with apt-get."""
    return shutil.which("apt-get", path=f"{os.defpath}:{os.environ.get('PATH', '')}") is not None


def supply(needs: Iterable[Need]) -> str:
    """Return one command that installs what ``needs`` lack, or on a system without apt, what to install by hand."""
    packages = dict.fromkeys(need.package for need in needs if need.package)
    if has_apt():
        return f"sudo apt-get install --no-install-recommends {' '.join(packages)}"
    return f"with this system's own package manager, what Debian has in {', '.join(packages)}"


def all_missing(part: Part, error: MissingPart, *, without: str = "") -> MissingPart:
    """Return an error that names all that ``part`` lacks if ``error`` is about one program of it, else ``error`` itself.

    Requirements are checked only when they are needed: a cached build does not need make. The package
    ``without`` is not requested.
    """
    missing = [need for need in part.missing() if need.package != without]
    programs = [need.evidence[0] for need in missing if not need.evidence[0].startswith("/")]
    if "not installed" not in error.message or not any(name in error.message for name in programs):
        return error
    return MissingPart(
        f"the guest {part.name!r} needs what is not installed: {', '.join(programs)}",
        hint=f"Install what is missing: {invocation('setup', part.name)}\nor by hand: {supply(missing)}",
    )


def own_python(executable: str) -> bool:
    """Return whether ``executable`` is the distribution's own Python and not one built or fetched separately."""
    return os.path.realpath(executable).startswith("/usr/bin/")
