# SPDX-License-Identifier: MIT
"""Debian and Ubuntu packages: find the missing ones, and install exactly those."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, MissingPart
from harness.program import ProgramResult, run_program
from harness.setup import lease_directory
from harness.setup.lease_directory import SHARED
from harness.setup.step import run

OS_RELEASE = Path("/etc/os-release")
MEANT_FOR = {"debian": ("12", "13"), "ubuntu": ("24.04",)}
"""The distributions that the package names are for."""

STALE_LISTS = (
    "Unable to locate package",
    "has no installation candidate",
    "404  Not Found",
    "Failed to fetch",
    # Installed packages are newer than the packages that the lists offer.
    "have unmet dependencies",
    "held broken packages",
)
UNUSED_SERVICES = ("munge", "slurmctld", "slurmd")
"""Packages, and services of the same name, that Debian starts once they are installed. The harness starts its own."""
BOOTED = Path("/run/systemd/system")
"""Exists where systemd runs the services (sd_booted(3))."""
LOCKED = ("Could not get lock", "Unable to acquire the dpkg frontend lock", "Unable to lock directory")
UNREACHABLE = (
    "Failed to fetch",
    "Temporary failure resolving",
    "Could not resolve",
    "Could not connect",
    "Some index files failed",
)


class Distribution:
    """The distribution of this machine, from ``/etc/os-release``."""

    def __init__(self, os_release: Path = OS_RELEASE) -> None:
        fields: dict[str, str] = {}
        try:
            for line in os_release.read_text(encoding="utf-8", errors="replace").splitlines():
                key, separator, value = line.partition("=")
                if separator:
                    fields[key.strip()] = value.strip().strip("\"'")
        except OSError:
            pass
        self.id = fields.get("ID", "unknown")
        self.version = fields.get("VERSION_ID", "")
        self.name = fields.get("PRETTY_NAME", "") or f"{self.id} {self.version}".strip()

    @property
    def meant_for(self) -> bool:
        """Whether the harness supports this distribution."""
        return self.version in MEANT_FOR.get(self.id, ())


def not_installed(packages: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return those of ``packages`` that are not fully installed, in the same order, each once.

    Raises MissingPart when there is no dpkg-query.
    """
    wanted = list(dict.fromkeys(packages))
    asked = run_program(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted],
        Deadline(60, "asking which packages are installed"),
        environment=environment,
    )
    present = {
        line.removesuffix(" installed") for line in asked.output.splitlines() if line.endswith(" installed")
    }
    return [package for package in wanted if package not in present]


