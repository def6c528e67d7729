# SPDX-License-Identifier: MIT
"""The guest ``host``: the driver's source compiled into a Linux process, on the project's own double of the NT kernel.

It starts in milliseconds and needs only a C compiler. Nothing it shows is evidence about Windows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from harness.deadline import Deadline
from harness.driver.source import digest_of_folders, driver_folder, makefile, source_error
from harness.errors import GuestRefused, InfrastructureError, MissingPart, UsageError, told_shortage
from harness.guest.bootable import Bootable, GuestOptions
from harness.guest.guest import REGISTRATIONS
from harness.guest.process.guest import ProcessGuest, ProcessType
from harness.history.nt_status import status_name
from harness.program import run_program
from harness.setup.cache import Cache

PROGRAM = "hpnotify-host"
FOLDERS = ("src", "kmdf", "nt", "host")
TOOLS = "Install it with: apt-get install gcc make libc6-dev"

REQUESTS = ("VETO", "MARK", "DETACH", "READ_RING", "STATISTICS", "DELAY", "REGISTER", "DEREGISTER")
"""The first requests of the driver's control device, in the order of their codes (src/public.h)."""


def request(name: str) -> int:
    """Return the I/O control code of a request: METHOD_BUFFERED, read and write access."""
    return 0x8504 << 16 | 3 << 14 | (0x800 + REQUESTS.index(name)) << 2


def _words(*values: int) -> bytes:
    """Return values as the driver's structures hold them: 32 bits each, the least significant byte first."""
    return b"".join(int(value).to_bytes(4, "little") for value in values)


class HostGuest(ProcessGuest):
    """The guest ``host``: the driver, by its service name, gets requests like those of a control device."""

    def _load(self, driver: str, values: dict[str, int], deadline: Deadline) -> None:
        """Call DriverEntry, with the values as the registry would hold them."""
        words = " ".join(f"{name}={value}" for name, value in values.items())
        self._ask(f"start {driver} {words}", deadline)

    def _unload(self, driver: str, deadline: Deadline) -> None:
        """Send the request that ends the Plug and Play registrations, then call EvtDriverUnload."""
        self._ask(f"control {driver} {request('DETACH'):#x} 0", deadline)
        self._ask(f"stop {driver}", deadline)

    def veto_next(
        self, deadline: Deadline, *, status: int = 0xC000009A, nth: int = 1, driver: str = "hpnotify"
    ) -> None:
        """Send HPNOTIFY_VETO: a status, and the number of the processor, counted from now on."""
        self._control(driver, "VETO", _words(status, nth), deadline)

    def delay_start(self, milliseconds: int, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Send HPNOTIFY_DELAY: milliseconds."""
        self._control(driver, "DELAY", _words(milliseconds), deadline)

    def register(
        self, which: str, deadline: Deadline, *, existing: bool = False, driver: str = "hpnotify"
    ) -> None:
        """Send HPNOTIFY_REGISTRATION: which, and whether existing processors are reported."""
        self._control(driver, "REGISTER", _words(REGISTRATIONS.index(which), existing), deadline)

    def deregister(self, which: str, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Send HPNOTIFY_REGISTRATION: which."""
        self._control(driver, "DEREGISTER", _words(REGISTRATIONS.index(which), False), deadline)

    def mark(self, nonce: str, deadline: Deadline, *, driver: str = "hpnotify") -> None:
        """Send HPNOTIFY_MARK: 32 bytes of text."""
        self._control(driver, "MARK", nonce.encode("ascii")[:32].ljust(32, b"\0"), deadline)

    def _control(self, driver: str, name: str, data: bytes, deadline: Deadline) -> None:
        self._ask(f"control {driver} {request(name):#x} 0 {data.hex()}", deadline)

    def _ask(self, line: str, deadline: Deadline) -> None:
        word = self._machine.ask(line, deadline).split(" ")[0]
        if set(word) != {"0"}:
            status = status_name(int(word, 16)) if re.fullmatch("[0-9a-f]{1,8}", word) else f"0x{word}"
            raise GuestRefused(f"the driver answered the request {line.split(' ')[0]!r} with {status}")


def _sources(folder: Path) -> Path:
    """Return the folder of another build's sources. Raises UsageError if it lacks one of theirs."""
    lacking = [name for name in FOLDERS if not (folder / name).is_dir()]
    if lacking:
        raise UsageError(
            f"--driver {folder}: there is no folder {lacking[0]!r} in it",
            hint="The guest 'host' compiles a driver: give a folder like guest_drivers/hpnotify of another revision. "
            "A driver's file is executed by --guest wine.",
        )
    return folder.absolute()


class HostType(ProcessType):
    """The guest type ``host``: a process on this host."""

    label = "host"
    guest = HostGuest

    def prepare(self, options: GuestOptions, deadline: Deadline, progress: Callable[[str], None]) -> Bootable:
        """Compile the program, or take it from the cache. Raises MissingPart if gcc or make is missing."""
        own = driver_folder()
        folder = _sources(options.driver) if options.driver is not None else own
        compiler = run_program(["gcc", "--version"], deadline.within(30, "ask gcc for its version"))
        if compiler.status:
            raise MissingPart(f"gcc does not run: {compiler.failure()}", hint=TOOLS)
        version = compiler.first_line
        digest = digest_of_folders(folder, FOLDERS, version)

        def make(place: Path, _lock: int) -> None:
            progress("compiling the driver into a process")
            file = str(makefile(folder, "host", place))
            command = ["make", "-s", "-j2", "-f", file, f"OUT={place}", "SANITIZE=", str(place / PROGRAM)]
            done = run_program(command, deadline)
            if done.status:
                short, way_out = told_shortage(done.output)
                wrong = "" if short else source_error(done.output)
                if wrong and options.driver is not None:
                    raise UsageError(
                        f"the given driver does not compile into a process: {wrong}{done.last_words()}",
                        hint=f"Correct its sources in {folder}.",
                    )
                raise InfrastructureError(
                    f"the driver does not compile into a process: {short or done.failure()}",
                    hint=way_out or (f"The driver's sources are in {folder}." if wrong else TOOLS),
                )

        cache = Cache(options.cache, progress)
        place = cache.built("host-process", digest[:20], make, deadline, clone=own.parents[1], sealed=True)

        return self.bootable(
            options,
            digest=digest,
            description=f"a Linux process by {version}",
            content={PROGRAM: cache.content.sha256(place / PROGRAM)},
            driver=f"compiled from source {digest[:12]}",
            command=[str(place / PROGRAM), "--follow"],
        )
