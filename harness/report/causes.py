# SPDX-License-Identifier: MIT
"""The order in which broken rules are shown: the cause first, then what may follow from it.

The checker orders findings by their first records. That is not the order of cause and effect: a registration that was made
long before, or an earlier call about the same processor, is a record of many violations. Findings are shown in the order
in which they became certain, which is that of their last records. Some rules are broken as a result of another rule's
violation; :data:`FOLLOWS` names them. Nothing is judged here and no finding is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from harness.contract.rules.catalogue import all_rules
from harness.contract.rules.rule import DECIDING
from harness.contract.verdict import Finding, Level, Verdict

CALLED_OTHERWISE = "CALLED-OTHERWISE"
"""Stands in :data:`FOLLOWS` for any violation by Windows: a rule of level ``error``."""

FOLLOWS: dict[str, tuple[str, ...]] = {
    # A driver's books do not balance if it is not called as documented.
    "OB-ALLOC-FREE": (CALLED_OTHERWISE, "OB-VETO-SELF-CLEAN"),
    "OB-ETW-BRACKET": ("ASYNC-UNREG-EX-QUIET",),
    # What runs too early, because Start came too late.
    "NO-RUN-BEFORE-START-DONE": ("SYNC-BARRIER", "SYNC-START-BEFORE-COMPLETE"),
    "ASYNC-AFTER-SCHEDULABLE": ("SYNC-FIRST",),
    # A call that should not have been, for a processor that is active or is not.
    "FAIL-NOT-COUNTED": ("SYNC-TERMINAL-EXCLUSIVE", "SYNC-AGREE"),
    "COMPLETE-COUNTED": ("VETO-NO-COMPLETE",),
    "SYNC-TERMINAL-EXCLUSIVE": ("SYNC-STATE-VALID", "SYNC-START-BEFORE-FAILURE"),
    # A count that fell, because it had risen too early.
    "COUNT-MONOTONIC": ("FAIL-NOT-COUNTED",),
    # A driver that takes a second Start for Complete.
    "OB-THREAD-AFTER-COMPLETE": ("ADDEX-ONE-START-EACH",),
    # Failures for Starts that should not have been.
    "ADDEX-VETO-FAILURES": ("ADDEX-VETO-STOPS",),
    # A number that was wrong before.
    "NUM-INDEX-AGREES": ("SYNC-SAME-IDENTITY", "COMPLETE-COUNTED", "VETO-NO-COMPLETE"),
    "NUM-RANGE": ("NUM-GROUP0",),
    "SYNC-SAME-IDENTITY": ("NUM-GROUP0", "NUM-RANGE"),
    "NUM-UNIQUE": ("SYNC-SAME-IDENTITY", "ADDEX-WITHIN-REGISTER", "NOFLAG-SILENT", "VETO-NO-COMPLETE"),
    # Calls for processors that exist, told to one that should not hear of them.
    "ADDEX-WITHIN-REGISTER": ("ADDEX-OTHERS-SILENT",),
    "SYNC-ALL-REGISTERED": ("NOFLAG-SILENT",),
    # The end of a run that a reset cut short.
    "HOST-AGREED": ("CAP-EPOCH",),
    "RUN-COMPLETE": ("CAP-EPOCH",),
    "CAP-BRACKETED": ("CAP-NO-LOSS", "CAP-EPOCH"),
}
"""Rules that are broken as a result of others: the rule, and those of which one explains it."""

SUMS = frozenset({"HOST-AGREED", "RUN-COMPLETE"})
"""Gates that say how a run ended, and not which evidence is missing."""


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Return ``findings`` with the cause first, then what may follow from it, then what sums up."""
    ranks = _ranks(findings)
    return sorted(findings, key=lambda finding: (ranks[finding.rule], *_certain(finding)))


def following(findings: Sequence[Finding]) -> set[str]:
    """Return the rules that may be broken, or not known, only because of others among ``findings``."""
    return {rule for rule, rank in _ranks(findings).items() if rank}


def causes(findings: Sequence[Finding]) -> list[Finding]:
    """Return the violations that decide a run's verdict, the cause first."""
    return ordered([one for one in findings if one.verdict is Verdict.VIOLATED and one.level in DECIDING])


def _ranks(findings: Sequence[Finding]) -> dict[str, int]:
    """Return each rule's rank: 0 for a cause, 1 for what may follow from one, 2 for what sums up."""
    known = {finding.rule for finding in findings}
    windows = any(finding.level is Level.ERROR for finding in findings)
    contract = any(finding.level is not Level.ERROR_HARNESS for finding in findings)
    lost = any(finding.level is Level.GATE and finding.rule not in SUMS for finding in findings)
    ranks: dict[str, int] = {}
    for finding in findings:
        of = FOLLOWS.get(finding.rule, ())
        if finding.level is Level.ERROR_HARNESS and contract:
            rank = 2
        elif any(rule in known for rule in of) or (CALLED_OTHERWISE in of and windows):
            rank = 1
        else:
            # What is not known because evidence is missing follows from what says that it is.
            rank = int(lost and finding.verdict is Verdict.UNKNOWN and finding.level is not Level.GATE)
        ranks[finding.rule] = rank
    return ranks


def _certain(finding: Finding) -> tuple[int, int]:
    last = max((witness.record for witness in finding.witnesses), default=0)
    return last, _places().get(finding.rule, len(_places()))


@cache
def _places() -> dict[str, int]:
    return {rule.id: place for place, rule in enumerate(all_rules())}
