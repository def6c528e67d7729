# SPDX-License-Identifier: MIT
"""The twin's image: the distribution's kernel and a small initramfs with the agent and the driver's module.

An image lives in the cache under a digest of all that went into it: the driver's and the agent's sources, the
builder itself, the kernel packages' versions and the compiler's. It is built in a directory of its own and renamed
into place under a lock, so that two runs that start together build it once and a killed build leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.driver.source import source_error
from harness.errors import InfrastructureError, MissingPart, UsageError
from harness.guest.twin import cpio, kernel_modules, kernel_package
from harness.guest.twin.kernel_package import UnpackedKernel
from harness.history.json_file import read_json
from harness.host.file_lock import locked
from harness.package import data_folder
from harness.program import describe, run_program
from harness.setup.content import ContentDigests, ContentError

APPEND = (
    "console=ttyS0 quiet oops=panic nokaslr mitigations=off tsc=reliable no_timer_check lpj=4000000 audit=0 lsm= "
    "ima=off cryptomgr.notests 8250.nr_uarts=2 nohpet memhp_default_state=offline "
    "nosoftlockup rcupdate.rcu_cpu_stall_suppress=1"
)
"""The kernel's command line. From ``nokaslr`` to ``nohpet`` its arguments only make the boot faster under emulation.

``memhp_default_state=offline`` leaves it to the agent to put added memory into use, as with processors. Debian 12's
kernel does so anyway. Debian 13's is built with CONFIG_MEMORY_HOTPLUG_DEFAULT_ONLINE, and would refuse the agent's
"online" with EINVAL because the block is online already (Linux: admin-guide/mm/memory-hotplug.rst).

``nosoftlockup`` and ``rcu_cpu_stall_suppress``: on a busy host the kernel sometimes measures its processors' counter
wrongly while it boots, and its clock runs several times too fast (docs/reliability.md). It then takes a pause of two
seconds for a lockup of twenty (Linux: admin-guide/kernel-parameters.txt). The harness's own clock decides whether the
twin hangs.
"""

BUILD_TOOLS = "Install it with: apt-get install gcc make libc6-dev"
DRIVER_FOLDERS = ("src", "kmdf", "nt", "twin")
OTHER = "other"
"""The folder of another driver in a build. The module is then built from it instead of ``src``."""


class TwinImage(msgspec.Struct, frozen=True, kw_only=True):
    """A built image: the files that QEMU boots, the kernel's command line, the digest of the inputs and the release.

    ``content`` has the SHA-256 of each of its files.
    """

    kernel: Path
    initrd: Path
    append: str
    digest: str
    kernel_release: str
    content: dict[str, str] = {}


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """The source folders: ``driver`` holds src, nt and twin, ``agent`` the agent's source.

    ``other`` is the folder of another driver, whose sources replace src. The agent is still built with src.
    """

    driver: Path
    agent: Path
    other: Path | None = None

    @classmethod
    def of_checkout(cls) -> Sources:
        """Return the sources of the package. Raises MissingPart if it has no data."""
        return cls(
            driver=data_folder("guest_drivers") / "hpnotify",
            agent=data_folder("vm_templates") / "twin" / "agent",
        )

    def with_driver(self, folder: Path | None) -> Sources:
        """Return the sources with another driver's, those in ``folder``. Raises UsageError if there is no C source in it."""
        if folder is not None and not any(folder.glob("*.c")):
            raise UsageError(
                f"--driver {folder}: there is no C source in this folder",
                hint="The twin runs a driver from its sources: give the folder in which its .c files lie.",
            )
        return msgspec.structs.replace(self, other=folder)

    def files(self) -> list[tuple[str, Path]]:
        """Return every file with its name in the build, sorted by that name."""
        found = [
            (f"{folder}/{path.relative_to(self.driver / folder)}", path)
            for folder in DRIVER_FOLDERS
            for path in (self.driver / folder).rglob("*")
        ]
        found += [(f"agent/{path.relative_to(self.agent)}", path) for path in self.agent.rglob("*")]
        if self.other is not None:
            found += [
                (f"{OTHER}/{path.name}", path) for path in self.other.iterdir() if path.suffix in (".c", ".h")
            ]
        return sorted((name, path) for name, path in found if path.is_file())


