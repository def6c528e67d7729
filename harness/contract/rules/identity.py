# SPDX-License-Identifier: MIT
"""R.5, the identity and number of processors: indexes, groups, counts."""

# ruff: noqa: ARG001 - every predicate takes its subject and the model, whether it needs both or not

from __future__ import annotations

from harness.contract.rules import subject_kind as kind
from harness.contract.rules.rule import HOLDS, Broken, RuleOutcome, Section, Unclear, noted
from harness.contract.state.entities import Attempt, Callback
from harness.contract.state.evidence import FOREVER
from harness.contract.state.model import Model
from harness.contract.verdict import Level
from harness.history.driver import COMPLETE, START, STATE_NAMES, DriverRecord, SyncEnter, nt_success
from harness.history.nt_status import status_name

SECTION = Section("R.5", "Processor identity and counts")
rule = SECTION.rule

FROM_INDEX = "DDI:wdm/nf-wdm-kegetprocessornumberfromindex.md"
NUMBER = "DDI:miniport/ns-miniport-_processor_number.md"
ACTIVE_EX = "DDI:wdm/nf-wdm-kequeryactiveprocessorcountex.md"
MAXIMUM_EX = "DDI:wdm/nf-wdm-kequerymaximumprocessorcountex.md"
ACTIVE = "DDI:wdm/nf-wdm-kequeryactiveprocessorcount.md"
GROUPS = "DDI:wdm/nf-wdm-kequeryactivegroupcount.md"


def _disagreement(enter: SyncEnter) -> str:
    if not nt_success(enter.idx_status):
        return f"KeGetProcessorNumberFromIndex({enter.nt}) failed with {status_name(enter.idx_status)}"
    if (enter.idx_group, enter.idx_number) != (enter.group, enter.number):
        return (
            f"index {enter.nt} is group {enter.idx_group} number {enter.idx_number}, "
            f"the context says group {enter.group} number {enter.number}"
        )
    if enter.back_idx != enter.nt:
        return f"group {enter.group} number {enter.number} is index {enter.back_idx}, the context says {enter.nt}"
    return ""


@rule(
    "NUM-INDEX-AGREES", Level.ERROR, kind.COMPLETE, clauses="A35", source=FROM_INDEX,
    says="at Complete, index and (group, number) convert into each other", needs="Complete",
    holds="S2 C2 V", violates="S2 C2{idx_number=7}",
)  # fmt: skip
def index_agrees(call: Callback, model: Model) -> RuleOutcome:
    """Judge existing and added processors alike."""
    if call.enter.state != COMPLETE:
        return None
    wrong = _disagreement(call.enter)
    return Broken(wrong, (call.enter,)) if wrong else HOLDS


@rule(
    "NUM-INDEX-AT-START", Level.OBSERVE, kind.START, clauses="U16", source="undocumented: docs/contract.md A35",
    says="do index and (group, number) convert into each other at Start already?", needs="Start of a hot-add",
    holds="S2 C2 V",
)  # fmt: skip
def index_at_start(call: Callback, model: Model) -> RuleOutcome:
    """Reported to fail on Server 2022 for processors that are not active yet."""
    if call.enter.state != START or call.attempt is None:
        return None
    return noted("no" if _disagreement(call.enter) else "yes")


@rule(
    "NUM-RANGE", Level.ERROR, kind.SYNC_ENTER, clauses="A36, E4", source=f"{NUMBER}; {MAXIMUM_EX}",
    says="a number is below 64 and below its group's maximum, an index below the maximum", needs="synchronous callback",
    holds="S2 C2 V", violates="S2{number=64} C2{number=64}",
)  # fmt: skip
def number_range(call: Callback, model: Model) -> RuleOutcome:
    """A group holds at most 64 processors on 64-bit Windows. Code runs only on processors below the maximum."""
    enter = call.enter
    limit = min(64, enter.max_in_group)
    if not 0 <= enter.number < limit:
        name = STATE_NAMES.get(enter.state, f"state {enter.state}")
        holds = f"holds numbers 0 to {limit - 1}" if limit > 0 else "holds no processor"
        said = f"{name} names processor {enter.nt} as group {enter.group} number {enter.number}, and that group {holds}"
        return Broken(said, (enter,))
    if not 0 <= enter.nt < enter.maximum:
        return Broken(f"index {enter.nt} is not below the maximum of {enter.maximum}", (enter,))
    if enter.cpu >= enter.maximum:
        return Broken(f"the callback ran on processor {enter.cpu}, the maximum is {enter.maximum}", (enter,))
    return HOLDS


