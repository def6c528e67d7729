# SPDX-License-Identifier: MIT
"""The questions, on both databases: on small nights written out by hand, and on a made lab whose answers are counted again."""

from __future__ import annotations

import datetime
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from store.made_runs import make_night, make_run, outcome

from benchmarks.made_lab import BROKEN, DAY, MadeLab, MadeRun
from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import Verdict
from harness.errors import UsageError
from harness.interval import wilson
from harness.lab.lab_document import KnownRow
from harness.report.style import Style
from harness.store.address import read_address
from harness.store.database import Database
from harness.store.loader import load
from harness.store.questions.flaky import flaky
from harness.store.questions.host_comparison import WORDS as HOST_WORDS
from harness.store.questions.host_comparison import HostComparison, host_comparison
from harness.store.questions.incidents import incidents
from harness.store.questions.known import known_issues
from harness.store.questions.last_runs import last_runs
from harness.store.questions.moment import short, stamp
from harness.store.questions.never import never
from harness.store.questions.nightly_comparison import nightly_comparison
from harness.store.questions.rule_past import rule_past
from harness.store.questions.slow import drift, percentile, slow
from harness.store.questions.timing_samples import TimingSample
from harness.store.source import sources

NOW = 1_790_000_000
SPAN = 30.0
BEGINNING = NOW - 30 * DAY
LAB = MadeLab(runs=1000, now=NOW, days=120, points=20)
RUNS = list(LAB.runs())


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The store of the made lab, filled once for each database."""
    text = (
        f"sqlite:///{tmp_path_factory.mktemp('made')}/results.sqlite"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_server").database()
    )
    with Database.open(read_address(text, what="test"), make=True) as store:
        LAB.fill(store)
        yield store


def build(run: MadeRun) -> tuple[str, str, str, str]:
    """Return what a made run tested."""
    return LAB.builds[run.build - 1]


def test_last_runs_are_the_newest(made: Database) -> None:
    """With and without those that hold."""
    with made.reading() as connection:
        every, failed = last_runs(connection, count=5), last_runs(connection, count=5, failed=True)
    names = [
        [f"run-{run.number:08d}" for run in reversed(RUNS) if run.word != "holds" or not only][:5]
        for only in (0, 1)
    ]
    assert names == [[run.run for run in found.runs] for found in (every, failed)]
    assert (stamp(RUNS[-1].at), build(RUNS[-1])[3], "night-120") == (
        every.runs[0].at, every.runs[0].driver_digest, every.runs[0].night,
    )  # fmt: skip


def test_incidents_are_counted(made: Database) -> None:
    """Runs of the span, first and last ever, and the points of the span."""
    with made.reading() as connection:
        found = {
            one.signature: one for one in incidents(connection, days=SPAN, beginning=BEGINNING).incidents
        }
    expected = {}
    for number in {run.incident for run in RUNS if run.at >= BEGINNING and run.incident}:
        of_it = [run for run in RUNS if run.incident == number]
        late = [run for run in of_it if run.at >= BEGINNING]
        expected[f"{number:016x}"] = (
            len(late), stamp(of_it[0].at), stamp(of_it[-1].at), len({run.point for run in late}),
            f"/made/run-{of_it[-1].number:08d}",
        )  # fmt: skip
    assert expected == {
        key: (one.runs, one.first, one.last, len(one.points), one.run) for key, one in found.items()
    }


def test_last_good_and_first_bad_of_a_rule(made: Database) -> None:
    """Over all builds, and by each value of each kind, as a walk over all runs finds them."""
    with made.reading() as connection:
        past = rule_past(connection, BROKEN.lower(), days=SPAN, beginning=BEGINNING)
    judged = [run for run in RUNS if LAB.broken in run.rules]
    bad = [run for run in judged if run.broken == LAB.broken]
    held = [run for run in judged if run.broken != LAB.broken and not (run.unknown and LAB.broken < 9)]
    first = bad[0].at
    good_after = max(run.at for run in held)
    newest_bad = [run for run in bad if run.at > good_after]
    expected = (
        (newest_bad[0].at, good_after)
        if newest_bad
        else (first, max(run.at for run in held if run.at < first))
    )
    assert past.first_bad is not None
    assert past.last_good is not None
    assert tuple(map(stamp, expected)) == (past.first_bad.at, past.last_good.at)
    for place, kind in enumerate(("guest_build", "qemu_build", "driver_digest"), 1):
        assert kind in {one.kind for one in past.builds}
        for one in (one for one in past.builds if one.kind == kind):
            of_it = [run for run in bad if build(run)[place] == one.value]
            begun = of_it[0].at if of_it else NOW
            goods = [run.at for run in held if build(run)[place] == one.value]
            assert (len(of_it), stamp(begun) if of_it else "", stamp(max((at for at in goods if at < begun), default=0))) == (
                one.violated, one.first_bad, one.last_good,
            ), one  # fmt: skip
            assert stamp(max(goods, default=0)) == one.last_held


def test_flips_of_a_rule(made: Database) -> None:
    """Two runs in a row of one point on one build that came out differently, and Wilson's interval of the rate."""
    with made.reading() as connection:
        past = rule_past(connection, BROKEN, days=SPAN, beginning=BEGINNING)
    seen: dict[tuple[int, int], list[bool]] = {}
    for run in RUNS:
        if run.at >= BEGINNING and LAB.broken in run.rules and not (run.unknown and LAB.broken < 9):
            seen.setdefault((run.point, run.build), []).append(run.broken == LAB.broken)
    values = [value for each in seen.values() for value in each]
    flips = sum(a != b for each in seen.values() for a, b in pairwise(each))
    assert (flips, wilson(sum(values), len(values))) == (past.flips, past.rate)


