# SPDX-License-Identifier: MIT
"""The driver in Windows: its files copied, installed with or without Plug and Play, started, stopped, removed."""

from __future__ import annotations

import re
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import GuestRefused, UsageError
from harness.guest.windows import answer
from harness.guest.windows.driver_files import DriverFiles
from harness.guest.windows.shell import HOME, TOOL, PowerShellSession
from harness.guest.windows.transports import GuestTransports
from harness.invocation import invocation

DEBUG_PORT = 0x504

RING = f"{HOME}\\collected\\ring.jsonl"
"""The file that collects the records of all drivers' rings: a ring is gone when its driver is unloaded."""

USER_MODE = f"{HOME}\\collected\\user-mode.jsonl"
"""What ``hpnctl watch`` heard in user mode."""

NO_MORE_ITEMS = 259
"""ERROR_NO_MORE_ITEMS: pnputil found no device that takes the package (PnPUtil return values)."""

RESTART_NEEDED = (3010, 1641)

SYSTEM_ERRORS = {
    2: "a file is not there",
    5: "access was denied",
    52: "Plug and Play refuses the signature",
    193: "the file is not a valid driver",
    577: "Windows cannot verify the signature: is it signed, test signing on, Secure Boot off, and memory integrity off?",
    1056: "it runs already, and was not recorded from its beginning: have it started on demand",
    1060: "there is no such service: the map's service names one that the template has",
    1072: "the service is marked for deletion: something still holds it",
    1073: "the service exists and runs already",
    1275: "Windows blocks this driver",
}
"""The most frequent Windows error codes of a driver's installation (W32: debug/system-error-codes)."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")


class WindowsService:
    """The driver, under one service name after the other. ``files`` is None if the run wants no driver."""

    def __init__(
        self, shell: PowerShellSession, transports: GuestTransports, files: DriverFiles | None
    ) -> None:
        self._shell = shell
        self._transports = transports
        self._files = files
        self.drained = False
        self.watching = False
        self._trusted = False
        self._placed: set[str] = set()
        self._folders: set[str] = set()
        self._loaded: dict[str, str] = {}
        self._with_devices: set[str] = set()

    @property
    def has_files(self) -> bool:
        """Whether there is a driver to install, with its tool."""
        return self._files is not None

    def put_tool(self, deadline: Deadline) -> None:
        """Copy ``hpnctl.exe`` into the guest; nothing is counted without it."""
        if self._files is not None:
            self._place(self._files.tool, TOOL, deadline)

    def had_tool(self) -> None:
        """Note that the tool is already in the guest, which was saved with it (:attr:`Bootable.saved_with`)."""
        if self._files is not None:
            self._placed.add(TOOL)

    def load(
        self, name: str, deadline: Deadline, *, add_existing: bool, pnp: bool, veto: int = 0
    ) -> list[answer.ServiceDevice]:
        """Install and start the driver as service ``name``, and return its devices, if it is to have any.

        Raises GuestRefused with the step, code and message.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} cannot be a service's name", hint="Up to 32 letters and digits.")
        if name in self._loaded:
            raise GuestRefused(f"the driver {name} is loaded already")
        files = self._wanted()
        self._trust(files, deadline)
        if pnp:
            devices = self._install(files, deadline)
            self._loaded[name] = files.pnp_service
            return devices
        values = {
            "AddExisting": int(add_existing),
            # A string of port writes is not atomic across processors. So only the first driver may use the port.
            "DebugPort": 0 if self._loaded else DEBUG_PORT,
            **({"Veto": veto} if veto else {}),
        }
        self._create(files, name, values, deadline)
        self._loaded[name] = name
        return []

    def _create(self, files: DriverFiles, name: str, values: dict[str, int], deadline: Deadline) -> None:
        """Create and start the service ``name``, with ``values`` in its key."""
        if files.driver is None:
            raise GuestRefused(f"there is no file of the driver {name}")
        # A file is loaded only once, under any service name. So each service gets its own copy, named after it.
        path = f"{HOME}\\driver\\{files.sha256[:16]}\\{name}.sys"
        self._place(files.driver, path, deadline)
        step = self._shell.once(
            "driver-load",
            deadline,
            answer.ChangeStep,
            Driver=name,
            Path=path,
            Names=list(values),
            Values=[str(value) for value in values.values()],
        )
        started(step, name)

    def unload(self, name: str, deadline: Deadline) -> None:
        """Make the driver end its registrations, stop it and remove it."""
        service = self.service(name)
        self.drain(service, deadline)
        if service in self._with_devices:
            self._remove(self._wanted(), deadline)
        else:
            self._stop(service, name, deadline)
        del self._loaded[name]

    def _stop(self, service: str, name: str, deadline: Deadline) -> None:
        step = self._shell.once("driver-unload", deadline, answer.ChangeStep, Driver=service, Tool=TOOL)
        check(step, f"the driver {name}")

    def _remove(self, files: DriverFiles, deadline: Deadline) -> None:
        found = self._shell.once(
            "pnp-remove", deadline, answer.PnpInstallation, Inf=files.inf, Service=files.pnp_service
        )
        if found.code not in (0, *RESTART_NEEDED) or found.devices:
            raise GuestRefused(f"the package {files.inf} was not removed: {_words(found.code, found.said)}")
        self._with_devices.discard(files.pnp_service)

    def verify(self, drivers: tuple[str, ...], deadline: Deadline) -> None:
        """Make Driver Verifier watch these files with its standard settings from the next boot on, or nothing.

        ``verifier`` ends with 2 when a restart is needed (WD: devtest/verifier-command-line.md).
        """
        words = ["/standard", "/driver", *drivers] if drivers else ["/reset"]
        step = self._shell.once("verifier", deadline, answer.ChangeStep, Arguments=words)
        if step.code not in (0, 2):
            raise GuestRefused(f"verifier {' '.join(words)}: {_words(step.code, step.said)}")

    def drain(self, service: str, deadline: Deadline) -> None:
        """Append the unread records of a driver's ring to :data:`RING`. Raises GuestRefused with hpnctl's message."""
        step = self._shell.once("ring", deadline, answer.ChangeStep, Driver=service, Tool=TOOL, Path=RING)
        if step.code:
            raise GuestRefused(f"the ring of {service} was not read: hpnctl: {_words(step.code, step.said)}")
        self.drained = True

    def service(self, name: str) -> str:
        """Return the name of the service, which is that of its device too. Raises GuestRefused if it is not loaded."""
        if name not in self._loaded:
            raise GuestRefused(f"the driver {name} is not loaded")
        return self._loaded[name]

    @property
    def loaded(self) -> list[str]:
        """The services that run."""
        return list(self._loaded.values())

    def forget(self) -> None:
        """Forget the loaded drivers: the guest restarts, and services started on demand no longer run."""
        self._loaded.clear()
        self._with_devices.clear()

    def _wanted(self) -> DriverFiles:
        if self._files is None:
            raise GuestRefused("no driver was prepared for this guest")
        return self._files

    def _trust(self, files: DriverFiles, deadline: Deadline) -> None:
        if self._trusted or files.certificate is None:
            return
        path = f"{HOME}\\driver\\signer.cer"
        self._place(files.certificate, path, deadline)
        self._shell.once("trust", deadline, answer.ServiceState, Path=path)
        self._trusted = True

    def _install(self, files: DriverFiles, deadline: Deadline) -> list[answer.ServiceDevice]:
        if files.package is None or files.driver is None:
            folder = files.driver.parent if files.driver is not None else "the template"
            raise GuestRefused(
                f"{folder} holds no driver package: {files.inf or 'an INF file'} and its catalog are needed for Plug and Play",
                hint=f"Put {files.inf} next to the driver (harness driver build does). This makes its catalog: "
                + invocation("driver", "sign", files.driver or "FILE"),
            )
        folder = f"{HOME}\\driver\\package"
        for file in (
            files.driver,
            files.package / files.inf,
            files.package / files.inf.replace(".inf", ".cat"),
        ):
            self._place(file, f"{folder}\\{file.name}", deadline)
        found = self._shell.once(
            "pnp-install",
            deadline,
            answer.PnpInstallation,
            Inf=f"{folder}\\{files.inf}",
            Service=files.pnp_service,
        )
        if found.code not in (0, NO_MORE_ITEMS, *RESTART_NEEDED):
            raise GuestRefused(f"the package {files.inf} was not installed: {_words(found.code, found.said)}")
        working = [device for device in found.devices if device.problem == 0]
        if not working:
            problems = ", ".join(f"{one.device} with problem {one.problem}" for one in found.devices)
            raise GuestRefused(
                f"the package {files.inf} is installed, and no device works with it: {problems or 'none takes it'}",
                hint="Problem codes: learn.microsoft.com, 'Device Manager error messages'. 52 is the signature.",
            )
        self._with_devices.add(files.pnp_service)
        return working

    def _place(self, file: Path, target: str, deadline: Deadline) -> None:
        """Copy a file into the guest, once: its disk is this run's own, and keeps it when the guest restarts."""
        if target in self._placed:
            return
        folder = target.rpartition("\\")[0]
        if folder not in self._folders:
            self._shell.ask("folder", deadline, answer.ServiceState, Path=folder)
            self._folders.add(folder)
        self._transports.files.put(file, target, deadline)
        self._placed.add(target)


def check(step: answer.ChangeStep, what: str) -> None:
    """Raise GuestRefused with the step that failed and Windows' message."""
    if step.code:
        raise GuestRefused(f"{what}: {step.step}: {_words(step.code, step.said)}")


def started(step: answer.ChangeStep, name: str) -> None:
    """Raise GuestRefused if the driver does not run after ``step``."""
    check(step, f"the driver {name}")
    if step.state != "Running":
        raise GuestRefused(f"the driver {name} was started and is {step.state or 'gone'!r}")


def _words(code: int, said: str) -> str:
    known = SYSTEM_ERRORS.get(code, "")
    meaning = f" ({known})" if known else ""
    return f"exit code {code}{meaning}: {said[:300] or 'no output'}"