@rule(
    "NUM-GROUP0", Level.ERROR, kind.SYNC_ENTER, clauses="A37", source=NUMBER,
    says="a system with at most 64 processors has only group 0", needs="synchronous callback",
    unless="the maximum is above 64, or boot options make groups",
    holds="S2 C2 V", violates="S2{group=1} C2{group=1}",
)  # fmt: skip
def group_zero(call: Callback, model: Model) -> RuleOutcome:
    """Unless the boot options groupsize or maxgroup say otherwise (a ``boot-option`` event of the guest).

    A group that Windows says holds some of the possible processors only is one of several.
    """
    if call.enter.maximum > 64 or model.group_options:
        return None
    if call.enter.group == 0:
        return HOLDS
    if 0 < call.enter.max_in_group < call.enter.maximum:
        return Unclear(
            f"group {call.enter.group} holds at most {call.enter.max_in_group} of {call.enter.maximum} processors, so Windows has "
            "several groups, and no boot option that makes them was told", (call.enter,),
        )  # fmt: skip
    return Broken(
        f"{STATE_NAMES.get(call.enter.state, f'state {call.enter.state}')} for processor {call.enter.nt} names group "
        f"{call.enter.group} although at most {call.enter.maximum} processors are possible", (call.enter,),
        absent=("", 0, FOREVER),
    )  # fmt: skip


@rule(
    "NUM-IS-OLD-COUNT", Level.OBSERVE, kind.START, clauses="A38, U15", source="undocumented: docs/contract.md A38",
    says="is the index of an added processor the old active count?", needs="Start of a hot-add",
    unless="no count was known before one",
    holds="S2 C2 V",
)  # fmt: skip
def index_is_old_count(call: Callback, model: Model) -> RuleOutcome:
    """This is expected, and not documented."""
    attempt = call.attempt
    if call.enter.state != START or attempt is None or not attempt.active_before:
        return None
    return noted("yes" if call.enter.nt == attempt.active_before else "no")


def _again(first: SyncEnter, enter: SyncEnter) -> str:
    """Return how the second call shows that a number was used again."""
    if first.state != COMPLETE:
        return "reported as existing and then completed as added"
    if enter.active > first.active:
        return f"completed twice, and the active count rose from {first.active} to {enter.active}: another processor got its number"
    return "completed twice"


@rule(
    "NUM-UNIQUE", Level.ERROR, kind.SYNC_ENTER, clauses="E3, A34", source=f"{ACTIVE_EX}; {NUMBER}",
    says="no two processors of one boot share an index or a group and number, which never change, because active processors "
    "are never removed", needs="Complete",
    holds="+cpu S2 C2 V =cpu +cpu S3 C3 V =cpu", violates="S2 C2 S2 C2",
)  # fmt: skip
def unique(call: Callback, model: Model) -> RuleOutcome:
    """Judged once for the whole boot, over all drivers: processors that exist at a registration, and added ones."""
    enter, attempt = call.enter, call.attempt
    existing = attempt is None and not call.registration.implied and enter.state == START
    if enter.state != COMPLETE and not existing:
        return None
    name = attempt.name if attempt is not None else ""
    other = model.processors.elsewhere(enter)
    if other is not None:
        return Broken(
            f"processor {enter.nt} was named group {enter.group} number {enter.number}, which is processor {other.nt}",
            (other, enter), (), name, cause=("place", enter.nt),
        )  # fmt: skip
    known = model.processors.known(enter.nt)
    # A processor reported to a new registration as existing, while it is being added, is the same one.
    twice = (
        known is not None and known[1] is not attempt and (known[1] is not None or known[2] < attempt.first)
        if attempt
        else False
    )
    if attempt is not None and known is not None and twice:
        said = (
            f"processor {enter.nt} (group {enter.group} number {enter.number}) was {_again(known[0], enter)}"
        )
        begin = min(known[2], attempt.since)
        return Broken(
            said, (known[0], enter), (), name, absent=("", begin, model.at), cause=("twice", attempt)
        )
    return HOLDS