def test_flaky_points(made: Database) -> None:
    """Those that flipped on one build, most first, without infrastructure."""
    with made.reading() as connection:
        found = flaky(connection, days=SPAN, beginning=BEGINNING)
    seen: dict[tuple[int, int], list[bool]] = {}
    for run in RUNS:
        if run.at >= BEGINNING and run.word != "infrastructure":
            seen.setdefault((run.point, run.build), []).append(run.word != "holds")
    expected = {
        (f"guest-{(point - 1) % 3}.qemu.small.plan-{point - 1}", LAB.builds[number - 1][3]): (
            flips,
            wilson(sum(each), len(each)),
        )
        for (point, number), each in seen.items()
        if (flips := sum(a != b for a, b in pairwise(each)))
    }
    assert expected == {(one.point, one.driver_digest): (one.flips, one.rate) for one in found.points}
    assert sorted((one.flips for one in found.points), reverse=True) == [one.flips for one in found.points]


def test_times_and_their_drift(made: Database) -> None:
    """Nearest-rank percentiles of the last seven days of each guest on each host, beside the median of the days before.

    The drift is the median of those of the points that have three times on both sides.
    """
    with made.reading() as connection:
        found = {
            (one.what, one.guest, one.host): one
            for one in slow(connection, days=SPAN, beginning=BEGINNING).timings
        }
    times: dict[tuple[str, str, str], dict[bool, list[float]]] = {}
    of_points: dict[tuple[str, str, str], dict[int, dict[bool, list[float]]]] = {}
    for run in RUNS:
        for what, ms in run.timings:
            if run.at >= BEGINNING:
                key = what, f"guest-{(run.point - 1) % 3}", f"host-{run.host}"
                of_point = of_points.setdefault(key, {}).setdefault(run.point, {True: [], False: []})
                of_point[run.at >= NOW - 7 * DAY].append(ms)
                times.setdefault(key, {True: [], False: []})[run.at >= NOW - 7 * DAY].append(ms)
    expected = {}
    for key, parts in times.items():
        now, then = sorted(parts[True]), sorted(parts[False])
        expected[key] = (
            len(now), now[(len(now) * 50 + 99) // 100 - 1], now[(len(now) * 90 + 99) // 100 - 1], now[-1], len(then),
            then[(len(then) * 50 + 99) // 100 - 1],
            pytest.approx(
                median(
                    median(part[True]) / median(part[False])
                    for part in of_points[key].values()
                    if min(map(len, part.values())) >= 3
                )
            ),
        )  # fmt: skip
    assert expected == {
        key: (one.times, one.p50, one.p90, one.most, one.before_times, one.before_p50, one.drift)
        for key, one in found.items()
    }


def hosts_of(tmp_path: Path, empty: Database, said: dict[tuple[str, str], tuple[int, int]]) -> HostComparison:
    """Load a night in which each host and plan has so many violated runs of so many, and compare its hosts."""
    outcomes = []
    for (host, plan), (violated, of) in said.items():
        for number in range(of):
            verdict = Verdict.VIOLATED if number < violated else Verdict.HOLDS
            name = f"{host}-{plan}-{number}"
            run = make_run(tmp_path / "nightly" / "n" / "runs", name, verdict=verdict)
            outcomes.append(
                outcome(
                    f"twin.default.default.{plan}.{len(outcomes)}", str(run), verdict=str(verdict), host=host
                )
            )
    night = make_night(tmp_path / "nightly", "n", *outcomes)
    load(empty, sources([night]))
    with empty.reading() as connection:
        return host_comparison(connection, days=SPAN, beginning=BEGINNING)


def test_a_host_that_differs_is_named(tmp_path: Path, store: Database) -> None:
    """Half of its runs break where those of the others hold; the others, and the counts, are as they are."""
    said = {("a", "veto"): (0, 20), ("b", "veto"): (1, 20), ("c", "veto"): (10, 20)}
    found = hosts_of(tmp_path, store, said)
    assert [("a", 20, 20, 0), ("b", 20, 19, 1), ("c", 20, 10, 10)] == [
        (one.host, one.runs, one.holds, one.violated) for one in found.hosts
    ]
    named = {one.host: (one.what, one.here, one.elsewhere) for one in found.differences}
    assert ("runs that do not hold", 10.0, pytest.approx(11 / 3)) == named["c"]
    assert "b" not in named


def test_a_host_with_another_share_of_the_points_is_not_named(tmp_path: Path, store: Database) -> None:
    """It runs the plan that breaks everywhere: on each plan its runs end as those of the others do (Simpson's paradox)."""
    said = {("a", "veto"): (0, 36), ("a", "reset"): (3, 4), ("b", "veto"): (0, 4), ("b", "reset"): (27, 36)}
    assert [] == hosts_of(tmp_path, store, said).differences


def test_the_runs_of_each_host_are_counted(made: Database) -> None:
    """Those of the span with any result."""
    with made.reading() as connection:
        found = host_comparison(connection, days=SPAN, beginning=BEGINNING)
    counts = Counter(f"host-{run.host}" for run in RUNS if run.at >= BEGINNING and run.word in HOST_WORDS)
    assert counts == {one.host: one.runs for one in found.hosts}


def test_an_attempt_that_does_not_count_is_no_result_of_its_host(store: Database, tmp_path: Path) -> None:
    """An interrupted one says nothing of its host, an infrastructure failure does; the last runs mark both."""
    runs = tmp_path / "nightly" / "n" / "runs"
    names = ("interrupted", "again", "no-disk", "then")
    for at, name in enumerate(names):
        verdict = Verdict.HOLDS if name in ("again", "then") else Verdict.UNKNOWN
        failure = {"failure_class": "infrastructure"} if name == "no-disk" else {}
        make_run(runs, name, at=NOW + at, verdict=verdict, judged=name != "no-disk", **failure)
    cells = [
        outcome(f"twin.q.t.veto.{at}", first, last, host="b", hosts={first: "a", last: "b"})
        for at, (first, last) in enumerate((names[:2], names[2:]), 1)
    ]
    load(store, sources([make_night(tmp_path / "nightly", "n", *cells)]))
    with store.reading() as connection:
        found = host_comparison(connection, days=SPAN, beginning=BEGINNING)
        last = last_runs(connection, count=9)
    assert [("a", 1, 0, 0, 1), ("b", 2, 2, 0, 0)] == [
        (one.host, one.runs, one.holds, one.unknown, one.infrastructure) for one in found.hosts
    ]
    assert [("then", True), ("no-disk", False), ("again", True), ("interrupted", False)] == [
        (one.run, one.counted) for one in last.runs
    ]
    assert ["holds", "infrastructure, not counted", "holds", "unknown, not counted"] == [
        row[1] for row in last.tables()[0].rows
    ]


def test_days_that_ran_more_of_a_slow_point_do_not_drift() -> None:
    """Each point is compared with itself; one with two times on a side is not compared."""
    common = {"what": "boot", "host": "a", "guest": "twin", "build": ("Linux 6.1", "7.2")}
    fast = TimingSample(point="fast", now=[10.0] * 3, before=[10.0] * 30, **common)
    slower = TimingSample(point="slow", now=[900.0] * 30, before=[900.0] * 3, **common)
    few = TimingSample(point="few", now=[9.0] * 2, before=[1.0] * 30, **common)
    assert [1.0, None, 1.0] == [drift([fast, slower]), drift([few]), drift([fast, slower, few])]


def test_the_slowest_runs(made: Database) -> None:
    """The ten of the span."""
    with made.reading() as connection:
        found = slow(connection, days=SPAN, beginning=BEGINNING).runs
    late = sorted((run for run in RUNS if run.at >= BEGINNING), key=lambda run: -run.seconds)[:10]
    assert [f"run-{run.number:08d}" for run in late] == [run.run for run in found]


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 3.0), (90, 5.0), (99, 5.0), (100, 5.0), (1, 1.0), (40, 2.0)]
)
def test_percentiles_are_nearest_ranks(percent: int, expected: float) -> None:
    """The smallest value that so many percent of the values are not greater than."""
    assert expected == percentile([1.0, 2.0, 3.0, 4.0, 5.0], percent)


