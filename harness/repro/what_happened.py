# SPDX-License-Identifier: MIT
"""What happened in a session so far: the records, QEMU's events, the verdict, and the rules explained."""

from __future__ import annotations

from collections.abc import Sequence

from harness.contract.checker import NOT_ENDED
from harness.contract.explanation import explainer
from harness.contract.rules.catalogue import all_rules, find
from harness.contract.verdict import RunVerdict, Verdict
from harness.errors import UsageError
from harness.history.absent import ReadableRecords
from harness.history.reader import History
from harness.history.record import Qmp, Record
from harness.report.escape import printable
from harness.report.timeline import record_lines
from harness.repro.record_tape import RecordTape, kinds_of
from harness.repro.session_commands import RECORD_KINDS, suggested
from harness.run.run import Run
from harness.run.say import Say

MOST_RECORDS = 1000
"""The most records that ``records`` and ``events`` show."""

MOST_REASONS, MOST_FINDINGS = 10, 3
"""The most reasons that ``check`` names, and the most findings that ``explain`` explains."""


class WhatHappened:
    """Answers questions about the history of a session. ``say`` prints a line; ``tape`` has the zero of its times."""

    def __init__(self, run: Run, tape: RecordTape, say: Say) -> None:
        self._run = run
        self._tape = tape
        self._say = say

    def _history(self) -> History:
        return History(self._run.directory.path)

    def records(self, which: str = "20") -> None:
        """Show the last records, or those of a kind. Raises UsageError for neither."""
        history = [*self._history()]
        if which.isdecimal():
            wanted: list[Record] = history[-min(int(which), MOST_RECORDS) :] if int(which) else []
        elif which in RECORD_KINDS:
            wanted = [record for record in history if which in kinds_of(record)][-MOST_RECORDS:]
        else:
            raise UsageError(
                f"records: {which!r} is not a number or a kind of record",
                hint=f"{suggested(which, RECORD_KINDS)} help until lists the kinds.".strip(),
            )
        self._say_timeline(wanted)

    def events(self, name: str = "") -> None:
        """Show QEMU's events whose names contain ``name``."""
        wanted = [
            record
            for record in self._history()
            if isinstance(record, Qmp) and name.upper() in str(record.message.get("event", "")).upper() != ""
        ]
        self._say_timeline(wanted[-MOST_RECORDS:])

    def _say_timeline(self, records: Sequence[Record]) -> None:
        if not records:
            self._say("none")
        for record, line in zip(
            records, record_lines(ReadableRecords(records), self._tape.zero), strict=True
        ):
            self._say(f"{record.n:>6} {line}")

    def check(self) -> None:
        """Show what is violated so far, and what is unknown."""
        verdict = self._run.judge_so_far()
        broken = sorted(violated_in(verdict))
        self._say(f"VIOLATED so far: {', '.join(broken)}" if broken else "Nothing is violated so far.")
        # While the session is alive this goes without saying.
        reasons = [reason for reason in verdict.reasons if not reason.endswith(NOT_ENDED)]
        for reason in reasons[:MOST_REASONS]:
            self._say(f"  {printable(reason, 300)}")
        judged = sum(rule.exercised > 0 for rule in verdict.rules)
        self._say(
            f"{judged} of {len(verdict.rules)} rules had something to judge; more may have at the end of the run."
        )

    def explain(self, rule: str = "") -> None:
        """Explain the violated rules, or one rule. Raises UsageError for one that there is not."""
        verdict = self._run.judge_so_far()
        wanted = None
        if rule:
            wanted = find(rule)
            if wanted is None:
                close = suggested(rule, [one.id for one in all_rules()])
                raise UsageError(
                    f"no rule is called {rule!r}", hint=f"{close} 'harness rules' lists them.".strip()
                )
            said = next((one for one in verdict.rules if one.rule == wanted.id), None)
            self._say(f"{wanted.id}: {wanted.says}")
            self._say(f"  {wanted.source}")
            if said is not None:
                self._say(f"  {said.verdict.value} so far; instances that it judged: {said.exercised}")
        explain = explainer(self._history())
        found = [
            one
            for one in verdict.findings
            if (
                one.rule == wanted.id
                if wanted
                else one.verdict is Verdict.VIOLATED and one.level.value.startswith("error")
            )
        ]
        for finding in found[:MOST_FINDINGS]:
            for line in ["", *explain(finding)]:
                self._say(line)
        if len(found) > MOST_FINDINGS:
            self._say(f"… and {len(found) - MOST_FINDINGS} more")
        if not rule and not found:
            self._say("Nothing is violated so far.")


def violated_in(verdict: RunVerdict) -> set[str]:
    """Return the violated rules of a verdict."""
    return {
        rule.rule
        for rule in verdict.rules
        if rule.verdict is Verdict.VIOLATED and rule.level.value.startswith("error")
    }