@rule(
    "COUNT-MONOTONIC", Level.ERROR, kind.SAMPLE, clauses="E3", source=ACTIVE_EX,
    says="the active count never falls within one boot", needs="driver record",
    holds="S2 C2 V", violates="S2 C2 V{active=1}", same=("active",),
)  # fmt: skip
def count_monotonic(record: DriverRecord, model: Model) -> RuleOutcome:
    """Records of one driver are ordered by its numbers, those of several drivers by the counter."""
    if record.active >= model.active:
        return HOLDS
    stream, counted = model.stream, model.processors.counted
    last = stream.last
    if last is not None and record.active < last.active:
        return Broken(f"the active count fell from {last.active} to {record.active}", (last, record))
    if counted is not None and _earlier(counted, record, model):
        return Broken(f"the active count fell from {counted.active} to {record.active}", (counted, record))
    return HOLDS


def _earlier(first: DriverRecord, record: DriverRecord, model: Model) -> bool:
    """Return whether a record of another driver is known to be earlier, by the counter that both read."""
    if first.driver == record.driver:
        return first.seq < record.seq
    if model.migrated(model.counted_at, model.at):
        return False
    return first.qpc < record.qpc and not any(stream.order_lost for stream in model.streams.values())


@rule(
    "MAX-CONSTANT", Level.ERROR, kind.SAMPLE, clauses="E4", source=MAXIMUM_EX,
    says="the maximum count is constant and never below the active count", needs="driver record",
    holds="S2 C2 V", violates="S2 C2 V{maximum=9}", same=("active", "maximum"),
)  # fmt: skip
def maximum_constant(record: DriverRecord, model: Model) -> RuleOutcome:
    """Judged within one boot, over all drivers."""
    if record.active > record.maximum:
        return Broken(f"{record.active} processors were active, the maximum is {record.maximum}", (record,))
    sized = model.processors.sized
    if sized is not None and record.maximum != sized.maximum:
        return Broken(
            f"KeQueryMaximumProcessorCountEx(ALL) returned {record.maximum} and had returned {sized.maximum}; "
            "it must not change",
            (sized, record), cause="maximum",
        )  # fmt: skip
    return HOLDS


@rule(
    "COUNT-LEGACY-IS-GROUP0", Level.ERROR, kind.SETTLED | kind.COMPLETED, clauses="E1", source=ACTIVE,
    says="KeQueryActiveProcessorCount counts group 0 only", needs="driver record",
    unless="an add was in flight at each record",
    holds="S2 C2 V", violates="S2 C2 =cpu Q mark{active_g0=1}",
)  # fmt: skip
def legacy_is_group_zero(subject: DriverRecord | Attempt, model: Model) -> RuleOutcome:
    """Compared with KeQueryActiveProcessorCountEx(0) while nothing is being added; unchanged by adds elsewhere."""
    if isinstance(subject, Attempt):
        if subject.overlapped or not subject.completes or subject.completes[0].enter.group == 0:
            return None
        first, last = subject.events[0].enter, subject.completes[0].enter
        if first.active_g0 == last.active_g0:
            return HOLDS
        said = f"an add to group {last.group} changed the count of group 0 from {first.active_g0} to {last.active_g0}"
        return Broken(said, (first, last), (), subject.name, absent=subject.stretch)
    if model.attempts.unsettled or model.commands.cpu_in_flight:
        return None
    if subject.active_g0 == subject.active_g0_ex:
        return HOLDS
    return Broken(
        f"KeQueryActiveProcessorCount returned {subject.active_g0}, and group 0 has {subject.active_g0_ex} active processors by "
        "KeQueryActiveProcessorCountEx(0)",
        (subject,),
    )  # fmt: skip


@rule(
    "GROUPS-MONOTONIC", Level.ERROR, kind.SAMPLE, clauses="E11", source=GROUPS,
    says="the number of active groups never falls", needs="driver record",
    holds="S2 C2 V", violates="S2 C2 V{groups=0}", same=("groups",),
)  # fmt: skip
def groups_monotonic(record: DriverRecord, model: Model) -> RuleOutcome:
    """A new group can become active. Within one boot no group becomes inactive, for any driver that asks."""
    grouped, groups = model.processors.grouped, record.groups
    if groups >= (grouped.groups if grouped is not None else 0):
        return HOLDS
    if grouped is None or not _earlier(grouped, record, model):
        return HOLDS
    return Broken(
        f"the number of active groups, by KeQueryActiveGroupCount, fell from {grouped.groups} to {record.groups}",
        (grouped, record),
    )
