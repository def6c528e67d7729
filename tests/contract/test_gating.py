# SPDX-License-Identifier: MIT
"""What was lost, cut or never established turns into unknown exactly what it touches, and nothing else."""

from __future__ import annotations

from types import UnionType

import msgspec
import pytest

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.verdict import RunVerdict, Verdict
from harness.errors import ExitCode
from harness.history.driver import CallEnter, CallExit, DriverRecord, Hello, Mark
from harness.history.record import (
    Agreement,
    Boot,
    Channel,
    Console,
    End,
    Expectation,
    GuestEvent,
    OperationProgress,
    Qmp,
    Quiesced,
    Record,
)


def rules(verdict: RunVerdict, said: Verdict) -> set[str]:
    return {rule.rule for rule in verdict.rules if rule.verdict is said}


def told(verdict: RunVerdict) -> set[str]:
    """The rules that give the run's reasons. With any loss the others are unknown too, but do not repeat it."""
    return {reason.partition(":")[0] for reason in verdict.reasons}


def changed(run: list[Record], **fields: object) -> list[Record]:
    """The records with the fields of the channel's account replaced."""
    return [
        msgspec.structs.replace(record, **fields) if isinstance(record, Channel) else record for record in run
    ]


def test_a_loss_in_a_later_attempt_leaves_the_earlier_alone() -> None:
    """Only the attempt whose Complete is missing becomes unknown; that of processor 2 stays judged, and broken."""
    verdict = judge(trace("+cpu S2{irql=1} C2 V =cpu Q +cpu S3 lose C3> V"))
    unclear = {
        finding.attempt
        for finding in verdict.findings
        if finding.verdict is Verdict.UNKNOWN and finding.attempt
    }
    assert ({"SYNC-IRQL-PASSIVE"}, {"processor 3"}) == (rules(verdict, Verdict.VIOLATED), unclear)


@pytest.mark.parametrize("seq", [1 << 31, (1 << 64) - 1])
@pytest.mark.parametrize(
    "text",
    [
        "[S0 S1 C0 C1] Q +cpu S2 C2 V =cpu Q +cpu S3 C3 V =cpu Q unload",
        "+dimm M =dimm Q +cpu a:S2 b:S2 a:C2 b:C2 a:V b:V =cpu",
    ],
)
def test_a_number_that_contradicts_the_order_of_the_lines_accuses_nobody(text: str, seq: int) -> None:
    """One wrong number puts its record behind all that follow. Which of the two orders is right is not known."""
    run = trace(text)
    places = [place for place, record in enumerate(run) if isinstance(record, DriverRecord)]
    accused = {}
    for place in places[:-1]:
        wrong = [*run[:place], msgspec.structs.replace(run[place], seq=seq), *run[place + 1 :]]  # type: ignore[type-var]
        accused[place] = rules(judge(wrong), Verdict.VIOLATED)
    assert (set(), places[:-1]) == (rules(judge(run), Verdict.VIOLATED), list(accused))
    assert {} == {place: more for place, more in accused.items() if more}


def test_what_lies_before_a_wrong_number_is_still_judged() -> None:
    """Only the records between the two orders are uncertain: an earlier violation remains one."""
    run = trace("+cpu S2{irql=1} C2 V =cpu Q +cpu S3 C3 V =cpu Q")
    place = [at for at, record in enumerate(run) if isinstance(record, DriverRecord)][-3]
    run[place] = msgspec.structs.replace(run[place], seq=1 << 40)  # type: ignore[type-var]
    verdict = judge(run)
    assert {"SYNC-IRQL-PASSIVE"} == rules(verdict, Verdict.VIOLATED)
    assert "CAP-CONSISTENT" in told(verdict)


@pytest.mark.parametrize("lines", [1, 3, 1 << 30])
def test_records_that_cannot_be_judged_may_be_the_missing_ones(lines: int) -> None:
    """Lines with another boot's nonce have no place in this one: what seems never to have come may be among them."""
    run = trace("[S0 S1 C0 C1] Q +cpu S2 C2 V =cpu Q +cpu S3 C3 V =cpu Q unload")
    places = [place for place, record in enumerate(run) if isinstance(record, DriverRecord)]
    said = {}
    for first in range(1, len(places)):
        moved = set(places[first : first + lines])
        wrong = [
            msgspec.structs.replace(record, boot="f0f0f0f0f0f0f0f0") if place in moved else record  # type: ignore[type-var]
            for place, record in enumerate(run)
        ]
        verdict = judge(wrong)
        said[places[first]] = verdict.verdict, rules(verdict, Verdict.VIOLATED)
    assert (set(), len(places) - 1) == (rules(judge(run), Verdict.VIOLATED), len(said))
    assert {} == {place: one for place, one in said.items() if one != (Verdict.UNKNOWN, set())}