class Installer:
    """Installs packages with apt-get, as root or through sudo; the only question is sudo's password."""

    def __init__(
        self, environment: Mapping[str, str], log: Path, say: Callable[[str], None], *, booted: Path = BOOTED
    ) -> None:
        self._environment = environment
        self._log = log
        self._say = say
        self._booted = booted

    def install(self, packages: Sequence[str], deadline: Deadline) -> None:
        """Install ``packages``, and stop those of their services that the harness does not use.

        Raises MissingPart, naming them and the command that supplies them, if that fails.
        """
        by_hand = f"sudo apt-get install --no-install-recommends {' '.join(packages)}"
        names = " ".join(packages)
        if not shutil.which("apt-get", path=self._environment.get("PATH")):
            raise MissingPart(
                f"these packages are missing and there is no apt-get to install them: {names}",
                hint="The harness is meant for Debian 12, Debian 13 and Ubuntu 24.04. Elsewhere, install what "
                "these packages hold by hand.",
            )
        prefix = self._become_root("these packages are missing", names, by_hand, deadline)
        self._say(f"installing Debian packages: {names}")
        command = ["install", "--yes", "--no-install-recommends", "--no-remove", *packages]
        ended = self._apt(prefix, command, deadline)
        if ended.status != 0 and ended.says(*STALE_LISTS):
            self._say("the package lists are missing or old: apt-get update")
            updated = self._apt(prefix, ["update"], deadline)
            ended = self._apt(prefix, command, deadline) if updated.status == 0 else updated
        if ended.status == 0:
            self._stop_unused([each for each in packages if each in UNUSED_SERVICES], prefix, deadline)
            return
        hint = f"Install them by hand: {by_hand}"
        if ended.says("No space left", "enough free space"):
            hint = f"The disk is full. Free some space, then: {by_hand}"
        elif ended.says(*UNREACHABLE):
            hint = f"The package archive cannot be reached. With a network: sudo apt-get update && {by_hand}"
        elif ended.says("dpkg was interrupted"):
            hint = f"An earlier installation was stopped half-way: sudo dpkg --configure -a && {by_hand}"
        elif ended.says("Unable to locate package", "has no installation candidate"):
            hint = f"{hint}\n  On Ubuntu some are in 'universe': sudo add-apt-repository universe"
        raise MissingPart(
            f"apt-get (exit status {ended.status}) could not install: {names}{ended.last_words()}",
            hint=f"{hint}\n  Everything it printed is in {self._log}",
        )

    def _stop_unused(self, services: list[str], prefix: list[str], deadline: Deadline) -> None:
        """Stop services that an installation started. A failure is reported and not raised: the packages are there."""
        if not services or not self._booted.is_dir():
            return
        command = ["systemctl", "disable", "--now", *services]
        ended = run([*prefix, *command], self._log, deadline, environment=self._environment, finish=True)
        if ended.status:
            self._say(
                f"the services {' '.join(services)} are not stopped{ended.last_words()}\n"
                f"  By hand: sudo {' '.join(command)}"
            )

    def make_shared_leases(self, deadline: Deadline) -> None:
        """Create the directory of leases that all users share, if it is absent and the environment names no other.

        A host without it works too, so a failure is reported and not raised.
        """
        if lease_directory.configured(self._environment) or not lease_directory.absent(SHARED):
            return
        by_hand = lease_directory.by_hand(SHARED)
        try:
            prefix = self._become_root("a directory is missing", str(SHARED), by_hand, deadline)
            for command in lease_directory.commands(SHARED):
                ended = run(
                    [*prefix, *command], self._log, deadline, environment=self._environment, finish=True
                )
                if ended.status:
                    raise InfrastructureError(
                        f"cannot make {SHARED}{ended.last_words()}", hint=f"By hand: {by_hand}"
                    )
        except HarnessError as error:
            self._say(str(error))
        else:
            self._say(f"made {SHARED}, where the machines of all users are counted")

    def _become_root(self, what: str, names: str, by_hand: str, deadline: Deadline) -> list[str]:
        if os.geteuid() == 0:
            return []
        hint = f"Ask an administrator to run: {by_hand}"
        if not shutil.which("sudo", path=self._environment.get("PATH")):
            raise MissingPart(f"{what}, you are not root and there is no sudo: {names}", hint=hint)
        free = run(["sudo", "-n", "true"], self._log, deadline, environment=self._environment, finish=True)
        if free.status:
            if not sys.stdin.isatty():
                raise MissingPart(
                    f"{what} and sudo wants a password, with no terminal to ask on: {names}",
                    hint=hint,
                )
            self._say(f"{what}, and sudo may ask for your password to supply them: {names}")
            if run_program(["sudo", "-v"], deadline, environment=self._environment, terminal=True).status:
                raise MissingPart(f"{what} and sudo refused: {names}", hint=hint)
        return ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive"]

    def _apt(self, prefix: list[str], arguments: list[str], deadline: Deadline) -> ProgramResult:
        """Run apt-get; repeat it while another package manager holds a lock that apt itself does not wait for."""
        environment = {**self._environment, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
        wait = max(1, int(deadline.remaining()))
        options = ("--quiet", "-o", f"DPkg::Lock::Timeout={wait}", "-o", "Dpkg::Use-Pty=0")
        command = [*prefix, "apt-get", *options, *arguments]
        told = False
        last: list[ProgramResult] = []

        def attempt() -> ProgramResult | None:
            nonlocal told
            if last and deadline.expired:
                return None
            ended = run(command, self._log, deadline, environment=environment, finish=True)
            last[:] = [ended]
            if ended.status == 0 or not ended.says(*LOCKED):
                return ended
            if not told:
                self._say("waiting for another package manager to finish")
                told = True
            return None

        def still_locked() -> InfrastructureError:
            return InfrastructureError(
                f"another package manager held its lock for {deadline.seconds:g} s{last[0].last_words()}",
                hint="Wait until it has finished, then run this again.",
            )

        return deadline.poll(attempt, interval=0.5, error=still_locked)
