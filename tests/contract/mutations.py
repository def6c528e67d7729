# SPDX-License-Identifier: MIT
"""The mutation matrix: for each rule that can fail a run, one step that turns a legal history into one that violates it.

The two examples of a rule are its mutation if they are one word apart. :data:`ISOLATED` has a history for each rule
whose examples differ by more, or break other rules too. ``python tests/contract/mutations.py`` writes the table into
docs/rules.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from harness.contract.checker import judge
from harness.contract.notation import trace
from harness.contract.rules.catalogue import all_rules
from harness.contract.rules.rule import DECIDING, Rule
from harness.contract.verdict import Level, Verdict

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
BEGIN, END = "<!-- mutations: begin -->", "<!-- mutations: end -->"

SYNC_ONLY = "cpus=2 [S0 S1 C0 C1] Q +cpu"
"""A driver with a synchronous registration only, quiet, and a command under way."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One step: what is legal, what it becomes, and which other rules the same step cannot but violate, and why."""

    rule: str
    legal: str
    mutated: str
    step: str
    also: tuple[str, ...] = ()
    why: str = ""


def _m(rule: str, step: str, legal: str, mutated: str, *also: str, why: str = "") -> Mutation:
    return Mutation(rule=rule, step=step, legal=legal, mutated=mutated, also=also, why=why)


ORDER = "Complete before Start is Complete before Start returned"
ABSENT = "what never comes is missing in every rule that counts it"