def test_what_was_never_exercised(made: Database) -> None:
    """The rules that no run of the made lab speaks of, in the catalogue's order; before the first run, all of them."""
    spoken = {LAB.rules[rule - 1] for run in RUNS for rule in run.rules}
    with made.reading() as connection:
        found = never(connection, days=SPAN, beginning=BEGINNING)
        later = never(connection, days=1, beginning=NOW + DAY)
    assert [[rule.id for rule in all_rules() if rule.id not in spoken], [], len(all_rules()), LAB.points] == [
        [one.rule for one in found.rules], found.points, len(later.rules), len(later.points),
    ]  # fmt: skip


def test_known_issues_are_seen_or_not_or_expired(made: Database) -> None:
    """By rule, by class, by point; the last day still counts."""
    today = datetime.date(2026, 11, 29)
    rows = [
        KnownRow(url="https://bugs.example.org/1", rule=BROKEN, until=today),
        KnownRow(url="https://bugs.example.org/2", rule=BROKEN, until=today - datetime.timedelta(days=1)),
        KnownRow(url="https://bugs.example.org/3", failure_class="infrastructure", guest="guest-1"),
        KnownRow(url="https://bugs.example.org/4", plan="nosuch"),
    ]
    with made.reading() as connection:
        found = known_issues(connection, rows, days=SPAN, beginning=BEGINNING, today=today).issues
    late = [run for run in RUNS if run.at >= BEGINNING and run.incident]
    counts = [
        sum(run.incident == 1 for run in late),
        sum(run.incident == LAB.incidents and (run.point - 1) % 3 == 1 for run in late),
    ]
    assert [
        ("seen", counts[0]),
        ("expired", counts[0]),
        ("seen" if counts[1] else "not seen", counts[1]),
        ("not seen", 0),
    ] == [(one.state, one.runs) for one in found]


