# SPDX-License-Identifier: MIT
"""Findings on a terminal: the number of lines of each kind, the refuted ones, and the changes."""

from __future__ import annotations

from collections.abc import Sequence

from harness.acceptance.findings import FindingChange, FindingLine, Findings, Status, counted
from harness.report.escape import printable
from harness.report.style import Style


def findings_lines(found: Findings, style: Style) -> list[str]:
    """Return the counts by kind, and each refuted line with its evidence."""
    about = found.about
    lines = ["", style.strong("Lines of the documents")]
    if about.system:
        lines += style.fold(f"  {printable(about.system, 200)}", indent=2)
    for kind, of_kind in found.kinds.items():
        if of_kind:
            lines.append(f"  {kind + 's':<11} {counted(of_kind)}")
    if not about.windows:
        lines += style.fold("  All of them are open, because this guest is not Windows.", indent=2)
    for kind, of_kind in found.kinds.items():
        for line in of_kind:
            if line.status is Status.REFUTED:
                lines += _refuted(kind, line, style)
    return lines


def _refuted(kind: str, line: FindingLine, style: Style) -> list[str]:
    shown = line.shown
    where = words = ""
    if shown is not None:
        records = ", ".join(str(record) for record in shown.records)
        where = f" ({printable(shown.run, 100)}{f', record {records}' if records else ''})"
        words = f": {printable(shown.words, 300)}" if shown.words else ""
    says = f", {printable(line.says, 200)}" if line.says else ""
    first, *rest = style.fold(f"  refuted  {kind} {printable(line.id, 80)}{says}{where}{words}", indent=11)
    return [first.replace("refuted", style.bad("refuted"), 1), *rest]


def change_lines(old: Findings, changed: Sequence[FindingChange], style: Style) -> list[str]:
    """Return the differences from older findings."""
    about = old.about
    was = " ".join(word for word in (about.guest, about.build) if word)
    lines = ["", style.strong(f"Against {printable(was, 120)}, harness {printable(about.harness, 40)}")]
    if not changed:
        return [*lines, "  Every line says the same."]
    for one in changed:
        says = f", {printable(one.says, 200)}" if one.says else ""
        lines += style.fold(f"  {one.kind} {printable(one.id, 80)}{says}", indent=6)
        for word, said in (("before", one.before), ("now", one.after)):
            lines += style.fold(f"      {word:<7} {printable(said, 400) or 'not among the lines'}", indent=14)
    return lines
