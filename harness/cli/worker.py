# SPDX-License-Identifier: MIT
"""``harness worker``: offers this host to the nightly runs of a fleet."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.fleet_options import Ca, Cert, FleetLab, Key, Scheduler
from harness.errors import ExitCode, UsageError
from harness.report.escape import printable


def worker(
    scheduler: Scheduler = "",
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    lab: FleetLab = None,
    name: Annotated[
        str, typer.Option(metavar="HOST", help="This host's name in the fleet; by default its hostname.")
    ] = "",
    instance: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="What tells several workers of one host apart, such as the number of a batch system's job.",
        ),
    ] = "",
    listen: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="This host's address for the other hosts; by default that of the interface that reaches them.",
        ),
    ] = "",
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT", min=0, max=65535, help="Listening port, for a firewall; by default any free one."
        ),
    ] = 0,
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory for runs until they are sent; by default in the cache."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Exit when the scheduler is lost, instead of waiting for it.")
    ] = False,
) -> int:
    """Offer this host to a scheduler: its budget, KVM, templates and QEMU. Runs take its leases and respect its
    reservations."""
    import re

    from harness.cli.fleet_options import fleet_of, harness_version
    from harness.fleet.worker import FleetWorker
    from harness.setup.cache import cache_directory

    host = name or os.uname().nodename
    if not host.replace("-", "").replace(".", "").replace("_", "").isalnum() or len(host) > 100:
        raise UsageError(
            f"--name {host[:200]!r} is not a valid host name", hint="Use letters, digits, '.', '_' and '-'."
        )

    if instance and not re.fullmatch(r"[A-Za-z0-9._\[\]-]{1,100}", instance):
        raise UsageError(
            f"--instance {instance[:200]!r} is not a valid name",
            hint="Use letters, digits, '.', '_', '-' and brackets.",
        )

    def say(text: str) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {printable(text, 1000)}\n")
        sys.stderr.flush()

    url, tls = fleet_of(scheduler, lab, ca, cert, key)
    directory = (work or cache_directory(os.environ) / "fleet").absolute()
    FleetWorker(
        url,
        tls,
        host=host,
        instance=instance,
        work=directory,
        harness=harness_version(),
        listen=listen,
        port=port,
        say=say,
    ).serve(once=once)
    return ExitCode.HOLDS
