# SPDX-License-Identifier: MIT
"""Retention at the end of a nightly run and by ``harness store prune``: doing it, and saying what was done."""

from __future__ import annotations

from pathlib import Path

from harness.cli.output import complain, say
from harness.errors import HarnessError
from harness.host.budget import size_text
from harness.invocation import invocation
from harness.lab.lab_document import KeepRow
from harness.report.escape import printable
from harness.store.address import StoreAddress
from harness.store.database import Database
from harness.store.retention import RetentionReport, retain


def retain_after(address: StoreAddress, into: Path, keep: KeepRow, *, quiet: bool) -> None:
    """Remove what is kept no longer after a nightly run. What goes wrong is said and changes nothing else."""
    try:
        with Database.open(address, make=True) as store:
            report = retain(store, into, keep)
    except HarnessError as error:
        complain(f"no run directory was removed: {error.message}", error.hint)
        return
    say_retention(report, quiet=quiet)


def say_retention(report: RetentionReport, *, dry: bool = False, quiet: bool = False) -> None:
    """Say what was removed, unless ``quiet``, and in any case what could not be."""
    done = "would be removed" if dry else "were removed"
    if not quiet and (report.removed or dry):
        say(
            f"{report.removed} run directories {done}, {size_text(report.freed)}; the others take {size_text(report.left)}"
        )
    if report.unknown:
        complain(
            f"{report.unknown} run directories stay because they are not in the result store",
            f"Load them: {invocation('store', 'load')}",
        )
    for name, why in list(report.failed.items())[:10]:
        complain(f"cannot remove the run directory {printable(name)}: {printable(why)}")
    if (more := len(report.failed) - 10) > 0:
        complain(f"cannot remove {more} more")