ISOLATED = [
    _m("OB-ETW-BRACKET", "move", "sample etw load unload", "sample load etw unload"),
    _m("SYNC-STATE-VALID", "change", "S2 C2 V", "S2 C2{state=3} V"),
    _m("SYNC-CONTEXT-IDENTITY", "change", "S2 C2 V", "S2 C2{ctx=9} V"),
    _m("SYNC-IRQL-PASSIVE", "change", "S2 C2 V", "S2{irql=1} C2 V"),
    _m("REG-IRQL-PASSIVE", "change", "S2 C2 V Q dereg", "S2 C2 V Q dereg{irql=1}"),
    _m("SYNC-START-BEFORE-COMPLETE", "move", f"{SYNC_ONLY} S2 C2", f"{SYNC_ONLY} C2 S2", "SYNC-BARRIER", why=ORDER),
    _m("SYNC-START-BEFORE-FAILURE", "move", f"{SYNC_ONLY} S2 F2", f"{SYNC_ONLY} F2 S2"),
    _m("SYNC-EXACTLY-TWO", "repeat", f"{SYNC_ONLY} S2 C2", f"{SYNC_ONLY} S2 S2 C2"),
    _m("SYNC-TERMINAL-EXCLUSIVE", "insert", f"{SYNC_ONLY} S2 F2", f"{SYNC_ONLY} S2 F2 C2", "SYNC-EXACTLY-TWO", why="two ends are one too many"),
    _m("SYNC-START-CLOSED", "delete", f"{SYNC_ONLY} S2 F2", f"{SYNC_ONLY} S2", "SYNC-EXACTLY-TWO", "SYNC-ALL-REGISTERED", why=ABSENT),
    _m("SYNC-ALL-REGISTERED", "move", "a:S2 a:C2 a:V with b", "with b a:S2 a:C2 a:V"),
    _m("SYNC-AGREE", "change", "a:S2 b:S2 a:F2 b:F2", "a:S2 b:S2 a:F2 b:C2"),
    _m("SYNC-BARRIER", "move", "a:S2 b:S2 a:C2 b:C2 a:V b:V", "a:S2 a:C2 b:S2 b:C2 a:V b:V"),
    _m("SYNC-SAME-IDENTITY", "change", "S2 F2", "S2 F2{number=3}"),
    _m("NO-RUN-BEFORE-START-DONE", "change", "S2 C2 V", "S2{cpu=2} C2 V"),
    _m("COMPLETE-COUNTED", "change", "S2 C2 V", "S2 C2{mask=3} V"),
    _m("SYNC-FIRST", "move", "S2{active=3} V{active=3} C2", "V{active=3} S2{active=3} C2"),
    _m("FAIL-STATUS-ERROR", "change", "S2 F2", "S2 F2{status=0}"),
    _m("FAIL-NOT-COUNTED", "change", "S2 F2", "S2 F2{mask=7}"),
    _m("VETO-NO-COMPLETE", "change", f"{SYNC_ONLY} S2! F2", f"{SYNC_ONLY} S2! C2"),
    _m("VETO-FAILURE-DELIVERED", "delete", "a:S2 b:S2! a:F2", "a:S2 b:S2!", "SYNC-EXACTLY-TWO", "SYNC-START-CLOSED", why=ABSENT),
    _m("OB-OPSTATUS-DISCIPLINE", "change", "S2 C2 V", "S2 C2{out=0xC0000001} V"),
    _m("OB-NO-OVERWRITE", "change", "a:S2! b:S2{op=0xC000009A} b:F2",
       "a:S2! b:S2{op=0xC000009A,out=0xC0000001} b:F2"),
    _m("OB-CTX-IMMUTABLE", "change", "S2 C2 V", "S2 C2{x.number=9} V"),
    _m("OB-ALLOC-FREE", "change", "S2{alloc=1} F2{free=1}", "S2{alloc=1} F2"),
    _m("OB-THREAD-AFTER-COMPLETE", "move", "S2 C2 bind{nt=2} V", "S2 bind{nt=2} C2 V"),
    _m("ADDEX-WITHIN-REGISTER", "insert", SYNC_ONLY, f"{SYNC_ONLY} S1{{mask=0}} F1{{mask=0}}"),
    _m("ADDEX-ONE-START-EACH", "change", "cpus=2 [S0 S1 C0 C1]", "cpus=2 [S0 C0]"),
    _m("ADDEX-STARTS-THEN-COMPLETES", "move", "[S0 S1 C0 C1]", "[S0 C0 S1 C1]"),
    _m("ADDEX-ONE-COMPLETE-EACH", "delete", "[S0 S1 C0 C1]", "cpus=2 [S0 S1 C0]"),
    _m("ADDEX-VETO-STOPS", "insert", "[S0 S1! F0]0", "[S0 S1! C0 F0]0"),
    _m("ADDEX-VETO-FAILURES", "delete", "[S0 S1! F0]0", "[S0 S1!]0"),
    _m("NULL-NO-CALLBACKS", "insert", "[S0!]0 Q", "[S0!]0 Q +cpu S2 F2"),
    _m("NOFLAG-SILENT", "insert", "( )", "( S0 F0{mask=0} )", "HOST-CAUSE", why="nothing was added"),
    _m("ADDEX-OTHERS-SILENT", "insert", "cpus=2 with b [S0 S1 C0 C1]", "cpus=2 with b [S0 b:S5 b:F5 S1 C0 C1]", "HOST-CAUSE",
       why="nothing was added"),
    _m("OB-DEREG-BEFORE-UNLOAD", "repeat", "S2 C2 V Q dereg", "S2 C2 V Q dereg dereg"),
    _m("NUM-INDEX-AGREES", "change", "S2 C2 V", "S2 C2{idx_number=7} V"),
    _m("NUM-RANGE", "change", "S2 F2", "S2{max_in_group=2} F2"),
    _m("NUM-GROUP0", "change", f"{SYNC_ONLY} S2 F2", f"{SYNC_ONLY} S2{{group=1}} F2{{group=1}}"),
    _m("NUM-UNIQUE", "insert", "+cpu S2 C2 V =cpu Q +cpu", "+cpu S2 C2 V =cpu Q +cpu S2 C2"),
    _m("COUNT-MONOTONIC", "change", "S2 C2 V =cpu mark", "S2 C2 V =cpu mark{active=2}"),
    _m("COUNT-LEGACY-IS-GROUP0", "change", "S2 C2 V =cpu Q mark", "S2 C2 V =cpu Q mark{active_g0=1}"),
    _m("ASYNC-CLASS-ROUTE", "change", "S2 C2 V Q V0", "S2 C2 V Q V0{cls=memory}"),
    _m("ASYNC-AFTER-SCHEDULABLE", "change", "S2 V C2", "S2 V{active=2} C2"),
    _m("ASYNC-EXISTING-DUP", "repeat", "{ V0 V0 }", "{ V0 V0 V0 }"),
    _m("ASYNC-UNREG-EX-QUIET", "insert", "S2 C2 V Q unreg", "S2 C2 V Q unreg V0"),
    _m("OB-ASYNC-UNREG-BEFORE-UNLOAD", "change", "async1 unload", "async1 unload!"),
    _m("MEM-NO-SYNC", "insert", "+cpu S2 C2 V =cpu Q +dimm M =dimm", "+cpu S2 C2 V =cpu Q +dimm S3 F3 M =dimm"),
    _m("MEM-CPU-SILENT", "insert", "async1 Q +dimm =dimm", "async1 Q +dimm V{active=3} =dimm"),
    _m("REBAL-ORDER", "delete", "irp=START irp=QUERY_STOP irp=STOP S2 C2 V", "irp=START irp=STOP S2 C2 V"),
    _m("REBAL-KMDF-ORDER", "move", "irp=SelfManagedIoSuspend irp=D0Exit irp=ReleaseHardware S2 C2 V",
       "irp=SelfManagedIoSuspend irp=ReleaseHardware irp=D0Exit S2 C2 V"),
    _m("REBAL-OPTOUT", "insert", "optout S2 C2 V", "optout S2 irp=QUERY_STOP C2 V"),
    _m("OB-NO-QUERYSTOP-VETO", "change", "irp=QUERY_STOP S2 C2 V", "irp=QUERY_STOP! S2 C2 V"),
    _m("HOST-CAUSE", "move", "+cpu S2 F2", "S2 +cpu F2"),
    _m("EXPECT", "change", "S2 C2 V expect.", "S2 C2 V expect!"),
]  # fmt: skip


