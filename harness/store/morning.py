# SPDX-License-Identifier: MIT
"""The morning summary: a nightly run in ten lines, for mail and chat, as text, Markdown and HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

import msgspec

from harness.invocation import invocation
from harness.lab.lab_document import KnownRow
from harness.report.answer_table import escaped
from harness.report.escape import printable
from harness.store.questions.incidents import IncidentLine
from harness.store.questions.nightly_comparison import NightlyComparison

MOST_LINES = 10
"""The most lines of a summary."""

MOST_NEW = 3
"""The most new incidents that have a line each, if there is room."""

LONGEST = 160
"""The most characters of one incident's title or place."""

SORTS = ("new", "still", "gone", "flaky", "infrastructure", "plan")
"""Groups of incidents, in the order of the summary."""


class MorningLine(msgspec.Struct, frozen=True):
    """One line: its subject and its text."""

    about: str
    said: str


class Morning(msgspec.Struct, frozen=True):
    """A summary, of at most ten lines."""

    lines: list[MorningLine]

    def text(self) -> str:
        """Return the summary as plain text."""
        return "".join(f"{line.about}: {printable(line.said, 1000)}\n" for line in self.lines)

    def markdown(self) -> str:
        """Return the summary as a list in Markdown."""
        return "".join(
            f"- **{escaped(line.about)}**: {escaped(printable(line.said, 1000))}\n" for line in self.lines
        )

    def html(self) -> str:
        """Return the summary as an HTML document without scripts and links."""
        items = "".join(
            f"<li><b>{html.escape(line.about)}</b>: {html.escape(printable(line.said, 1000))}</li>\n"
            for line in self.lines
        )
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Nightly run</title></head>'
            f"<body><ul>\n{items}</ul></body></html>\n"
        )


def morning(
    found: NightlyComparison, known: Sequence[KnownRow] = (), *, left_out: str = "", explored: str = ""
) -> Morning:
    """Return a nightly run in ten lines. A known issue is shown with its URL.

    ``left_out`` says why runs were left out, "" if none was left out for lack of time. ``explored`` says what exploring
    found, "" if nothing was explored.
    """
    night = found.night
    counts = ", ".join(f"{word} {count}" for word, count in night.counts.items()) or "nothing yet"
    against = f"against {found.before.name}" if found.before is not None else "the first of its lab"
    lines = [
        MorningLine(
            f"{night.lab} {night.name}",
            f"{night.done} of {night.cells} runs, {night.seconds / 60:.1f} minutes of runs: {counts}; {against}"
            + (f"; {night.cells - night.done} left out: {left_out}" if left_out else ""),
        )
    ]
    # Plans are checked before the first run, so this line is rare.
    sorts = [sort for sort in SORTS if sort != "plan" or found.plan]
    others = len(lines) + len(sorts) - 1 + bool(explored) + bool(found.new)
    for sort in sorts:
        incidents: list[IncidentLine] = getattr(found, sort)
        shown = min(MOST_NEW, MOST_LINES - others) if sort == "new" else 1
        about = f"{sort} {len(incidents)}"
        if not incidents:
            lines.append(MorningLine(about, "-"))
            continue
        for number, one in enumerate(incidents[:shown], 1):
            more = len(incidents) - shown
            rest = f"; and {more} more" if number == shown and more > 0 else ""
            lines.append(MorningLine(about, f"{_said(one, known)}{rest}"))
    if explored:
        lines.append(MorningLine("exploring", explored))
    if found.new:
        lines.append(MorningLine("reproduce", invocation("repro", found.new[0].run)))
    return Morning(lines[:MOST_LINES])


def unkept(lines: Sequence[str]) -> Morning:
    """Return a summary for a nightly run that is not in a store: the first lines of its own summary."""
    said = [line.strip() for line in lines if line.strip()]
    return Morning([MorningLine("nightly run", line) for line in said[:MOST_LINES]])


def _said(one: IncidentLine, known: Sequence[KnownRow]) -> str:
    parts = one.points[0].split(".", 3) if one.points else []
    guest, qemu, topology, plan = (*parts, "", "", "", "")[:4]
    url = next(
        (
            row.url
            for row in known
            if row.matches(
                rule=one.rule, failure_class=one.failure_class, signature=one.signature, guest=guest, qemu=qemu,
                topology=topology, plan=plan,
            )
        ),
        "",
    )  # fmt: skip
    runs = f"{one.runs} run{'s' if one.runs != 1 else ''}"
    return f"{printable(one.title, LONGEST)} ({runs}: {printable(one.where, LONGEST)})" + (
        f" known: {url}" if url else ""
    )
