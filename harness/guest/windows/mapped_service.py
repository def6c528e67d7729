# SPDX-License-Identifier: MIT
"""Another driver in Windows: installed from its file, or a service that the guest has. It gets no orders."""

from __future__ import annotations

from harness.capture.mapping.driver_map import DriverMap
from harness.deadline import Deadline
from harness.errors import GuestRefused
from harness.guest.windows import answer
from harness.guest.windows.driver_files import DriverFiles
from harness.guest.windows.service import WindowsService, check, started
from harness.guest.windows.shell import PowerShellSession
from harness.guest.windows.transports import GuestTransports


class MappedService(WindowsService):
    """The driver that ``mapped`` describes. A plan's names are those of instances; there is one service."""

    def __init__(
        self,
        shell: PowerShellSession,
        transports: GuestTransports,
        files: DriverFiles | None,
        mapped: DriverMap,
    ) -> None:
        super().__init__(shell, transports, files)
        self._mapped = mapped

    def load(
        self, name: str, deadline: Deadline, *, add_existing: bool, pnp: bool, veto: int = 0
    ) -> list[answer.ServiceDevice]:
        """Install and start the driver, or start the service that the guest has.

        ``add_existing`` is ignored, since only hpnotify has that setting. Raises GuestRefused for ``veto``, for a second
        instance, and, with the step, code and message, for a step that failed.
        """
        driver = self._mapped.driver
        if veto:
            raise self.no_orders(f"refuse processor {veto}")
        if self._loaded:
            raise GuestRefused(f"the driver {driver} is loaded already, and a mapped driver has one instance")
        files = self._wanted()
        if pnp:
            return super().load(name, deadline, add_existing=add_existing, pnp=True)
        service = files.pnp_service
        self._trust(files, deadline)
        if files.driver is not None:
            self._create(files, service, {}, deadline)
        else:
            started(self._shell.once("service-start", deadline, answer.ChangeStep, Driver=service), service)
        self._loaded[name] = service
        return []

    def drain(self, service: str, deadline: Deadline) -> None:
        """Do nothing: only hpnotify has a ring."""

    def no_orders(self, what: str) -> GuestRefused:
        """Return the error for an order that only hpnotify understands."""
        return GuestRefused(
            f"the driver {self._mapped.driver} cannot be told to {what}: only hpnotify takes orders",
            hint="Leave the operation out of the plan, or run it with hpnotify: without --driver-map.",
        )

    def image(self, deadline: Deadline) -> str:
        """Return the name of the driver's file in the guest, as Driver Verifier wants it."""
        files = self._wanted()
        if files.driver is not None:
            return f"{files.pnp_service}.sys"
        found = self._shell.ask("driver-state", deadline, answer.ServiceState, Driver=files.pnp_service)
        return found.path.rpartition("\\")[2] or f"{files.pnp_service}.sys"

    def _stop(self, service: str, name: str, deadline: Deadline) -> None:
        own = self._wanted().driver is not None
        step = self._shell.once("service-stop", deadline, answer.ChangeStep, Driver=service, Delete=own)
        check(step, f"the driver {name}")
