# SPDX-License-Identifier: MIT
"""Known issues: which of a lab's ``[[known]]`` tables still occur, which do not, and which have expired."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from harness.lab.lab_document import KnownRow
from harness.report.answer_table import AnswerTable
from harness.store.questions.moment import short, stamp

if TYPE_CHECKING:
    from sqlalchemy import Connection


class KnownIssueState(msgspec.Struct, frozen=True, kw_only=True):
    """A known issue. It is ``seen`` or ``not seen`` in the span, or ``expired``: its last day has passed, whether seen
    or not."""

    url: str
    until: str
    state: Literal["seen", "not seen", "expired"]
    runs: int
    last: str
    signatures: list[str]


class KnownIssues(msgspec.Struct, frozen=True, kw_only=True):
    """The known issues of a lab over the last ``days``."""

    days: float
    issues: list[KnownIssueState]

    def tables(self) -> list[AnswerTable]:
        """Return the issues as a table."""
        rows = [(one.state, one.runs, short(one.last), one.until, one.url) for one in self.issues]
        columns = ("state", "runs", "last seen", "until", "issue")
        return [
            AnswerTable(
                title=f"Known issues in the last {self.days:g} days",
                columns=columns,
                rows=rows,
                empty="lab.toml has no [[known]] table",
                right=frozenset({"runs"}),
            )
        ]


def known_issues(
    connection: Connection, known: Sequence[KnownRow], *, days: float, beginning: int, today: datetime.date
) -> KnownIssues:
    """Return the state of each known issue, by the failures since ``beginning``, in seconds since the epoch."""
    from sqlalchemy import func, select

    from harness.store.models import StoredFailure, StoredIncident, StoredPoint, StoredRun

    failed = (
        select(
            StoredFailure.incident_id,
            StoredRun.point_id,
            func.count().label("runs"),
            func.max(StoredFailure.at).label("last"),
        )
        .join(StoredRun, StoredRun.id == StoredFailure.run_id)
        .where(StoredFailure.at >= beginning)
        .group_by(StoredFailure.incident_id, StoredRun.point_id)
        .subquery()
    )
    seen = connection.execute(
        select(
            failed,
            StoredIncident,
            StoredPoint.guest,
            StoredPoint.qemu,
            StoredPoint.topology,
            StoredPoint.plan,
        )
        .join(StoredIncident, StoredIncident.id == failed.c.incident_id)
        .join(StoredPoint, StoredPoint.id == failed.c.point_id)
    ).all()
    issues = []
    for row in known:
        of_it = [
            one
            for one in seen
            if row.matches(
                rule=one.rule, failure_class=one.failure_class, signature=one.signature, guest=one.guest,
                qemu=one.qemu, topology=one.topology, plan=one.plan,
            )
        ]  # fmt: skip
        expired = row.until is not None and row.until < today
        issues.append(
            KnownIssueState(
                url=row.url,
                until=row.until.isoformat() if row.until is not None else "",
                state="expired" if expired else "seen" if of_it else "not seen",
                runs=sum(one.runs for one in of_it),
                last=stamp(max((one.last for one in of_it), default=0)),
                signatures=sorted({one.signature for one in of_it}),
            )
        )
    return KnownIssues(days=days, issues=issues)