def nights(tmp_path: Path) -> tuple[Path, Path]:
    """Make two nightly runs: what fails in both, in one, in some repetitions, and what the infrastructure did."""
    points = {
        name: f"twin.q.t.{name}"
        for name in ("still", "new", "gone", "flaky", "unrun", "infra", "plan", "good")
    }
    first = make_night(
        tmp_path, "20261128",
        *(outcome(f"{points[name]}.1", f"{name}-1", verdict="violated", code=1) for name in ("still", "gone", "unrun")),
        outcome(f"{points['new']}.1", "new-1"),
        at=NOW - DAY,
    )  # fmt: skip
    second = make_night(
        tmp_path, "20261129",
        *(outcome(f"{points[name]}.1", f"{name}-2", verdict="violated", code=1) for name in ("still", "new", "flaky")),
        outcome(f"{points['flaky']}.2", "flaky-3"),
        outcome(f"{points['gone']}.1", "gone-2"),
        outcome(f"{points['good']}.1", "good-2"),
        outcome(f"{points['infra']}.1", verdict="unknown", code=69, failure_class="infrastructure", reason="no disk"),
        outcome(f"{points['plan']}.1", verdict="unknown", code=64, failure_class="plan", reason="no such slot"),
        at=NOW, cells=9,
    )  # fmt: skip
    for night, at, names in (
        (first, NOW - DAY, ("still-1", "gone-1", "unrun-1")), (second, NOW, ("still-2", "new-2", "flaky-2")),
    ):  # fmt: skip
        for name in names:
            reason = f"{name.partition('-')[0]} {at} times"
            make_run(night / "runs", name, at=at, verdict=Verdict.VIOLATED, reason=reason)
    for night, names in ((first, ("new-1",)), (second, ("flaky-3", "gone-2", "good-2"))):
        for name in names:
            make_run(night / "runs", name, at=NOW)
    return first, second


