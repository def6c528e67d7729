# SPDX-License-Identifier: MIT
"""The past of a rule: last good and first bad by guest build, QEMU build and driver digest, and its flips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from harness.choice import suggest
from harness.errors import UsageError
from harness.interval import Rate, wilson
from harness.report.answer_table import AnswerTable
from harness.store.questions.moment import short, stamp
from harness.store.questions.rows import of_row

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_BUILDS = 50
"""The most builds of one answer: those seen last."""

MOST_ASKED = 200
"""The most moments of one query: PostgreSQL and SQLite limit the parameters of a statement."""

Moment = tuple[int, int]
"""Seconds since the epoch, and the number of a build. Zeros stand for never."""

KINDS = ("guest_build", "qemu_build", "driver_digest")


class BuildPast(msgspec.Struct, frozen=True, kw_only=True):
    """A rule on all builds that share one ``value`` of a ``kind``.

    ``first_bad`` is the first violation, "" for none. ``last_good`` is when the rule last held before it.
    ``last_held`` is when it last held at all.
    """

    kind: str
    value: str
    violated: int
    last_good: str
    first_bad: str
    last_bad: str
    last_held: str


class RunPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A run as evidence: its time, its directory, and the tested build."""

    run: str
    at: str
    directory: str
    guest_build: str
    qemu_build: str
    driver_digest: str


class RulePast(msgspec.Struct, frozen=True, kw_only=True):
    """A rule over all runs. ``first_bad`` is the first run that violates it after ``last_good``, None if there is
    none.

    A flip is a change of result between two consecutive runs of one point on one build. ``flips`` counts those of the
    last ``days``. ``rate`` is how often the rule was violated in that span, out of the times it was judged.
    """

    rule: str
    level: str
    days: float
    last_good: RunPoint | None
    first_bad: RunPoint | None
    flips: int
    rate: Rate
    builds: list[BuildPast]

    def tables(self) -> list[AnswerTable]:
        """Return the last good and the first bad run, then the builds by kind."""
        good, bad = self.last_good, self.first_bad
        shown = [
            (what, short(one.at), one.guest_build, one.qemu_build, one.driver_digest, one.run)
            for what, one in (("last good", good), ("first bad", bad))
            if one is not None
        ]
        columns = ("", "when (UTC)", "guest build", "QEMU", "driver", "run")
        said = f"{self.rule} ({self.level}): violated in {self.rate} of the last {self.days:g} days, {self.flips} flips"
        titles = {
            "guest_build": "By guest build",
            "qemu_build": "By QEMU build",
            "driver_digest": "By driver digest",
        }
        tables = [
            AnswerTable(title=said, columns=columns, rows=shown, empty="it never held and was never violated")
        ]
        for kind, title in titles.items():
            rows = [
                (
                    one.value or "-",
                    one.violated,
                    *map(short, (one.last_good, one.first_bad, one.last_bad, one.last_held)),
                )
                for one in self.builds
                if one.kind == kind
            ]
            names = (title.removeprefix("By "), "violated", "last good", "first bad", "last bad", "last held")
            tables.append(AnswerTable(title=title, columns=names, rows=rows, right=frozenset({"violated"})))
        return tables


class _Past(msgspec.Struct):
    """A rule on one build. Times are in seconds since the epoch, None for never."""

    build: Any
    violated: int
    first_held: int | None
    held: int | None
    bad: int | None
    last_bad: int | None