def test_a_loss_between_attempts_touches_no_attempt() -> None:
    """A record lost while nothing was under way, between two quiet points, is told by its gate only."""
    verdict = judge(trace("+cpu S2 C2 V =cpu Q mark lose mark Q +cpu S3 C3 V"))
    assert {"CAP-NO-LOSS"} == told(verdict)


@pytest.mark.parametrize("order", ["lose C2 S2 V", "C2 lose S2 V"])
def test_an_order_needs_what_came_before_it(order: str) -> None:
    """Complete before Start is no violation if the Start before it may have been lost, and is one if it cannot."""
    expected = {"lose C2 S2 V": Verdict.UNKNOWN, "C2 lose S2 V": Verdict.VIOLATED}[order]
    said = {rule.rule: rule.verdict for rule in judge(trace(order)).rules}
    assert (expected, Verdict.VIOLATED) == (said["SYNC-START-BEFORE-COMPLETE"], said["SYNC-BARRIER"])


def test_a_channel_without_an_account_leaves_the_end_unknown() -> None:
    """If no channel says what it lost, the last records may be missing; what was settled before stays."""
    records = [record for record in trace("S2 C2 V =cpu Q") if not isinstance(record, Channel)]
    verdict = judge(records)
    assert {"CAP-NO-LOSS"} == told(verdict)


@pytest.mark.parametrize("damage", [{"lost": 1}, {"torn": 1}, {"corrupt": 2}, {"oversized": 1}])
def test_damage_that_no_gap_explains_may_be_the_end(damage: dict[str, int]) -> None:
    """A damaged line that is not a missing number in between may have been the last record of all."""
    assert {"CAP-NO-LOSS"} == told(judge(changed(trace("S2 C2 V"), **damage)))


def test_damage_after_the_driver_was_unloaded_is_still_a_loss() -> None:
    """Nothing of that load can be missing after Unload returned, but what the line was is not known."""
    verdict = judge(changed(trace("S2 C2 V =cpu Q unload"), torn=1))
    assert (Verdict.UNKNOWN, {"CAP-NO-LOSS"}) == (verdict.verdict, told(verdict))


def test_foreign_lines_are_no_loss() -> None:
    """The firmware may write to the port."""
    assert Verdict.HOLDS is judge(changed(trace("S2 C2 V"), foreign=9)).verdict


def test_discarded_lines_contradict_the_stream() -> None:
    """Lines of another boot within one boot, or numbers seen before, may stand for records that are not here."""
    assert {"CAP-CONSISTENT"} == told(judge(changed(trace("S2 C2 V"), stale=2)))


def test_one_whole_channel_is_enough() -> None:
    """A ring that overran is no loss where the debug port brought everything."""
    records = trace("S2 C2 V")
    last = [record for record in records if isinstance(record, DriverRecord)][-1]
    ring = Channel(name="ring", records=1, lost=26, closed=True)
    copy = msgspec.structs.replace(last, channel="ring")
    assert Verdict.HOLDS is judge([*records[:-1], copy, ring, records[-1]]).verdict


def test_a_reset_touches_only_the_attempt_inside() -> None:
    """Processor 2 was settled before the reset; only processor 3 is unknown."""
    verdict = judge(trace("+cpu S2 C2 V =cpu Q +cpu S3 reset"))
    names = {finding.attempt for finding in verdict.findings if finding.rule.startswith("SYNC-")}
    assert (Verdict.UNKNOWN, {"processor 3"}) == (verdict.verdict, names)


def test_a_reset_between_attempts_touches_nothing() -> None:
    """A boot after everything was settled is a new epoch, with its own load and its own numbers."""
    assert (
        Verdict.HOLDS is judge(trace("with a Q +cpu S2 C2 V =cpu Q reset load Q +cpu S3 C3 V =cpu")).verdict
    )