def build(
    cache: Path,
    deadline: Deadline,
    *,
    driver: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> TwinImage:
    """Return the twin's image, building what is missing under ``cache``. A second call only looks it up.

    ``driver`` is the folder of another driver's sources, which is built into the image instead of ``hpnotify``.

    ``progress`` receives one line per step that takes time. Raises MissingPart (no gcc, no make, no static C library, no
    apt) and InfrastructureError (registry not reachable, compiler error, disk full, deadline passed).
    """
    say = progress or _silent
    sources = Sources.of_checkout().with_driver(driver)
    place = cache / "twin"
    try:
        # A read-only cache works too, and has no lock to take. Damage is reported below, where it is repaired.
        if (known := kernel_package.load(place, _silent)) is not None:
            image = cached(place, digest_of(sources, known, compiler_version(deadline)), _silent)
            if image is not None:
                return image
        place.mkdir(parents=True, exist_ok=True)
        with locked(place / "lock", "building the twin's image", deadline, say):
            kernel = kernel_package.ensure(place, deadline, progress=say)
            digest = digest_of(sources, kernel, compiler_version(deadline))
            return cached(place, digest, say) or _build(place, sources, kernel, digest, deadline, say)
    except OSError as error:
        raise InfrastructureError(
            f"cannot build the twin's image in {place}: {error}",
            hint="Free some disk space, or give another cache directory.",
        ) from error


def _silent(_text: str) -> None:
    """Ignore a line of progress."""


def compiler_version(deadline: Deadline) -> str:
    """Return the first line of ``gcc --version``. Raises MissingPart."""
    return run_program(["gcc", "--version"], deadline, supply=BUILD_TOOLS).first_line


def digest_of(sources: Sources, kernel: UnpackedKernel, compiler: str) -> str:
    """Return the digest of everything that an image is made from, 64 hex digits."""
    digest = hashlib.sha256()

    def add(name: str, content: bytes) -> None:
        digest.update(f"{name}\0{len(content)}\0".encode() + content)

    for name, path in sources.files():
        add(name, path.read_bytes())
    for module in (__file__, kernel_package.__file__, kernel_modules.__file__, cpio.__file__):
        add(Path(module).name, Path(module).read_bytes())
    add("packages", msgspec.json.encode(sorted(kernel.packages.items())))
    add("compiler", compiler.encode())
    return digest.hexdigest()


class _Record(msgspec.Struct, frozen=True):
    append: str
    digest: str
    kernel_release: str


def cached(place: Path, digest: str, say: Callable[[str], None]) -> TwinImage | None:
    """Return the image with this digest if it is in ``place``, complete and with the content as built."""
    directory = place / f"image-{digest[:16]}"
    record = read_json(directory / "image.json", _Record)
    if record is None or record.digest != digest:
        return None
    try:
        content = ContentDigests(place.parent).check(directory)
    except ContentError as error:
        say(f"{directory} is damaged and is built again: {error}")
        return None
    image = TwinImage(
        kernel=directory / "vmlinuz", initrd=directory / "initrd", append=record.append, digest=record.digest,
        kernel_release=record.kernel_release, content=content,
    )  # fmt: skip
    # Its last use, if the cache can be written. Not on a file: the digest of a file that was touched is not remembered.
    with suppress(OSError):
        os.utime(directory)
    return image


def _build(
    place: Path,
    sources: Sources,
    kernel: UnpackedKernel,
    digest: str,
    deadline: Deadline,
    say: Callable[[str], None],
) -> TwinImage:
    work = place / "image.new"
    shutil.rmtree(work, ignore_errors=True)
    build_folder = work / "build"
    for name, path in sources.files():
        target = build_folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copyfile(build_folder / "twin" / "Kbuild", build_folder / "Kbuild")
    say("compiling the driver for the twin")
    module = _compile_module(build_folder, kernel, deadline, OTHER if sources.other is not None else "src")
    say("compiling the twin's agent")
    agent = _compile_agent(build_folder, deadline)
    (work / "initrd").write_bytes(
        cpio.archive(
            [
                cpio.directory("dev"),
                cpio.character_device("dev/console", 5, 1),
                cpio.directory("proc"),
                cpio.directory("sys"),
                cpio.program("init", agent.read_bytes()),
                cpio.file("hpnotify.ko", module.read_bytes()),
                cpio.directory("drivers"),
                *(
                    cpio.file(f"drivers/{name}.ko", data)
                    for name, data in kernel_modules.module_files(kernel)
                ),
            ]
        )
    )
    shutil.copyfile(kernel.image, work / "vmlinuz")
    record = _Record(append=APPEND, digest=digest, kernel_release=kernel.release)
    (work / "image.json").write_bytes(msgspec.json.encode(record))
    shutil.rmtree(build_folder)
    ContentDigests(place.parent).seal(work)
    directory = place / f"image-{digest[:16]}"
    shutil.rmtree(directory, ignore_errors=True)
    work.rename(directory)
    image = cached(place, digest, say)
    if image is None:
        raise InfrastructureError(f"the image in {directory} vanished while it was built", hint="Try again.")
    return image


def _compile_module(folder: Path, kernel: UnpackedKernel, deadline: Deadline, driver: str) -> Path:
    made = run_program(
        # Debian 13's kernel adds type information to modules, which the twin does not use and which needs pahole.
        ["make", "-C", str(kernel.headers), f"M={folder}", "CC=gcc", "CONFIG_DEBUG_INFO_BTF_MODULES=",
         f"DRIVER={driver}", "modules"],
        deadline, supply=BUILD_TOOLS,
    )  # fmt: skip
    module = folder / "hpnotify.ko"
    if made.status or not module.is_file():
        if "libelf.so" in made.output:
            raise MissingPart(
                "the kernel's build tools need libelf.so.1, which is not installed",
                hint="Install it with: apt-get install libelf1",
            )
        if driver == OTHER and (wrong := source_error(made.output)):
            raise UsageError(
                f"the given driver does not compile for the twin: {wrong}{made.last_words(30)}",
                hint="Correct its sources. The twin's part of the WDK's headers is in guest_drivers/hpnotify/nt/include.",
            )
        raise InfrastructureError(
            f"the driver does not compile for the twin: {describe(made.status)}{made.last_words(30)}",
            hint="The driver's sources are in guest_drivers/hpnotify."
            if driver == "src"
            else "The twin's part of the WDK's headers is in guest_drivers/hpnotify/nt/include.",
        )
    run_program(["strip", "--strip-debug", str(module)], deadline, supply=BUILD_TOOLS)
    return module


def _compile_agent(folder: Path, deadline: Deadline) -> Path:
    agent = folder / "agent.bin"
    command = [
        "gcc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-static", "-s",
        "-Itwin", "-Isrc", "-Int/core", "-o", str(agent), "agent/agent.c",
    ]  # fmt: skip
    made = run_program(command, deadline, cwd=folder, supply=BUILD_TOOLS)
    if made.status:
        if "cannot find -lc" in made.output or "stdio.h" in made.output:
            raise MissingPart("the twin's agent needs the static C library", hint=BUILD_TOOLS)
        raise InfrastructureError(
            f"the twin's agent does not compile: {describe(made.status)}{made.last_words(30)}"
        )
    return agent