def rule_past(connection: Connection, rule: str, *, days: float, beginning: int) -> RulePast:
    """Return the past of a rule, with the flips since ``beginning``. Raises UsageError for a rule that the store does
    not know."""
    from sqlalchemy import select

    from harness.store.models import StoredRule

    known = connection.execute(
        select(StoredRule.id, StoredRule.name, StoredRule.level).where(StoredRule.name == rule.upper())
    ).first()
    if known is None:
        names = list(connection.scalars(select(StoredRule.name).order_by(StoredRule.name)))
        raise UsageError(f"the result store has no rule called {rule!r}", hint=suggest(rule.upper(), names))
    pasts = _pasts(connection, known.id)
    groups = [_Group("", "", pasts), *(group for kind in KINDS for group in _grouped(kind, pasts))]
    goods = _last_goods(connection, known.id, groups)
    good, bad = _turn(connection, known.id, pasts, goods[0])
    builds = [
        BuildPast(
            kind=group.kind,
            value=group.value,
            violated=sum(past.violated for past in group.pasts),
            last_good=stamp(at),
            first_bad=stamp(group.first_bad),
            last_bad=stamp(max(past.last_bad or 0 for past in group.pasts)),
            last_held=stamp(max(past.held or 0 for past in group.pasts)),
        )
        for group, (at, _) in zip(groups[1:], goods[1:], strict=True)
    ]
    judged, violated, flips = _flips(connection, known.id, beginning)
    return RulePast(
        rule=known.name,
        level=known.level,
        days=days,
        last_good=_shown(connection, known.id, "holds", good),
        first_bad=_shown(connection, known.id, "violated", bad),
        flips=flips,
        rate=wilson(violated, judged),
        builds=builds,
    )


def _pasts(connection: Connection, rule: int) -> list[_Past]:
    """Return the rule on each build where it was judged. Each bound is one lookup in the index of rule, build and
    verdict."""
    from sqlalchemy import func, select

    from harness.store.models import StoredBuild, StoredVerdict

    def bound(what: Any, verdict: str) -> Any:
        return (
            select(what)
            .where(
                StoredVerdict.rule_id == rule,
                StoredVerdict.build_id == StoredBuild.id,
                StoredVerdict.verdict == verdict,
            )
            .correlate(StoredBuild)
            .scalar_subquery()
        )

    asked = select(
        StoredBuild,
        bound(func.count(), "violated").label("violated"),
        bound(func.min(StoredVerdict.at), "holds").label("first_held"),
        bound(func.max(StoredVerdict.at), "holds").label("held"),
        bound(func.min(StoredVerdict.at), "violated").label("bad"),
        bound(func.max(StoredVerdict.at), "violated").label("last_bad"),
    )
    return [
        _Past(row, row.violated, row.first_held, row.held, row.bad, row.last_bad)
        for row in connection.execute(asked)
        if row.held is not None or row.bad is not None
    ]


class _Group(msgspec.Struct):
    """The builds that share one value of a kind."""

    kind: str
    value: str
    pasts: list[_Past]

    @property
    def first_bad(self) -> int | None:
        """When the rule was first violated on one of them."""
        return min((past.bad for past in self.pasts if past.bad is not None), default=None)

    @property
    def newest(self) -> int:
        """When the rule was last judged on one of them."""
        return max(max(past.held or 0, past.last_bad or 0) for past in self.pasts)


def _grouped(kind: str, pasts: list[_Past]) -> list[_Group]:
    groups: dict[str, _Group] = {}
    for past in pasts:
        value = getattr(past.build, kind)
        groups.setdefault(value, _Group(kind, value, [])).pasts.append(past)
    return sorted(groups.values(), key=lambda group: -group.newest)[:MOST_BUILDS]


def _last_goods(connection: Connection, rule: int, groups: list[_Group]) -> list[Moment]:
    """Return for each group when the rule last held before its first violation. Without a violation, return when it
    last held."""
    found: list[Moment] = []
    unsure: list[tuple[int, int, int]] = []
    for number, group in enumerate(groups):
        first = group.first_bad
        held = [
            (past.first_held, past.held, past.build.id)
            for past in group.pasts
            if past.first_held is not None and past.held is not None
        ]
        before = [(last, build) for _, last, build in held if first is None or last < first]
        found.append(max(before, default=(0, 0)))
        if first is not None:
            # On these builds the rule held both before and after.
            unsure += [(number, build, first) for early, late, build in held if early < first <= late]
    for number, at, build in _held_before(connection, rule, unsure):
        found[number] = max(found[number], (at, build))
    return found