def test_a_restored_guest_goes_on_from_its_snapshot() -> None:
    """After a restore counts and numbers are those of the snapshot; nothing is held against going back."""
    before = trace("mark +cpu S2 C2 V =cpu Q")
    baseline = next(place for place, record in enumerate(before) if isinstance(record, Quiesced))
    snapshot = before[:baseline]
    again = before[baseline - 1 : -2]
    restored = [*snapshot, *before[baseline:-2], Boot(epoch=2, cause="restored"), *again, *before[-2:]]
    restored = changed(restored, records=sum(isinstance(record, DriverRecord) for record in restored))
    verdict = judge([msgspec.structs.replace(record, n=n) for n, record in enumerate(restored, 1)])
    exercised = {rule.rule for rule in verdict.rules if rule.exercised > 1}
    assert (Verdict.HOLDS, []) == (verdict.verdict, verdict.reasons)
    assert {"SYNC-FIRST", "SYNC-ALL-REGISTERED", "ASYNC-AFTER-SCHEDULABLE"} <= exercised


def test_a_driver_that_says_it_twice_is_told() -> None:
    """One number twice on one channel makes the run unknown."""
    records = trace("S2 C2 V mark")
    twice = [record for record in records if isinstance(record, DriverRecord)][-1]
    place = records.index(twice)
    doubled = [*records[: place + 1], twice, *records[place + 1 :]]
    verdict = judge(changed(doubled, records=sum(isinstance(record, DriverRecord) for record in doubled)))
    assert (Verdict.UNKNOWN, {"CAP-NO-LOSS"}) == (verdict.verdict, told(verdict))


def test_a_counter_that_runs_backwards_proves_no_order_between_drivers() -> None:
    """The barrier across drivers becomes unknown; within a driver the numbers still decide."""
    verdict = judge(trace("a:S2 b:S2 b:C2 a:C2{qpc=5} a:V b:V"))
    assert {"CAP-ORDER", "SYNC-BARRIER"} == rules(verdict, Verdict.UNKNOWN)


NOT_GREEN = [
    ("S2 C2 V cut", "RUN-COMPLETE"),
    ("S2 C2 V fault", "RUN-COMPLETE"),
    ("+cpu S2 C2 V =cpu?", "HOST-AGREED"),
    ("+cpu =cpu", "HOST-NO-NOTIFY"),
    ("S2 C2", "ASYNC-EVENTUALLY"),
    ("+dimm =dimm", "MEM-ARRIVAL-EVENTUALLY"),
    ("S2 C2 V <S3", "CAP-BRACKETED"),
]


@pytest.mark.parametrize(("text", "rule"), NOT_GREEN)
def test_what_never_came_is_not_green(text: str, rule: str) -> None:
    """An operation whose expected consequence never came leaves the run unknown, with the rule that waited for it."""
    verdict = judge(trace(text))
    assert (Verdict.UNKNOWN, True, ExitCode.UNKNOWN) == (
        verdict.verdict,
        any(reason.startswith(rule) for reason in verdict.reasons),
        verdict.exit_code,
    )


def test_what_keeps_hardware_out_of_a_guest_is_named_when_nothing_comes() -> None:
    """The conditions that the preflight found broken stand in the reason, in the place of where to look."""
    records = trace("+cpu =cpu")
    found = GuestEvent(
        event="preflight", detail="virtualization-based security: broken: running (virtio-win issue 1607)"
    )
    fine = GuestEvent(event="preflight", detail="13 of 14 conditions hold")
    (reason,) = [
        reason
        for reason in judge([*records[:2], found, fine, *records[2:]]).reasons
        if reason.startswith("HOST-NO-NOTIFY")
    ]
    assert reason.endswith(f"this guest's own conditions: {found.detail}")


def test_a_command_without_agreement_is_not_green() -> None:
    """An accepted command that nobody followed up leaves the run unknown."""
    records = [record for record in trace("S2 C2 V") if not isinstance(record, Agreement)]
    assert {"HOST-AGREED"} == rules(judge(records), Verdict.UNKNOWN)


@pytest.mark.parametrize(
    ("outcome", "words"), [("failed", "the run failed"), ("interrupted", "the run was interrupted")]
)
def test_a_run_that_did_not_complete_is_not_green(outcome: str, words: str) -> None:
    """How the run ended is in its last record."""
    records = trace("S2 C2 V")
    verdict = judge([*records[:-1], End(outcome=outcome)])  # type: ignore[arg-type]
    assert (Verdict.UNKNOWN, [f"RUN-COMPLETE: {words}"]) == (verdict.verdict, verdict.reasons)


