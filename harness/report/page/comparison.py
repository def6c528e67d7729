# SPDX-License-Identifier: MIT
"""The document of a comparison: two runs of one plan side by side, the earliest difference first, and what the runs are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

import msgspec

from harness import __version__
from harness.contract.verdict import RunVerdict
from harness.history.reader import History
from harness.report.escape import printable
from harness.report.page.made_of import digests, environment, facts_of
from harness.report.run_summary import verdict_sentence
from harness.report.transcript import Transcript, transcript_of
from harness.report.transcript_comparison import (
    TranscriptComparison,
    TranscriptDifference,
    compare_transcripts,
)
from harness.report.verdict_text import guest_label

VERSION = 1
LONG = 2000
LETTERS = "AB"

BEFORE, AFTER = 4, 60
"""Steps of a story that are shown before the first that differs, and from it on."""

MOST_STORIES = 50
"""Stories that differ and are shown; the rest are counted."""

OWN = ("Run", "Recorded", "Length", "Judged by", "Command", "Process", "QEMU's arguments")
"""What differs between any two runs, and explains nothing."""

OWN_VALUES = 40
"""Rows of what the runs are made of that are shown."""


class ComparedReport(msgspec.Struct, frozen=True, kw_only=True):
    """One of two runs: its history, its verdict, and the link that leads to its report, "" if it has none."""

    history: History
    verdict: RunVerdict
    link: str = ""


def comparison_document(first: ComparedReport, second: ComparedReport) -> tuple[dict[str, Any], str]:
    """Return the document of a comparison, and its verdict: ``agree``, ``differ`` or ``unknown``.

    Raises UsageError if the runs are of different plans.
    """
    runs = (first, second)
    told = [transcript_of(one.history) for one in runs]
    compared = compare_transcripts(told)
    differences = sorted(compared.differences, key=lambda one: _moment(told, one))
    same, other = _made(runs)
    document = {
        "version": VERSION,
        "kind": "comparison",
        "harness": __version__,
        "verdict": compared.verdict,
        "sentence": _sentence(differences, compared),
        "runs": [_run(*pair) for pair in zip(LETTERS, runs, told, strict=True)],
        "differences": [_difference(told, one) for one in differences[:MOST_STORIES]],
        "more": max(0, len(differences) - MOST_STORIES),
        "agreed": _agreed(told, compared),
        "made": other[:OWN_VALUES],
        "same": same[:OWN_VALUES],
    }
    return document, compared.verdict


def _run(letter: str, one: ComparedReport, told: Transcript) -> dict[str, Any]:
    guest = guest_label(one.verdict.guest)
    return {
        "name": letter,
        "run": printable(one.verdict.run),
        "guest": printable(one.verdict.guest, 60),
        "worth": "" if one.verdict.guest.startswith("windows") else guest.partition(": ")[2],
        "verdict": one.verdict.verdict.value,
        "sentence": verdict_sentence(one.verdict),
        "link": one.link,
        "missing": [printable(why, LONG) for why in told.missing],
        "unshown": [printable(name, 200) for name in sorted(told.unshown)],
    }


def _sentence(differences: Sequence[TranscriptDifference], compared: TranscriptComparison) -> str:
    whole = f"{compared.steps} steps of {compared.stories} stories were compared"
    if not differences:
        if compared.verdict == "agree":
            return f"{whole}, and all are told alike."
        return f"{whole}. As far as they go they are told alike, but a run ended early or lost records."
    first = differences[0]
    more = len(differences) - 1
    also = f"; {more} more {'story differs' if more == 1 else 'stories differ'}" if more else ""
    return f"The first difference is step {first.step} of {printable(first.story, 200)}{also}. {whole}."


def _moment(told: Sequence[Transcript], difference: TranscriptDifference) -> tuple[int, int]:
    """Return when a difference showed: its record in the first run, and in the second; what has none comes last."""
    numbers = []
    for one in told:
        records = one.records.get(difference.story, [])
        after = records[-1] if records else 1 << 62
        numbers.append(records[difference.step - 1] if difference.step <= len(records) else after)
    return min(numbers), max(numbers)


def _difference(told: Sequence[Transcript], difference: TranscriptDifference) -> dict[str, Any]:
    story, begin = difference.story, max(0, difference.step - 1 - BEFORE)
    end = difference.step - 1 + AFTER
    here, there = ([*_steps(one, story)][begin:end] for one in told)
    longest = max(len(one.stories.get(story, [])) for one in told)
    return {
        "story": printable(story, 200),
        "step": difference.step,
        "before": begin,
        "after": max(0, longest - end),
        "rows": [
            [kind, _cell(a), _cell(b)] for kind, a, b in _aligned(here, there, difference.step - 1 - begin)
        ],
    }


Step = tuple[int, str, int]
"""The place of a step in its story, its words, and its record."""


def _steps(one: Transcript, story: str) -> Iterator[Step]:
    steps = zip(one.stories.get(story, []), one.records.get(story, []), strict=True)
    for place, (words, record) in enumerate(steps):
        yield place, words, record


def _aligned(
    here: Sequence[Step], there: Sequence[Step], alike: int
) -> Iterator[tuple[str, Step | None, Step | None]]:
    """Yield pairs of steps; the first ``alike`` of them are the same, what follows is aligned as well as it can be."""
    for left, right in zip(here[:alike], there[:alike], strict=True):
        yield "same", left, right
    rest, other = here[alike:], there[alike:]
    matcher = SequenceMatcher(None, [one[1] for one in rest], [one[1] for one in other], autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        for left_, right_ in zip_longest(rest[a:b], other[c:d]):
            yield ("same" if kind == "equal" else "differs"), left_, right_


def _cell(step: Step | None) -> list[Any] | None:
    return None if step is None else [step[0] + 1, printable(step[1], LONG), step[2]]


def _agreed(told: Sequence[Transcript], compared: TranscriptComparison) -> list[list[Any]]:
    """Return the stories that both tell, and tell alike, with the number of their steps."""
    differ = {one.story for one in compared.differences}
    both = [name for name in told[0].stories if name in told[1].stories and name not in differ]
    return [[printable(name, 200), len(told[0].stories[name])] for name in both[:500]]


def _made(runs: Sequence[ComparedReport]) -> tuple[list[list[str]], list[list[str]]]:
    """Return what both runs are made of, and what of one of them differs: name, value of A, value of B."""
    rows: list[dict[str, str]] = []
    for one in runs:
        facts = facts_of(one.history)
        rows.append({name: value for name, value in environment(facts, one.history, one.verdict)})  # noqa: C416 - of lists
        rows[-1] |= {f"SHA-256 of {name}": value for name, value in digests(facts)}
    here, there = rows
    names = [name for name in dict.fromkeys([*here, *there]) if name not in OWN]
    same = [[name, here[name]] for name in names if here.get(name) == there.get(name)]
    other = [
        [name, here.get(name, ""), there.get(name, "")] for name in names if here.get(name) != there.get(name)
    ]
    return same, other
