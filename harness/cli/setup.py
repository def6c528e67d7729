# SPDX-License-Identifier: MIT
"""``harness setup``: the Debian packages that a guest or a part lacks, in one command, and their installation
on request."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from harness.choice import check_choice
from harness.cli.output import complain, say
from harness.deadline import Deadline
from harness.errors import ExitCode, MissingPart
from harness.invocation import invocation

if TYPE_CHECKING:
    from harness.setup.parts import Need, Part

EXTRAS = {"libvirt": "libvirt", "wine": "driver", "windows": "windows"}
"""The extra of the package that a part needs besides Debian packages."""

MODULES = {"libvirt": "libvirt", "driver": "pefile", "windows": "pycdlib"}
"""A module of each extra."""


def setup(
    part: Annotated[
        str,
        typer.Argument(
            metavar="PART", help="What to set up: twin (the main job), host, libvirt, windows, wine, …"
        ),
    ] = "twin",
    yes: Annotated[bool, typer.Option("--yes", help="Install without asking.")] = False,
) -> int:
    """Print the missing Debian packages in one apt-get command, and install them on request.

    Also creates the directory of leases that all users of this host share. Exits with 0 if nothing is
    missing, and with 69 if something is missing and was not installed.
    """
    from harness.setup.parts import HOST, TESTED, TWIN, WINDOWS, has_apt, supply

    parts = {each.name: each for each in (TWIN, HOST, WINDOWS, *TESTED) if each.name != "qemu"}
    check_choice("part", part, parts)
    wanted = parts[part]
    missing = _lacking(wanted)
    if missing:
        say(f"{part} lacks:")
        say(f"  {need.package:<20} {need.why}" for need in missing)
        say(["", supply(missing), ""])
        if not has_apt():
            return ExitCode.INFRASTRUCTURE
        if not yes and not (sys.stdin.isatty() and typer.confirm("Run this now?")):
            say(f"Nothing was installed. {invocation('setup', part, '--yes')} runs it without asking.")
            return ExitCode.INFRASTRUCTURE
        _install(wanted, missing)
    else:
        _share_leases(yes=yes)
    extra = EXTRAS.get(part, "")
    if extra and not _importable(MODULES[extra]):
        from harness.package import install_extra

        say(f"{part} also takes an extra of this package: {install_extra(extra)}")
        return ExitCode.INFRASTRUCTURE
    say(f"Nothing is missing for {part}.")
    return ExitCode.HOLDS


def _lacking(part: Part) -> list[Need]:
    """Return what ``part`` lacks, and the build dependencies of its extra if that is not installed; each package once."""
    from harness.setup.parts import LIBVIRT_PYTHON, OWN_PYTHON, own_python

    needs = part.missing()
    if part.name == "libvirt" and not _importable("libvirt"):
        own = own_python(sys.executable)
        needs += [need for need in LIBVIRT_PYTHON.missing() if own or need.package not in OWN_PYTHON]
    return list({need.package: need for need in needs}.values())


def _importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def _share_leases(*, yes: bool) -> None:
    """Print the command that creates the directory of leases, if it is absent, and run it on request."""
    from harness.setup import lease_directory
    from harness.setup.cache import Cache, cache_directory
    from harness.setup.debian import Installer

    shared = lease_directory.SHARED
    if lease_directory.configured(os.environ) or not lease_directory.absent(shared):
        return
    say([f"No {shared}: only your own machines are counted.", "", lease_directory.by_hand(shared), ""])
    if yes or (sys.stdin.isatty() and typer.confirm("Run this now?")):
        log = Cache(cache_directory(os.environ), complain).log("apt-get")
        Installer(os.environ, log, complain).make_shared_leases(
            Deadline(60, "making the directory of leases")
        )


def _install(part: Part, missing: list[Need]) -> None:
    """Install what is missing. Raises MissingPart if that fails, or if the packages lack the expected files."""
    from harness.setup.cache import Cache, cache_directory
    from harness.setup.debian import Distribution, Installer

    distribution = Distribution()
    if part.unpackaged == distribution.id:
        raise MissingPart(
            f"{part.name} is missing, and {distribution.name} has no package for it", hint=part.elsewhere
        )
    log = Cache(cache_directory(os.environ), complain).log("apt-get")
    installer = Installer(os.environ, log, complain)
    installer.install([need.package for need in missing], Deadline(1800, "installing packages"))
    installer.make_shared_leases(Deadline(60, "making the directory of leases"))
    for need in _lacking(part):
        raise MissingPart(
            f"{part.name} still lacks {need.why}: none of {', '.join(need.evidence)} is on this machine",
            hint=f"Its package is there. Reinstall it: sudo apt-get install --reinstall {need.package}",
        )