def test_a_night_beside_the_one_before(store: Database, tmp_path: Path) -> None:
    """Each incident is in exactly one list."""
    nights(tmp_path)
    load(store, sources([tmp_path]))
    with store.reading() as connection:
        found = nightly_comparison(connection)
        first = nightly_comparison(connection, name="20261128")
    lists = {
        name: [one.witness for one in getattr(found, name)]
        for name in ("new", "still", "flaky", "infrastructure", "plan", "gone", "not_run")
    }
    assert {
        "new": ["new # times"], "still": ["still # times"], "flaky": ["flaky # times"], "infrastructure": ["no disk"],
        "plan": ["no such slot"],
        "gone": ["gone # times"], "not_run": ["unrun # times"],
    } == lists  # fmt: skip
    assert ("20261129", 9, 8, {"holds": 3, "infrastructure": 1, "plan": 1, "violated": 3}) == (
        found.night.name, found.night.cells, found.night.done, found.night.counts,
    )  # fmt: skip
    assert (None, 3) == (first.before, len(first.new))


def test_one_failure_in_many_runs_is_one_incident(store: Database, tmp_path: Path) -> None:
    """Twelve runs, one line, with the first and the last."""
    for number in range(12):
        make_run(
            tmp_path,
            f"r{number}",
            at=NOW - 1200 + number * 100,
            verdict=Verdict.VIOLATED,
            reason=f"got {number} Starts",
        )
    load(store, sources([tmp_path]))
    with store.reading() as connection:
        (one,) = incidents(connection, days=SPAN, beginning=BEGINNING).incidents
    assert (12, stamp(NOW - 1200), stamp(NOW - 100), "got # Starts") == (
        one.runs,
        one.first,
        one.last,
        one.witness,
    )


def test_an_empty_store_answers_too(store: Database) -> None:
    """There is nothing to say, and that is said; a rule and a nightly run that are not there are refused by name."""
    with store.reading() as connection:
        said = [
            *last_runs(connection, count=3).tables(),
            *flaky(connection, days=1, beginning=0).tables(),
            *incidents(connection, days=1, beginning=0).tables(),
            *slow(connection, days=1, beginning=0).tables(),
            *host_comparison(connection, days=1, beginning=0).tables(),
            *known_issues(connection, [], days=1, beginning=0, today=datetime.date(2026, 1, 1)).tables(),
        ]
        for ask in (
            lambda: nightly_comparison(connection),
            lambda: rule_past(connection, "X", days=1, beginning=0),
        ):
            with pytest.raises(UsageError, match="the result store has no"):
                ask()
    assert all(len(table.lines(Style(colour=False))) == 2 for table in said)


def test_a_rule_that_was_only_bad_and_one_that_recovered(store: Database, tmp_path: Path) -> None:
    """Without a good run there is no last good; when it holds again, the first bad is the first one."""
    make_run(tmp_path, "a", at=1000, verdict=Verdict.VIOLATED)
    load(store, sources([tmp_path]))
    with store.reading() as connection:
        only = rule_past(connection, "SYNC-EXACTLY-TWO", days=1, beginning=0)
    for name, at in (("b", 500), ("c", 2000)):
        make_run(tmp_path, name, at=at)
    load(store, sources([tmp_path]))
    with store.reading() as connection:
        again = rule_past(connection, "SYNC-EXACTLY-TWO", days=1, beginning=0)
    shutil.rmtree(tmp_path)
    runs = [
        (past.last_good.run if past.last_good else None, past.first_bad.run if past.first_bad else None)
        for past in (only, again)
    ]
    assert [(None, "a"), ("b", "a"), Counter({"holds": 1})] == [*runs, Counter(holds=again.flips // 2)]


def test_moments_are_told_in_utc() -> None:
    """Nothing is said of a moment that is not known or that no calendar has."""
    assert ["2026-09-21T14:13:20Z", "", "", "2026-09-21 14:13"] == [
        stamp(NOW), stamp(0), stamp(1 << 60), short(stamp(NOW)),
    ]  # fmt: skip