def _held_before(
    connection: Connection, rule: int, asked: list[tuple[int, int, int]]
) -> Iterator[tuple[int, int, int]]:
    """Yield, for each ``(number, build, moment)``, the number and when the rule last held on the build before the
    moment."""
    from sqlalchemy import BigInteger, Integer, column, func, select, values

    from harness.store.models import StoredVerdict

    for start in range(0, len(asked), MOST_ASKED):
        table = values(
            column("number", Integer), column("build", Integer), column("moment", BigInteger), name="asked"
        )
        given = table.data(asked[start : start + MOST_ASKED]).cte()
        at = (
            select(func.max(StoredVerdict.at))
            .where(
                StoredVerdict.rule_id == rule, StoredVerdict.build_id == given.c.build, StoredVerdict.verdict == "holds",
                StoredVerdict.at < given.c.moment,
            )
            .scalar_subquery()
        )  # fmt: skip
        for row in connection.execute(select(given.c.number, at.label("at"), given.c.build)):
            if row.at is not None:
                yield row.number, row.at, row.build


def _turn(connection: Connection, rule: int, pasts: list[_Past], before: Moment) -> tuple[Moment, Moment]:
    """Return the last good and the first bad run: the start of the current violation, or of the first one if the rule
    holds again.

    ``before`` is when it last held before its first violation.
    """
    from sqlalchemy import func, select

    from harness.store.models import StoredVerdict

    good = max(((past.held or 0, past.build.id) for past in pasts), default=(0, 0))
    later = [past for past in pasts if past.last_bad is not None and past.last_bad > good[0]]
    if not later:
        bads = [(past.bad, past.build.id) for past in pasts if past.bad is not None]
        return (before, min(bads)) if bads else (good, (0, 0))
    first = [(past.bad, past.build.id) for past in later if past.bad is not None and past.bad > good[0]]
    among = [past.build.id for past in later if past.bad is not None and past.bad <= good[0]]
    if among:
        again = select(func.min(StoredVerdict.at).label("at"), StoredVerdict.build_id).where(
            StoredVerdict.rule_id == rule,
            StoredVerdict.build_id.in_(among),
            StoredVerdict.verdict == "violated",
            StoredVerdict.at > good[0],
        )
        first += [
            (row.at, row.build_id) for row in connection.execute(again.group_by(StoredVerdict.build_id))
        ]
    return good, min(first)


def _shown(connection: Connection, rule: int, verdict: str, moment: Moment) -> RunPoint | None:
    from sqlalchemy import select

    from harness.store.models import StoredBuild, StoredRun, StoredVerdict

    at, build = moment
    if not at:
        return None
    row = connection.execute(
        select(
            StoredRun.name.label("run"),
            StoredRun.directory,
            StoredBuild.guest_build,
            StoredBuild.qemu_build,
            StoredBuild.driver_digest,
        )
        .join(StoredVerdict, StoredVerdict.run_id == StoredRun.id)
        .join(StoredBuild, StoredBuild.id == StoredRun.build_id)
        .where(
            StoredVerdict.rule_id == rule,
            StoredVerdict.build_id == build,
            StoredVerdict.verdict == verdict,
            StoredVerdict.at == at,
        )
        .order_by(StoredRun.id)
        .limit(1)
    ).one()
    return of_row(RunPoint, row, at=stamp(at))


def _flips(connection: Connection, rule: int, beginning: int) -> tuple[int, int, int]:
    """Return how often the rule was judged, violated and flipped since ``beginning``."""
    from sqlalchemy import case, func, select

    from harness.store.models import StoredRun, StoredVerdict

    decided = (
        select(
            StoredVerdict.verdict,
            func.lag(StoredVerdict.verdict)
            .over(
                partition_by=(StoredRun.point_id, StoredRun.build_id), order_by=(StoredRun.at, StoredRun.id)
            )
            .label("before"),
        )
        .join(StoredRun, StoredRun.id == StoredVerdict.run_id)
        .where(
            StoredVerdict.rule_id == rule,
            StoredVerdict.at >= beginning,
            StoredVerdict.verdict.in_(("holds", "violated")),
            StoredRun.counted,
        )
        .subquery()
    )
    row = connection.execute(
        select(
            func.count().label("judged"),
            func.sum(case((decided.c.verdict == "violated", 1), else_=0)).label("violated"),
            func.sum(case((decided.c.verdict != decided.c.before, 1), else_=0)).label("flips"),
        ).select_from(decided)
    ).one()
    return int(row.judged), int(row.violated or 0), int(row.flips or 0)
