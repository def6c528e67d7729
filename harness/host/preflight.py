# SPDX-License-Identifier: MIT
"""The host's parts that runs, builds and tests need, and the command that supplies a missing one.

The check changes nothing and starts no guest. Each part is checked on its own, so that one broken program does not
hide the others.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, MissingPart
from harness.host import capacity, kvm_probe, qemu_build
from harness.host.host_part import HostPart, PartState
from harness.host.lease_directory import lease_directory
from harness.package import install_extra
from harness.program import ProgramResult, run_program
from harness.setup import parts
from harness.setup.lease_directory import SHARED, by_hand

COMPILER = [need for need in parts.TWIN.needs if need.package in ("gcc", "libc6-dev", "libelf-dev")]
EXTRAS = (
    ("libvirt-python", "libvirt", "libvirt", "--backend libvirt and --connect"),
    ("pefile", "pefile", "driver", "building, signing and checking the .sys; runs on the guest 'wine'"),
    ("pycdlib", "pycdlib", "windows", "reads installation media for templates of Windows"),
)
"""Packages that extras install: name, module, extra, purpose."""

TESTS_ONLY = "tests of the harness itself"

MINGW = parts.Need("gcc-mingw-w64-x86-64", "builds the .sys on Linux", ("x86_64-w64-mingw32-gcc",))
CLANG = [
    parts.Need("clang", "compiles the .sys on Linux", ("clang",)),
    parts.Need("lld", "links the .sys on Linux", ("lld-link",)),
]
OSSLSIGNCODE = parts.Need("osslsigncode", "test-signs the .sys", ("osslsigncode",))

VERSION = re.compile(r"[A-Za-z]\w*[_ ]\d+\.\d+")


def examine(
    deadline: Deadline, *, qemu: Path | None = None, directory: Path | None = None, cache: Path | None = None
) -> list[HostPart]:
    """Check every part, those of the main job first. ``directory`` is where runs will be written (default: here).

    ``cache`` is where files are built and the accelerator's last probe is kept.
    Raises nothing for a part that is missing, broken or does not answer: that is its report.
    """
    looks: list[Callable[[], HostPart]] = [
        _python,
        lambda: _qemu(qemu, deadline),
        lambda: _firmware(qemu, deadline),
        _qmp,
        lambda: _program("gcc", COMPILER, deadline, needed=True),
        lambda: _program("make", [parts.base_need("make")], deadline, needed=True),
        _packages,
        lambda: capacity.disk(directory),
        capacity.memory,
        _leases,
        lambda: _kvm(cache),
        *(partial(_extra, *each) for each in EXTRAS),
        lambda: _tested(parts.WINDOWS, deadline),
        *(partial(_tested, part, deadline) for part in parts.TESTED if part.name != "qemu"),
        lambda: _program("mingw-w64", [MINGW], deadline),
        lambda: _program("clang", CLANG, deadline),
        lambda: _program("osslsigncode", [OSSLSIGNCODE], deadline),
    ]
    found = [look() for look in looks]
    return found if cache is None else [*capacity.unwritable_cache(cache), *found]


def install_command(found: Iterable[HostPart]) -> str:
    """Return the one command that installs the packages that the main job lacks, "" if it lacks none."""
    packages = [name for part in found if part.needed for name in part.packages]
    return parts.supply(parts.Need(name, "", ()) for name in packages) if packages else ""


def ready(found: list[HostPart]) -> bool:
    """Return whether the main job, a run on the twin, can run."""
    return all(part.state is PartState.OK for part in found if part.needed)


def _python() -> HostPart:
    new_enough = sys.version_info >= (3, 11)
    return HostPart(
        name="python",
        state=PartState.OK if new_enough else PartState.BROKEN,
        found=f"{platform.python_version()} at {sys.executable}{'' if new_enough else ', older than 3.11'}",
        serves="everything",
        needed=True,
        supply="" if new_enough else "sudo apt install python3.11",
    )


def _qemu(path: Path | None, deadline: Deadline) -> HostPart:
    part = partial(HostPart, name="qemu", serves="every guest", needed=True)
    try:
        found = qemu_build.find_qemu(path or "", deadline.within(10, "QEMU's version"))
    except HarnessError as error:
        gone = isinstance(error, MissingPart) and "is missing" in error.message
        return part(
            state=PartState.MISSING if gone else PartState.BROKEN,
            found=error.message,
            supply=error.hint,
            packages=("qemu-system-x86",) if gone and path is None else (),
        )
    return part(state=PartState.OK, found=f"{found.text} at {found.path}")


def _firmware(qemu: Path | None, deadline: Deadline) -> HostPart:
    part = partial(HostPart, name="firmware", serves="boots every guest", needed=True)
    packages = ("seabios",)
    try:
        program = qemu_build.find_program(qemu or "")
    except MissingPart:
        there = parts.base_need("seabios").found()
        return part(state=PartState.MISSING, found="no QEMU to ask", packages=() if there else packages)
    try:
        ended = _ask([str(program), "-L", "help"], deadline)
    except InfrastructureError:
        ended = None
    if ended is None or ended.status:
        return part(state=PartState.BROKEN, found=f"{program} -L help gave no list of directories")
    for directory in ended.output.splitlines():
        candidate = Path(directory.strip()) / "bios-256k.bin"
        if candidate.is_file():
            return part(state=PartState.OK, found=str(candidate))
    found = f"bios-256k.bin is in none of {', '.join(ended.output.split())}"
    return part(state=PartState.MISSING, found=found, supply="sudo apt install seabios", packages=packages)


def _qmp() -> HostPart:
    part = partial(HostPart, name="qemu.qmp", serves="talks to QEMU", needed=True)
    with contextlib.suppress(ImportError):
        if importlib.util.find_spec("qemu.qmp") is not None:
            return part(state=PartState.OK, found="installed")
    supply = f"{sys.executable} -m pip install qemu.qmp"
    return part(state=PartState.MISSING, found="not installed", supply=supply)


def _extra(name: str, module: str, extra: str, serves: str) -> HostPart:
    part = partial(HostPart, name=name, serves=serves)
    if importlib.util.find_spec(module) is not None:
        return part(state=PartState.OK, found="installed")
    return part(state=PartState.MISSING, found="not installed", supply=install_extra(extra))


def _tested(part: parts.Part, deadline: Deadline) -> HostPart:
    return _program(
        part.name, part.needs, deadline, serves=part.serves or TESTS_ONLY, elsewhere=part.elsewhere
    )


def _program(
    name: str,
    needs: Sequence[parts.Need],
    deadline: Deadline,
    *,
    serves: str = "",
    elsewhere: str = "",
    needed: bool = False,
) -> HostPart:
    """Judge a part by whether all its needs are there and the program of the first one answers."""
    part = partial(HostPart, name=name, serves=serves or needs[0].why, needed=needed)
    absent = [need for need in needs if not need.found()]
    packages = dict.fromkeys(need.package for need in absent or needs)
    supply = f"sudo apt install {' '.join(packages)}"
    if elsewhere:
        supply += f" ({elsewhere})"
    if absent:
        found = "not found" if len(needs) == 1 else f"not found: {', '.join(packages)}"
        return part(state=PartState.MISSING, found=found, supply=supply, packages=tuple(packages))
    path = needs[0].found()
    try:
        ended = _ask([path, needs[0].version], deadline)
    except InfrastructureError as error:
        found = error.message
    else:
        # A start script may print warnings on standard error before the program prints its version on standard output.
        said = [line.strip() for line in (ended.output or ended.errors).splitlines() if line.strip()]
        # sshd had no option for its version before OpenSSH 9.2, and prints it with the error.
        versions = [line for line in said if not needed and VERSION.search(line)]
        if ended.status == 0 or versions:
            first = (versions if ended.status else said or ["no version given"])[0]
            return part(state=PartState.OK, found=f"{first[:80]} at {path}")
        found = f"{path} --version ended with status {ended.status}"
    return part(state=PartState.BROKEN, found=found, supply=supply)


def _ask(command: list[str], deadline: Deadline) -> ProgramResult:
    seconds = min(5, max(0.1, deadline.remaining()))
    return run_program(command, Deadline(seconds, shlex.join(command)), apart=True)


def _leases() -> HostPart:
    part = partial(HostPart, name="leases", serves="keeps the machines of all users within one budget")
    try:
        directory = lease_directory(os.environ)
        if directory.exists():
            os.close(directory.open())
    except (HarnessError, OSError) as error:
        found, supply = str(error), ""
        if isinstance(error, HarnessError):
            found, supply = error.message, error.hint
        return part(state=PartState.BROKEN, found=found, needed=True, supply=supply)
    if not directory.private:
        return part(state=PartState.OK, found=str(directory.path))
    found = f"no {SHARED}: only this user's machines count"
    return part(state=PartState.MISSING, found=found, supply=by_hand(SHARED))


def _packages() -> HostPart:
    absent = [program for program in ("apt-get", "dpkg-deb") if shutil.which(program) is None]
    return HostPart(
        name="apt",
        state=PartState.MISSING if absent else PartState.OK,
        found=f"{' and '.join(absent)} not found" if absent else "apt-get and dpkg-deb",
        serves="fetches and unpacks the twin's kernel, once",
        needed=True,
        supply="Use Debian 12, Debian 13 or Ubuntu 24.04, or a container of one." if absent else "",
    )


def _kvm(cache: Path | None) -> HostPart:
    device = kvm_probe.KVM
    serves = "makes guests several times faster; without it TCG is used"
    part = partial(HostPart, name="kvm", serves=serves)
    if not device.exists():
        supply = (
            "Enable virtualisation in the firmware, or nested virtualisation in the host above: modprobe kvm"
        )
        return part(state=PartState.MISSING, found=f"no {device}", supply=supply)
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        found = f"{device} cannot be opened: {error.strerror}"
        supply = "sudo adduser $USER kvm, then log in again" if isinstance(error, PermissionError) else ""
        return part(state=PartState.BROKEN, found=found, supply=supply)
    last = kvm_probe.last(cache) if cache else None
    if last is None:
        found = (
            f"{device} opens; whether a guest runs under it is found out by the first run with --accel auto"
        )
        return part(state=PartState.OK, found=found)
    state = PartState.OK if last.works else PartState.BROKEN
    return part(state=state, found=f"when last probed, {last.reason}")
