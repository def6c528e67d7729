# SPDX-License-Identifier: MIT
"""Gaps in a span of days: rules that no run exercised, and points of the matrix that were not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.contract.rules.catalogue import all_rules
from harness.report.answer_table import AnswerTable
from harness.store.questions.moment import short, stamp

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_POINTS = 500
"""The most points of one answer: those run last."""


class IdleRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that no run exercised in the span. ``last`` is when a run last exercised it, "" for never."""

    rule: str
    level: str
    last: str


class IdlePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point that was run before the span but not in it."""

    point: str
    last: str


class Never(msgspec.Struct, frozen=True, kw_only=True):
    """The gaps of the last ``days``."""

    days: float
    rules: list[IdleRule]
    points: list[IdlePoint]

    def tables(self) -> list[AnswerTable]:
        """Return two tables: rules and points."""
        return [
            AnswerTable(
                title=f"Rules that no run of the last {self.days:g} days exercised",
                columns=("rule", "level", "last exercised"),
                rows=[(one.rule, one.level, short(one.last) or "never") for one in self.rules],
            ),
            AnswerTable(
                title=f"Points of the matrix that were not run in the last {self.days:g} days",
                columns=("point", "last run"),
                rows=[(one.point, short(one.last)) for one in self.points],
            ),
        ]


def never(connection: Connection, *, days: float, beginning: int) -> Never:
    """Return the gaps since ``beginning``: this harness's rules, and the points that the store knows."""
    from sqlalchemy import func, select

    from harness.store.models import StoredPoint, StoredRule, StoredRun, StoredVerdict

    last = (
        select(StoredVerdict.at)
        .where(StoredVerdict.rule_id == StoredRule.id, StoredVerdict.exercised > 0)
        .order_by(StoredVerdict.at.desc())
        .limit(1)
        .scalar_subquery()
    )
    seen = {
        row.name: row.last or 0 for row in connection.execute(select(StoredRule.name, last.label("last")))
    }
    rules = [
        IdleRule(rule=rule.id, level=str(rule.level), last=stamp(seen.get(rule.id, 0)))
        for rule in all_rules()
        if seen.get(rule.id, 0) < beginning
    ]
    ran = (
        select(func.max(StoredRun.at))
        .where(StoredRun.point_id == StoredPoint.id, StoredRun.counted, StoredRun.word != "skipped")
        .scalar_subquery()
    )
    newest = select(StoredPoint.name, ran.label("last")).subquery()
    points = connection.execute(
        select(newest)
        .where(newest.c.last < beginning)
        .order_by(newest.c.last.desc(), newest.c.name)
        .limit(MOST_POINTS)
    )
    return Never(
        days=days, rules=rules, points=[IdlePoint(point=row.name, last=stamp(row.last)) for row in points]
    )