def step_between(legal: str, mutated: str) -> str:
    """Return the one step that leads from a history to another, or "" if one step does not."""
    before, after = legal.split(), mutated.split()
    if len(after) == len(before) + 1:
        for place, word in enumerate(after):
            if after[:place] + after[place + 1 :] == before:
                return "repeat" if after[max(place - 1, 0) : place + 2].count(word) > 1 else "insert"
    if len(after) + 1 == len(before):
        return "delete" if any(before[:n] + before[n + 1 :] == after for n in range(len(before))) else ""
    if len(after) != len(before):
        return ""
    if sum(a != b for a, b in zip(before, after, strict=True)) == 1:
        return "change"
    for old, new in permutations(range(len(before)), 2):
        rest = before[:old] + before[old + 1 :]
        if [*rest[:new], before[old], *rest[new:]] == after:
            return "move"
    return ""


def _mutations() -> list[Mutation]:
    """Return a mutation for each rule that can fail a run, in the catalogue's order; none for a rule without one."""
    isolated = {mutation.rule: mutation for mutation in ISOLATED}

    def own(rule: Rule) -> Mutation | None:
        step = step_between(rule.holds, rule.violates)
        return isolated.get(rule.id) or (_m(rule.id, step, rule.holds, rule.violates) if step else None)

    rules = [rule for rule in all_rules() if rule.decides and rule.level is not Level.GATE]
    return [mutation for mutation in map(own, rules) if mutation is not None]


MUTATIONS = _mutations()


def violated(text: str) -> set[str]:
    """Identifiers of the rules that make the run violated."""
    rules = judge(trace(text)).rules
    return {rule.rule for rule in rules if rule.verdict is Verdict.VIOLATED and rule.level in DECIDING}


def table() -> str:
    """The matrix as a Markdown table."""
    rows = ["| rule | step | legal | mutated | also violated |", "| --- | --- | --- | --- | --- |"]
    for mutation in MUTATIONS:
        also = ", ".join(mutation.also) + (f" ({mutation.why})" if mutation.why else "")
        rows.append(
            f"| {mutation.rule} | {mutation.step} | `{mutation.legal}` | `{mutation.mutated}` | {also} |"
        )
    return "\n".join(rows)


def embedded(document: str) -> str:
    """``document`` with the table between its marks replaced."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(embedded(DOCUMENT.read_text()))
