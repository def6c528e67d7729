# SPDX-License-Identifier: MIT
"""What lines that a hostile kernel slips in can turn, and what they cannot: docs/security.md names both."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.verdict import Verdict
from harness.history.driver import AsyncEnter, CallEnter, CallExit, DriverRecord, SyncEnter
from harness.history.record import Channel, Record
from tests.contract.forging import ForgedLine, continues, excused, forgery, one_driver
from tests.contract.mutations import SYNC_ONLY
from tests.contract.test_loss import EXAMPLES, SEED
from tests.contract.wired_run import WiredRun, wired

RUNS = [run for run in EXAMPLES if one_driver(run)]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_forged_lines_excuse_no_example(run: WiredRun, count: int) -> None:
    """A rule that true lines show violated stays violated or becomes unknown, whatever is slipped in, and no run holds."""
    draw = random.Random(f"{SEED} {run.name} {count}")
    found = []
    for _ in range(examples(15)):
        lines = [forgery(run, draw) for _ in range(count)]
        if count == 1 or not continues(run, lines):
            found += [f"{what} after {'; '.join(map(str, lines))}" for what in excused(run, lines)]
    assert 0 == len(found), "\n".join([f"seed {SEED}", *found])


@settings(max_examples=examples(60))
@given(run=st.sampled_from(RUNS), draw=st.randoms(use_true_random=False))
def test_one_forged_line_excuses_nothing(run: WiredRun, draw: random.Random) -> None:
    """No single well-formed line, of whatever kind, number, nonce and driver, turns a violation into a good verdict."""
    line = forgery(run, draw)
    assert [] == list(excused(run, [line])), str(line)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_call_that_is_not_under_way_does_not_return(run: WiredRun) -> None:
    """A line at the end that says a registration failed, long after its call returned, excuses nothing that came before."""
    last = [record for record in run.whole if isinstance(record, DriverRecord)][-1]
    values = {
        name: value
        for name, value in msgspec.structs.asdict(last).items()
        if name in {field.name for field in msgspec.structs.fields(DriverRecord)}
    }
    over = {one.enter for one in run.whole if isinstance(one, CallExit) and one.call == "reg_sync"}
    for enter in sorted(over):
        line = CallExit(
            **{**values, "seq": last.seq + 1}, enter=enter, call="reg_sync", result=0, reg=1, handle=0
        )
        assert [] == list(excused(run, [ForgedLine(run.places()[-1] + 1, line)])), str(line)


@pytest.mark.parametrize(
    ("text", "kind", "fields"),
    [
        ("S2", SyncEnter, {"reg": 3}),
        ("S2 C2 V", AsyncEnter, {"reg": 1}),
        ("S2", CallEnter, {"reg": 1, "call": "reg_sync"}),
        ("S2", CallEnter, {"reg": 2, "call": "reg_async", "cls": "cpu"}),
    ],
)
def test_a_record_with_the_number_of_another_registration_makes_it_unknown(
    text: str, kind: type[DriverRecord], fields: dict[str, object]
) -> None:
    """A number stands for one registration, of one kind, as long as that is in force."""
    records = trace(text)
    place = max(at for at, one in enumerate(records) if isinstance(one, DriverRecord)) + 1
    last = records[place - 1]
    whole = next(one for one in records if type(one) is kind)
    common = {name: getattr(last, name) for name in ("boot", "driver", "channel", "qpc", "host_ns", "active")}
    own = msgspec.structs.replace(whole, **{**common, "seq": last.seq + 1, **fields})  # type: ignore[attr-defined]
    accounts = [
        msgspec.structs.replace(one, records=one.records + 1) if isinstance(one, Channel) else one
        for one in records[place:]
    ]
    verdict = judge(
        [msgspec.structs.replace(one, n=n) for n, one in enumerate([*records[:place], own, *accounts], 1)]
    )
    assert set() == {rule.rule for rule in verdict.rules if rule.verdict is Verdict.VIOLATED}, verdict.reasons
    assert Verdict.UNKNOWN is verdict.verdict
    assert any("registration" in reason and str(fields["reg"]) in reason for reason in verdict.reasons)


def test_every_example_of_one_driver_is_tried() -> None:
    """The examples of the rules are the runs that lines are forged into; their channel is whole."""
    assert len(RUNS) > 40
    assert [] == [run.name for run in RUNS if Verdict.VIOLATED is not judge(run.whole).verdict]
    accounts = [one for run in RUNS for one in run.whole if isinstance(one, Channel)]
    assert {(0, 0, 0)} == {(one.lost, one.torn, one.stale) for one in accounts}


# -- what a hostile kernel can still do --------------------------------------------------------------------------------


def lines_of(records: list[Record], *drivers: str) -> list[tuple[str, int, str]]:
    """Return driver, number and kind of the records of some drivers, in their order."""
    return [
        (one.driver, one.seq, str(one.__struct_config__.tag))
        for one in records
        if isinstance(one, DriverRecord) and one.driver in drivers
    ]


def host(records: list[Record]) -> list[str]:
    """Return the kinds of the host's records, in their order."""
    return [str(one.__struct_config__.tag) for one in records if not isinstance(one, DriverRecord)]


def test_a_forged_second_driver_can_make_a_violation_unknown() -> None:
    """Whole streams are believed: the veto of a driver that is not there may explain that another was not told."""
    true = trace("with a Q +cpu a:mark{active=3} Q =cpu")
    forged = trace("with a with c Q +cpu c:S2! a:mark{active=3} Q =cpu")
    assert lines_of(true, "a") == lines_of(forged, "a")
    assert host(true) == host(forged)
    assert (Verdict.VIOLATED, Verdict.UNKNOWN) == (judge(true).verdict, judge(forged).verdict)


def test_a_line_that_continues_the_stream_is_believed() -> None:
    """A Complete that never came is supplied by lines with the numbers that come next: nothing tells them from true ones."""
    true, forged = trace(f"{SYNC_ONLY} S2"), trace(f"{SYNC_ONLY} S2 C2")
    said = lines_of(true, "a")
    last = said[-1][1]
    assert [*said, ("a", last + 1, "sync.enter"), ("a", last + 2, "sync.exit")] == lines_of(forged, "a")
    assert (Verdict.VIOLATED, Verdict.HOLDS) == (judge(true).verdict, judge(forged).verdict)


def test_a_whole_forged_stream_is_believed() -> None:
    """What the driver was really told is nowhere if every line of it is replaced: only the host's own records are true."""
    true, forged = trace(f"{SYNC_ONLY} C2 S2"), trace(f"{SYNC_ONLY} S2 C2")
    assert host(true) == host(forged)
    assert (Verdict.VIOLATED, Verdict.HOLDS) == (judge(true).verdict, judge(forged).verdict)


def test_lines_that_continue_the_stream_are_known_as_such() -> None:
    """The lines left out of the property of two lines are those behind the last true one, with the next numbers."""
    true = trace(f"{SYNC_ONLY} S2")
    run = wired("a run", true, Path("a run"))
    forged = [one for one in trace(f"{SYNC_ONLY} S2 C2") if isinstance(one, DriverRecord)][-2:]
    assert isinstance(forged[0], SyncEnter)
    behind, before = run.places()[-1] + 1, run.places()[-1]
    assert [True, False] == [
        continues(run, [ForgedLine(place, record) for record in forged]) for place in (behind, before)
    ]
