# SPDX-License-Identifier: MIT
"""Maintenance of the store: rebuild it from run directories, prune old runs, and compare it with the directories."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError
from harness.store.loader import LoadReport, Looked, portions, read_portion, write_portion
from harness.store.recorded_run import is_run, read_run
from harness.store.source import RunSource, night_sources

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from harness.store.database import Database

MOST_NAMED = 20
"""The most runs of one kind that a check names. The rest are counted."""


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a store. ``damage`` is what the database's own check found, "" for nothing.

    ``gone`` are runs whose directories no longer exist, so that only the store has them. ``changed`` are runs whose
    directories, or whose nightly runs, differ from the store. Each list names at most twenty. ``removed`` counts runs
    whose directories retention removed (:mod:`harness.store.retention`).
    """

    runs: int
    nightlies: int
    rules: int
    failures: int
    incidents: int
    oldest: str
    newest: str
    damage: str
    removed: int
    gone_count: int
    gone: list[str]
    changed_count: int
    changed: list[str]


def rebuild(
    store: Database, runs: Iterable[RunSource], *, forget: bool = False, told: Looked = lambda _: None
) -> LoadReport:
    """Rebuild the store from ``runs`` in one transaction: until it is complete, the old store remains.

    Raises UsageError if the store has runs whose directories are gone, unless ``forget`` drops them.
    """
    report = LoadReport()
    with store.writing() as connection:
        lost = [name for name, directory in _directories(connection) if not is_run(Path(directory))]
        if lost and not forget:
            raise UsageError(
                f"{len(lost)} runs of the store have no run directory any more, for example {lost[0]}",
                hint="A rebuilt store would not have them. --forget rebuilds the store without them.",
            )
        _empty(connection)
        looked = 0
        for portion in portions(runs):
            if found := read_portion(portion, {}, report):
                write_portion(connection, found, report)
            looked += len(portion)
            told(looked)
    return report


def _empty(connection: Connection) -> None:
    from sqlalchemy import delete

    from harness.store.models import Base, StoredMeta

    for table in reversed(Base.metadata.sorted_tables):
        if table is not StoredMeta.__table__:
            connection.execute(delete(table))


def _directories(connection: Connection) -> list[tuple[str, str]]:
    from sqlalchemy import select

    from harness.store.models import StoredRun

    asked = (
        select(StoredRun.name, StoredRun.directory).where(StoredRun.directory != "").order_by(StoredRun.at)
    )
    return [(row.name, row.directory) for row in connection.execute(asked)]


def prune(store: Database, *, before: int, dry: bool = False) -> int:
    """Remove runs that began before ``before``, in seconds since the epoch, and return their number.

    Run directories stay. A nightly run or an incident is removed with its last run.
    """
    from sqlalchemy import delete, func, select

    from harness.store.models import StoredFailure, StoredIncident, StoredNightly, StoredRun

    old = StoredRun.at < before
    if dry:
        with store.reading() as connection:
            return connection.scalar(select(func.count()).select_from(StoredRun).where(old)) or 0
    with store.writing() as connection:
        removed = connection.execute(delete(StoredRun).where(old)).rowcount
        connection.execute(
            delete(StoredNightly).where(
                ~select(StoredRun.id).where(StoredRun.nightly_id == StoredNightly.id).exists()
            )
        )
        connection.execute(
            delete(StoredIncident).where(
                ~select(StoredFailure.run_id).where(StoredFailure.incident_id == StoredIncident.id).exists()
            )
        )
    return removed


def check(store: Database) -> CheckReport:
    """Compare the store with the run directories that it names, and let the database check itself. Raises InfrastructureError."""
    from sqlalchemy import func, select, text

    from harness.store.models import StoredFailure, StoredIncident, StoredNightly, StoredRun, StoredVerdict
    from harness.store.questions.moment import stamp

    with store.reading() as connection:
        damage = ""
        if store.address.file is not None:
            said = list(connection.scalars(text("PRAGMA quick_check(10)")))
            damage = "" if said == ["ok"] else "; ".join(said)
        counts = {
            table: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (StoredRun, StoredNightly, StoredVerdict, StoredFailure, StoredIncident)
        }
        oldest, newest = connection.execute(select(func.min(StoredRun.at), func.max(StoredRun.at))).one()
        removed = (
            connection.scalar(select(func.count()).select_from(StoredRun).where(StoredRun.removed > 0)) or 0
        )
        asked = (
            select(
                StoredRun.name, StoredRun.directory, StoredRun.digest, StoredNightly.directory.label("night")
            )
            .outerjoin(StoredNightly, StoredNightly.id == StoredRun.nightly_id)
            .where(StoredRun.directory != "", StoredRun.removed == 0)
            .order_by(StoredRun.at)
        )
        nights: dict[str, dict[str, bytes]] = {}
        gone, changed = [], []
        for row in connection.execute(asked):
            path = Path(row.directory)
            if not os.path.isdir(path):  # noqa: PTH112 - Path's raises for too long a name
                gone.append(row.name)
                continue
            told: bytes | None = b""
            if row.night is not None:
                if row.night not in nights:
                    nights[row.night] = _told(Path(row.night))
                told = nights[row.night].get(path.name)
            if told is None or _differs(path, row.digest, told):
                changed.append(row.name)
    return CheckReport(
        runs=counts[StoredRun],
        nightlies=counts[StoredNightly],
        rules=counts[StoredVerdict],
        failures=counts[StoredFailure],
        incidents=counts[StoredIncident],
        oldest=stamp(oldest),
        newest=stamp(newest),
        damage=damage,
        removed=removed,
        gone_count=len(gone),
        gone=gone[:MOST_NAMED],
        changed_count=len(changed),
        changed=changed[:MOST_NAMED],
    )


def _told(night: Path) -> dict[str, bytes]:
    """Return a nightly run's entries for its runs, by directory name. Return nothing if its state cannot be read."""
    try:
        return {source.path.name: source.told for source in night_sources(night) if source.path is not None}
    except UsageError:
        return {}


def _differs(path: Path, digest: str, told: bytes) -> bool:
    try:
        return read_run(path, known=digest, told=told) is not None
    except UsageError:
        return True
