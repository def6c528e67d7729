# SPDX-License-Identifier: MIT
"""A nightly run compared with the previous one: new, persisting, gone and flaky incidents.

Each incident of the nightly run is in exactly one list. It is *infrastructure* or *plan* by its class. It is *flaky* if another
repetition held at every point where it occurred. Otherwise it is *still* there if the previous nightly run had it, and
*new* if not. An incident of the previous one only is *gone* if one of its points was run again, and *not run*
otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import UsageError
from harness.report.answer_table import AnswerTable
from harness.store.questions.incidents import IncidentLine, incident_lines, incident_table
from harness.store.questions.moment import short, stamp
from harness.store.questions.rows import of_row

if TYPE_CHECKING:
    from sqlalchemy import Connection

NOT_THE_DRIVER = ("infrastructure", "plan")
"""Failure classes that say nothing about a driver."""


class ComparedNightly(msgspec.Struct, frozen=True, kw_only=True):
    """A nightly run: ``cells`` were planned, ``done`` have ended, ``counts`` are their results."""

    name: str
    lab: str
    started: str
    cells: int
    done: int
    seconds: float
    counts: dict[str, int]
    directory: str


class NightlyComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A nightly run and the previous one of the same lab, None if there is none.

    ``plan`` are the incidents whose runs ended with exit code 64: what their plan or their options ask for is impossible.
    """

    night: ComparedNightly
    before: ComparedNightly | None
    new: list[IncidentLine]
    still: list[IncidentLine]
    flaky: list[IncidentLine]
    infrastructure: list[IncidentLine]
    plan: list[IncidentLine]
    gone: list[IncidentLine]
    not_run: list[IncidentLine]

    def tables(self) -> list[AnswerTable]:
        """Return a table for each list that is not empty, and always one for the new incidents."""
        before = f"compared with {self.before.name}" if self.before is not None else "the first of its lab"
        lists = [
            ("Still failing", self.still),
            ("Flaky: held at the same points in other repetitions", self.flaky),
            ("Infrastructure", self.infrastructure),
            ("Plans and options that a run refused", self.plan),
            ("Gone", self.gone),
            ("Not run again", self.not_run),
        ]
        title = f"New failures of {self.night.name} ({short(self.night.started)}), {before}"
        first = incident_table(title, self.new)
        return [first, *(incident_table(title, found) for title, found in lists if found)]


def nightly_comparison(connection: Connection, *, lab: str = "", name: str = "") -> NightlyComparison:
    """Compare the last nightly run, or the one called ``name``, with the previous one. Raises UsageError if there is
    none."""
    from sqlalchemy import select

    from harness.store.models import StoredFailure, StoredIncident, StoredNightly, StoredRun

    asked = select(StoredNightly).order_by(StoredNightly.at.desc(), StoredNightly.id.desc()).limit(1)
    if lab:
        asked = asked.where(StoredNightly.lab == lab)
    row = connection.execute(asked.where(StoredNightly.name == name) if name else asked).first()
    if row is None:
        what = f"no nightly run called {name!r}" if name else "no nightly run"
        raise UsageError(
            f"the result store has {what}", hint="'harness history runs' lists the runs that it has."
        )
    earlier = (
        select(StoredNightly)
        .where(
            StoredNightly.lab == row.lab,
            StoredNightly.at < row.at,
            select(StoredRun.id).where(StoredRun.nightly_id == StoredNightly.id).exists(),
        )
        .order_by(StoredNightly.at.desc())
        .limit(1)
    )
    before = connection.execute(earlier).first()

    def found(night: int) -> dict[int, str]:
        asked = (
            select(StoredIncident.id, StoredIncident.failure_class)
            .join(StoredFailure, StoredFailure.incident_id == StoredIncident.id)
            .where(StoredFailure.nightly_id == night)
            .distinct()
        )
        return {row.id: row.failure_class for row in connection.execute(asked)}

    now, then = found(row.id), found(before.id) if before is not None else {}
    outcomes: dict[int, set[str]] = {}
    for point, word in connection.execute(
        select(StoredRun.point_id, StoredRun.word)
        .where(StoredRun.nightly_id == row.id, StoredRun.counted)
        .distinct()
    ):
        outcomes.setdefault(point, set()).add(word)

    def points(night: int) -> dict[int, set[int]]:
        places: dict[int, set[int]] = {}
        for number, point in connection.execute(
            select(StoredFailure.incident_id, StoredRun.point_id)
            .join(StoredRun, StoredRun.id == StoredFailure.run_id)
            .where(StoredFailure.nightly_id == night)
            .distinct()
        ):
            places.setdefault(number, set()).add(point)
        return places

    sorts: dict[str, list[int]] = {
        key: [] for key in ("new", "still", "flaky", *NOT_THE_DRIVER, "gone", "not_run")
    }
    here = points(row.id)
    for number, failure_class in now.items():
        if failure_class in NOT_THE_DRIVER:
            sorts[failure_class].append(number)
        elif all("holds" in outcomes.get(point, ()) for point in here[number]):
            sorts["flaky"].append(number)
        else:
            sorts["still" if number in then else "new"].append(number)
    ran = {point for point, words in outcomes.items() if words - {"skipped", "infrastructure", "plan"}}
    there = points(before.id) if before is not None else {}
    for number, failure_class in then.items():
        if number not in now and failure_class not in NOT_THE_DRIVER:
            sorts["gone" if there[number] & ran else "not_run"].append(number)

    lines = {
        key: incident_lines(
            connection,
            StoredFailure.nightly_id
            == (before.id if key in ("gone", "not_run") and before is not None else row.id),
            only=numbers,
        )
        for key, numbers in sorts.items()
    }
    return NightlyComparison(
        night=_described(connection, row),
        before=_described(connection, before) if before is not None else None,
        **lines,
    )


def _described(connection: Connection, night: Any) -> ComparedNightly:
    """Return a nightly run, a row of its table, with the results of its cells."""
    from sqlalchemy import func, select

    from harness.store.models import StoredRun

    asked = (
        select(StoredRun.word, func.count().label("times"), func.sum(StoredRun.seconds).label("seconds"))
        .where(StoredRun.nightly_id == night.id, StoredRun.counted)
        .group_by(StoredRun.word)
        .order_by(StoredRun.word)
    )
    rows = connection.execute(asked).all()
    return of_row(
        ComparedNightly,
        night,
        started=stamp(night.at),
        done=sum(row.times for row in rows),
        seconds=float(sum(row.seconds or 0 for row in rows)),
        counts={row.word: row.times for row in rows},
    )
