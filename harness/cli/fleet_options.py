# SPDX-License-Identifier: MIT
"""The options of commands that use a fleet: the scheduler and TLS files, from the command line or ``[fleet]`` of a
lab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.lab_store import LAB
from harness.cli.revision import revision
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.fleet.nightly import FleetSettings
    from harness.fleet.tls import TlsFiles
    from harness.lab.lab_document import FleetRow

Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler",
        metavar="URL",
        help="The fleet's scheduler, tls://HOST:PORT; by default [fleet] of lab.toml.",
    ),
]
"""The scheduler."""
Ca = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The certificate of the lab's authority, for TLS.")
]
Cert = Annotated[Path | None, typer.Option(metavar="FILE", help="This host's certificate.")]
Key = Annotated[Path | None, typer.Option(metavar="FILE", help="The key of this host's certificate.")]
FleetLab = Annotated[
    Path | None, typer.Option("--lab", metavar="FILE", help="The lab file with [fleet]; lab.toml by default.")
]


def tls_of(
    row: FleetRow, base: Path, ca: Path | None, cert: Path | None, key: Path | None
) -> TlsFiles | None:
    """Return the TLS files: those given, or else those of ``[fleet]``, whose paths begin at ``base``. Raises
    UsageError."""
    from harness.fleet.tls import tls_files

    found = [
        str(path) if path is not None else str(base / said) if said else ""
        for path, said in ((ca, row.ca), (cert, row.cert), (key, row.key))
    ]
    return tls_files(*found)


def fleet_row(lab: Path | None) -> tuple[FleetRow, Path]:
    """Return ``[fleet]`` and its file: that of ``lab``, else of ``lab.toml`` here. It is empty if there is none."""
    from harness.lab.document_check import read_fleet
    from harness.lab.lab_document import FleetRow

    path = lab or LAB
    return (FleetRow() if lab is None and not path.exists() else read_fleet(path)), path


def fleet_of(
    scheduler: str, lab: Path | None, ca: Path | None, cert: Path | None, key: Path | None
) -> tuple[str, TlsFiles | None]:
    """Return the scheduler's address and the TLS files. Raises UsageError without a scheduler."""
    from harness.fleet.engine import check_address

    row, path = fleet_row(lab)
    url = scheduler or row.scheduler
    if not url:
        raise UsageError(
            "--scheduler is not given",
            hint=f"Give --scheduler tls://HOST:PORT, or write [fleet] scheduler into {path if lab else LAB}.",
        )
    tls = tls_of(row, path.parent, ca, cert, key)
    return check_address(url, tls), tls


def harness_version() -> str:
    """Return the version that all hosts of a fleet must have: the package's version, with its revision if known."""
    import harness

    at = revision(Path(harness.__file__).parent)
    return f"{harness.__version__} ({at})" if at else harness.__version__


def fleet_settings(row: FleetRow, scheduler: str, base: Path, into: Path) -> FleetSettings | None:
    """Return how a nightly run in ``into`` uses its fleet, None without a scheduler.

    On this host alone the exchange can be a folder in ``into``. Raises UsageError.
    """
    url = scheduler or row.scheduler
    if not url:
        return None
    from urllib.parse import urlsplit

    from harness.fleet.engine import check_address, is_loopback, require_engine
    from harness.fleet.nightly import FleetSettings
    from harness.fleet.results_place import check_results

    require_engine()
    tls = tls_of(row, base, None, None, None)
    check_address(url, tls)
    results = row.results
    if not results and not is_loopback(urlsplit(url).hostname or ""):
        raise UsageError(
            "[fleet] results is not set: run directories return through a place that all hosts can reach",
            hint='For example results = "sftp://nas.example.org/lab" or "file:///net/lab" (docs/fleet.md)',
        )
    return FleetSettings(
        scheduler=url,
        tls=tls,
        results=check_results(results or f"file://{into.absolute() / '.exchange'}"),
        harness=harness_version(),
        wait=row.wait,
        hold=row.hold,
    )
