# SPDX-License-Identifier: MIT
"""A line that is lost, torn, doubled, moved or forged fools no verdict: a seeded share of what ``tox -e loss`` tries."""

from __future__ import annotations

import os
import random

import msgspec
import pytest
from effort import VARIABLE, examples

from harness.contract.checker import judge
from harness.contract.verdict import Verdict
from harness.history.driver import DriverRecord
from harness.history.reader import History
from harness.history.record import Channel, Record
from tests.contract.damage import DAMAGES, Damage, DamagedRun, damaged, twice_damaged, unaccounted
from tests.contract.loss_row import (
    BEGIN,
    DOCUMENT,
    END,
    GROUPS,
    FooledVerdict,
    LossRow,
    forbidden,
    said,
    summary,
)
from tests.contract.whole_runs import recorded_runs, violating_examples
from tests.contract.wired_run import Line, WiredRun
from tests.recorded.kept import kept_runs

RUNS = list(recorded_runs())
EXAMPLES = list(violating_examples())

SEED = 20261129 if VARIABLE not in os.environ else random.randrange(1 << 30)
"""The same in every run of the suite, another in each long form."""


def fooled(run: WiredRun, count: int) -> list[FooledVerdict]:
    """Damage a run so often, at places and in ways that the seed draws; return the verdicts that must not be."""
    draw = random.Random(f"{SEED} {run.name}")
    row = LossRow(run.name, said(run.whole)[0], len(run.places()))
    row.take(unaccounted(run))
    for _ in range(count):
        row.take(damaged(run, draw.choice(DAMAGES), draw.choice(run.places()), draw))
    for _ in range(count // 5):
        row.take(twice_damaged(run, draw))
    return row.fooled


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_no_damage_to_a_recorded_run_fools_the_verdict(run: WiredRun) -> None:
    """A damaged run is not violated if the whole is not, does not hold if the whole is violated or the damage shows."""
    found = fooled(run, examples(60))
    assert 0 == len(found), f"seed {SEED}\n{summary(found)}"


@pytest.mark.parametrize("run", EXAMPLES, ids=lambda run: run.name)
def test_no_damage_excuses_a_violation(run: WiredRun) -> None:
    """A run that violates a rule is violated or unknown after any damage, never one that holds."""
    found = fooled(run, examples(12))
    assert 0 == len(found), f"seed {SEED}\n{summary(found)}"


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_undamaged_lines_make_the_recorded_history(run: WiredRun) -> None:
    """What the lines bring back through the decoder is the history that was recorded, but for the instants of reading."""
    (kept,) = [one for one in kept_runs() if str(one) == run.name]
    recorded, whole = (
        [msgspec.structs.replace(one, host_ns=0) for one in records if not isinstance(one, Channel)]
        for records in (list(History(kept.directory)), run.whole)
    )
    assert recorded == whole
    (account,) = [one for one in run.whole if isinstance(one, Channel)]
    assert sum(isinstance(one, DriverRecord) for one in run.whole) == account.records


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_each_damage_changes_the_history_or_its_account(damage: Damage) -> None:
    """No damage is empty: in the middle of a run each one changes what the checker is shown."""
    run = RUNS[0]
    place = run.places()[len(run.places()) // 2]
    assert damaged(run, damage, place, random.Random(1)).records != run.whole


@pytest.mark.parametrize(
    ("name", "shows"),
    [
        ("lost", "the account counts lost"),
        ("torn, its beginning lost", "the account counts torn, lost"),
        ("doubled", "a driver's numbers have a gap, a repetition or another order"),
        ("after a forged hello", "the account counts stale"),
        ("before a line of garbage", "the account counts corrupt"),
        ("before a line of 10 MB", "the account counts oversized"),
        ("before a line of binary noise", ""),
    ],
)
def test_what_of_a_damage_shows(name: str, shows: str) -> None:
    """The account or the numbers tell of a damage in the middle of a run; a line of another program is none."""
    (one,) = [each for each in DAMAGES if each.name == name]
    run = RUNS[0]
    assert shows == damaged(run, one, run.places()[20], random.Random(1)).seen


def test_another_channel_replaces_what_one_lost() -> None:
    """Where a second channel brought the same records, a lost line of the first leaves the verdict what it was."""
    run = next(run for run in RUNS if run.name.endswith("host-veto"))
    for place in run.places():
        lossy = run.received([item for at, item in enumerate(run.stream) if at != place])
        assert Verdict.HOLDS is judge(beside(run, lossy)).verdict


def beside(run: WiredRun, lossy: list[Record]) -> list[Record]:
    """Return the records with copies of all driver records on a second, whole channel, each where the run has it."""
    copies = iter([one for one in run.whole if isinstance(one, DriverRecord)])
    brought = {(one.boot, one.driver, one.seq): one for one in lossy if isinstance(one, DriverRecord)}
    count = sum(isinstance(one, DriverRecord) for one in run.whole)
    found: list[Record] = []
    for item in run.stream:
        if isinstance(item, Line):
            copy = next(copies)
            found += [one] if (one := brought.get((copy.boot, copy.driver, copy.seq))) is not None else []
            found.append(msgspec.structs.replace(copy, channel="ring"))
        elif isinstance(item, Channel):
            found += [one for one in lossy if isinstance(one, Channel)]
            found.append(Channel(name="ring", records=count, closed=True))
        else:
            found.append(item)
    return [msgspec.structs.replace(one, n=number) for number, one in enumerate(found, 1)]


@pytest.mark.parametrize(
    ("whole", "verdict", "seen", "why"),
    [
        (Verdict.HOLDS, Verdict.VIOLATED, "", "the whole run is holds"),
        (Verdict.UNKNOWN, Verdict.VIOLATED, "torn", "the whole run is unknown"),
        (Verdict.VIOLATED, Verdict.HOLDS, "", "the whole run is violated"),
        (Verdict.HOLDS, Verdict.HOLDS, "torn", "torn"),
        (Verdict.HOLDS, Verdict.HOLDS, "", ""),
        (Verdict.VIOLATED, Verdict.VIOLATED, "torn", ""),
        (Verdict.VIOLATED, Verdict.UNKNOWN, "", ""),
    ],
)
def test_which_verdicts_are_wrong(whole: Verdict, verdict: Verdict, seen: str, why: str) -> None:
    """Missing evidence neither accuses nor excuses, and damage that shows is never passed over."""
    assert why == forbidden(whole, verdict, seen)


def test_a_wrong_verdict_is_told_in_one_line() -> None:
    """A failure names the run, the line, the damage, what must not be and what was said."""
    row = LossRow("a run", Verdict.VIOLATED, 3)
    row.take(DamagedRun("line 2 of 3 (ev=mark) lost", "lost", RUNS[0].whole, ""))
    assert (
        "     1 x lost: holds, although the whole run is violated\n"
        "a run: line 2 of 3 (ev=mark) lost: holds (the whole run is violated): "
    ) == summary(row.fooled)


def test_the_table_in_the_documents_has_every_damage() -> None:
    """docs/reliability.md has the table that ``tox -e loss -- --document`` writes, with a column for each kind of damage."""
    text = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0]
    heads = [line for line in text.splitlines() if line.startswith("| run |")]
    assert [f"| run | whole | lines | {' | '.join(GROUPS)} |"] == heads