def test_a_failed_operation_is_not_green() -> None:
    """So is one that began and never ended."""
    records, begin = trace("S2 C2 V"), OperationProgress(index=4, name="wait-for", phase="begin")
    failed = judge(
        [*records[:-1], begin, msgspec.structs.replace(begin, phase="fail", detail="too late"), records[-1]]
    )
    endless = judge([*records[:-1], begin, records[-1]])
    assert [
        ["RUN-COMPLETE: operation 4 (wait-for) failed: too late"],
        ["RUN-COMPLETE: operation 4 (wait-for) began and never ended"],
    ] == [failed.reasons, endless.reasons]


def test_an_expectation_that_is_not_met_is_a_violation() -> None:
    """The plan's own demand decides like a rule."""
    records = trace("S2 C2 V")
    expect = Expectation(index=3, demanded="processors = 4", seen="processors = 3", met=False)
    verdict = judge([*records[:-1], expect, records[-1]])
    assert (
        Verdict.VIOLATED,
        ["EXPECT: operation 3 of the plan expected processors = 4 and saw processors = 3"],
    ) == (
        verdict.verdict,
        verdict.reasons,
    )


def test_an_expectation_after_an_add_that_was_not_agreed_on_is_unknown() -> None:
    """The guest may only have been late, on a host that starved it; what was agreed on before is no excuse."""
    late = judge(trace("+cpu S2 C2 V =cpu? expect!"))
    assert (Verdict.UNKNOWN, True) == (
        late.verdict,
        any("EXPECT: " in reason and "was not established before" in reason for reason in late.reasons),
    )
    assert Verdict.VIOLATED is judge(trace("+cpu S2 C2 V =cpu expect!")).verdict


def test_the_fault_says_who_is_to_blame() -> None:
    """A run's failure class is its first fault's; a proved violation's is the contract's or the driver's all the same."""
    classes = [
        judge(trace(text)).failure_class
        for text in ("S2 C2 fault", "S2 fault", "C2 V", "S2 C2{out=0xC0000001} V", "S2 C2 V")
    ]
    assert ["guest hang", "contract", "contract", "driver", ""] == classes


@pytest.mark.parametrize(
    "told",
    [
        Console(text="Kernel panic - not syncing", severity="crash"),
        Qmp(direction="in", message={"event": "GUEST_PANICKED", "data": {"action": "pause"}}),
    ],
)
def test_a_guest_that_told_of_its_crash_did_not_hang(told: Record) -> None:
    """A hang is a bug check when the console or pvpanic said so before or after."""
    records = trace("S2 C2 fault")
    numbered = [msgspec.structs.replace(x, n=n) for n, x in enumerate([*records[:-1], told, records[-1]], 1)]
    assert ["guest hang", "bug check"] == [judge(records).failure_class, judge(numbered).failure_class]


def test_nothing_at_all_is_unknown() -> None:
    """No record, or a run in which nothing happened that the contract speaks of, is never green."""
    empty, idle = (
        judge([]),
        judge([record for record in trace("S2 C2 V") if not isinstance(record, DriverRecord | Channel)]),
    )
    assert [Verdict.UNKNOWN, Verdict.UNKNOWN] == [empty.verdict, idle.verdict]
    assert (
        "nothing happened that a rule about Windows or the driver judges, the counts in each record aside"
        in idle.reasons
    )
    assert {Verdict.NOT_APPLICABLE} == {
        rule.verdict for rule in idle.rules if rule.level in ("error", "error(driver)")
    }


@pytest.mark.parametrize("kinds", [Hello | Mark, Hello | CallEnter | CallExit])
def test_a_driver_that_is_only_there_proves_nothing(kinds: UnionType) -> None:
    """A lone mark, or only DriverEntry, keeps the counts that every record samples: the run is unknown all the same."""
    spoken = [record for record in trace("entry entry. mark Q") if isinstance(record, kinds)]
    numbered = [msgspec.structs.replace(record, seq=seq) for seq, record in enumerate(spoken, 1)]
    host = [record for record in trace("entry entry. mark Q") if not isinstance(record, DriverRecord)]
    said = judge(changed([*host[:2], *numbered, *host[2:]], records=len(numbered)))
    assert {"COUNT-MONOTONIC"} <= rules(said, Verdict.HOLDS)
    assert (Verdict.UNKNOWN, ["nothing happened that a rule about Windows or the driver judges, the counts in each record aside"]) == (
        said.verdict, said.reasons,
    )  # fmt: skip
