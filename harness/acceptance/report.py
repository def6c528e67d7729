# SPDX-License-Identifier: MIT
"""The report of an acceptance: for a terminal, and as Markdown beside the evidence."""

from __future__ import annotations

from harness.acceptance.acceptance import Acceptance, TranscriptAgreement
from harness.acceptance.result import CaseOutcome, CaseResult
from harness.contract.observe import question
from harness.report.escape import printable
from harness.report.style import Style
from harness.report.verdict_text import guest_label

_HARMLESS = {ord(sign): f"&#{ord(sign)};" for sign in "\\`|<>[]*_#&"}
"""Characters with a meaning in Markdown or HTML."""

MOST_VALUES = 5
"""Maximum number of shown values of one observation."""


def case_lines(result: CaseResult, style: Style) -> list[str]:
    """Return the text for a finished case; one line for a case that passed."""
    paint = {CaseOutcome.PASSED: style.good, CaseOutcome.FAILED: style.bad}.get(
        result.outcome, style.doubtful
    )
    word = result.outcome.value
    lines = [f"{paint(word)}{'':<{10 - len(word)}}{result.number:>3}  {printable(result.name, 60)}"]
    if result.outcome is CaseOutcome.SKIPPED:
        return [*lines, *style.fold(f"            {printable(result.why[0], 300)}", indent=12)]
    if result.outcome is not CaseOutcome.PASSED:
        lines += style.fold(f"            expected: {printable(result.expected, 300)}", indent=12)
        for sentence in (*result.why, *result.seen):
            lines += style.fold(f"            {printable(sentence, 400)}", indent=12)
        lines.append(f"            evidence: {printable(result.directory, 400) or 'none'}")
    return lines


def closing_lines(found: Acceptance, style: Style) -> list[str]:
    """Return the text for the end of all cases."""
    counts = ", ".join(
        f"{found.count(outcome)} {outcome.value}" for outcome in CaseOutcome if found.count(outcome)
    )
    lines = ["", style.strong(f"{counts} on {printable(found.build or found.guest, 200)}")]
    lines += style.fold(f"  {guest_label(found.guest)}", indent=2)
    lines += ["", style.strong("Open questions")]
    for one in found.questions:
        lines += style.fold(f"  {one.question}  {printable(one.answer, 300)}", indent=6)
    if found.compared:
        lines += ["", style.strong("Against the twin")]
        for compared in found.compared:
            lines += style.fold(f"  {_comparison(compared)}", indent=6)
    return lines


def _comparison(one: TranscriptAgreement) -> str:
    if one.why:
        return f"case {one.number}: {one.verdict}: {printable(one.why, 300)}"
    if not one.differences:
        return f"case {one.number}: {one.verdict}"
    first = one.differences[0]
    says = " / ".join(printable(said or "nothing", 120) for said in first.said)
    more = f", and {len(one.differences) - 1} more" if len(one.differences) > 1 else ""
    return (
        f"case {one.number}: {one.verdict} in {printable(first.story, 120)}, step {first.step}: {says}{more}"
    )


def markdown(found: Acceptance) -> str:
    """Return the whole report. Text from a guest is escaped."""
    lines = [
        f"# Acceptance of {_plain(found.guest)}",
        "",
        f"{_plain(found.build)}, {found.started}. {_plain(guest_label(found.guest))}",
        "",
        "| case | outcome | expected | seen | evidence |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in found.results:
        seen = "; ".join([*one.why, *one.seen])
        lines.append(
            f"| {one.number} {_plain(one.name)} | {one.outcome.value} | {_plain(one.expected)} ({_plain(one.source)}) "
            f"| {_plain(seen)} | {_plain(one.directory)} |"
        )
    lines += ["", "## Open questions", "", "| question | answer |", "| --- | --- |"]
    lines += [f"| {_plain(one.question)} | {_plain(one.answer)} |" for one in found.questions]
    lines += ["", "## Where the documents are silent", "", "| question | seen |", "| --- | --- |"]
    for name, values in found.observations.items():
        shown = ", ".join(f"{value} ({times}x)" for value, times in list(values.items())[:MOST_VALUES])
        lines.append(f"| {_plain(question(name))} ({_plain(name)}) | {_plain(shown)} |")
    if found.compared:
        lines += ["", "## Against the twin", ""]
        lines += [f"- {_plain(_comparison(one))}" for one in found.compared]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Return the text escaped for Markdown, on one line."""
    return printable(text, 1500).translate(_HARMLESS)
