# SPDX-License-Identifier: MIT
"""Retention: removes run directories that ``[keep]`` of a lab no longer keeps. Their verdicts stay in the store.

A directory is removed only if the store has its run. An interrupted run is not in the nightly run's state and has no
result, so it need not be in the store.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.lab.kept_run import KeptRun, doomed, kept_runs, remove_runs
from harness.lab.lab_document import KeepRow

if TYPE_CHECKING:
    from harness.store.database import Database

PORTION = 100
"""The number of runs marked and removed at a time, so that an interruption leaves few that are marked and not yet
removed."""


class RetentionReport(msgspec.Struct, frozen=True, kw_only=True):
    """``removed`` runs took ``freed`` bytes, or would be removed. The rest takes ``left`` bytes.

    ``unknown`` runs are due but not in the store. ``failed`` has the reason for each that could not be removed.
    """

    removed: int
    freed: int
    left: int
    unknown: int
    failed: dict[str, str]


def retain(
    store: Database, into: Path, keep: KeepRow, *, now: float | None = None, dry: bool = False
) -> RetentionReport:
    """Remove the run directories of nightly runs in ``into`` that are no longer kept. ``dry`` only counts them. Raises
    InfrastructureError."""
    moment = time.time() if now is None else now
    with kept_runs(into) as runs:
        gone = doomed(runs, keep, now=moment)
        stored = _stored(store, gone)
        going = [run for run in gone if not run.told or run.name in stored]
        failed: dict[str, str] = {}
        if not dry:
            waiting = iter(going)
            while portion := list(itertools.islice(waiting, PORTION)):
                # Marked before the removal: a marked run that still exists is removed the next time.
                _mark(store, [run.name for run in portion], int(moment))
                left = remove_runs(portion)
                if left:
                    _mark(store, list(left), 0)
                    failed |= left
        freed = sum(run.size for run in going if run.name not in failed)
    return RetentionReport(
        removed=len(going) - len(failed),
        freed=freed,
        left=sum(run.size for run in runs) - freed,
        unknown=len(gone) - len(going),
        failed=failed,
    )


def _stored(store: Database, runs: Iterable[KeptRun]) -> set[str]:
    from sqlalchemy import select

    from harness.store.models import StoredRun, text

    found: set[str] = set()
    names = iter([run.name for run in runs])
    with store.reading() as connection:
        while portion := [text(name) for name in itertools.islice(names, PORTION)]:
            found |= set(connection.scalars(select(StoredRun.name).where(StoredRun.name.in_(portion))))
    return found


def _mark(store: Database, names: Sequence[str], at: int) -> None:
    from sqlalchemy import update

    from harness.store.models import StoredRun, text

    with store.writing() as connection:
        asked = update(StoredRun).where(StoredRun.name.in_([text(name) for name in names]))
        connection.execute(asked.values(removed=at))
