# SPDX-License-Identifier: MIT
"""Transcripts of the same plan side by side: where they differ, and what some guests cannot show.

Stories are compared one by one, and of each the first step that differs is told: what follows it mostly differs because
of it. A story that a guest's machine cannot tell is not held against it. A transcript that ends early must agree as far
as it goes; one with losses is not compared where a loss could explain a difference. Either makes an agreement unknown,
never a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from harness.errors import ExitCode, UsageError
from harness.report.escape import printable
from harness.report.style import Style
from harness.report.transcript import ATTEMPTS, DEVICE, FIRMWARE, OPERATIONS, QEMU, Transcript
from harness.report.verdict_text import guest_label

HOST_STORIES = frozenset({ATTEMPTS, OPERATIONS, QEMU, FIRMWARE})
"""Stories that no loss of the driver's records can touch."""

NOTHING = "nothing more"
MOST_SHOWN = 50
"""Differences that are printed; the rest are counted."""


class TranscriptDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The first step (1-based) in which the runs tell a story differently, and what each says, None if it does not tell it."""

    story: str
    step: int
    said: list[str | None]


class TranscriptComparison(msgspec.Struct, kw_only=True):
    """The result of a comparison: ``verdict`` is ``agree``, ``differ`` or ``unknown``."""

    verdict: str
    differences: list[TranscriptDifference]
    stories: int
    steps: int

    @property
    def exit_code(self) -> ExitCode:
        """0 if they agree, 1 if they differ, 3 if too little is known."""
        return {"agree": ExitCode.HOLDS, "differ": ExitCode.VIOLATED}.get(self.verdict, ExitCode.UNKNOWN)


def compare_transcripts(transcripts: Sequence[Transcript]) -> TranscriptComparison:
    """Compare two or more transcripts of one plan. Raises UsageError if the plans are not the same."""
    _same_plan(transcripts)
    names = list(dict.fromkeys(name for one in transcripts for name in one.stories))
    differences = []
    steps = stories = 0
    for name in names:
        told = [_story(one, name) for one in transcripts]
        heard = [story for story in told if story is not None]
        if len(heard) < 2:
            continue
        stories += 1
        steps += min(len(story) for story in heard)
        found = _first_difference(transcripts, told)
        if found is not None:
            at, said = found
            differences.append(TranscriptDifference(story=name, step=at + 1, said=said))
    whole = not any(one.missing for one in transcripts)
    verdict = "differ" if differences else "agree" if whole and stories else "unknown"
    return TranscriptComparison(verdict=verdict, differences=differences, stories=stories, steps=steps)


def _same_plan(transcripts: Sequence[Transcript]) -> None:
    longest = max((one.plan for one in transcripts), key=len)
    for one in transcripts:
        if one.plan == longest or (one.cut and one.plan == longest[: len(one.plan)]):
            continue
        at = next(
            (i for i, (a, b) in enumerate(zip(one.plan, longest, strict=False)) if a != b), len(one.plan)
        )
        here, there = ([*plan[at : at + 1], "nothing"][0] for plan in (one.plan, longest))
        raise UsageError(
            f"these are runs of different plans: operation {at + 1} of {printable(one.run, 80)} is "
            f"{printable(here, 100)!r}, of another run {printable(there, 100)!r}",
            hint="Give runs of one plan on several guests, or of several builds of a driver.",
        )


def _story(one: Transcript, name: str) -> list[str] | None:
    """Return a story, None if this transcript cannot be asked for it."""
    if name in one.unshown or (one.lossy and name not in HOST_STORIES):
        return None
    if DEVICE in name and name not in one.stories:
        return None
    return one.stories.get(name, [])


def _first_difference(
    transcripts: Sequence[Transcript], told: list[list[str] | None]
) -> tuple[int, list[str | None]] | None:
    for at in range(max(len(story) for story in told if story is not None)):
        said: list[str | None] = []
        for one, story in zip(transcripts, told, strict=True):
            over = story is not None and at >= len(story)
            said.append(None if story is None or (over and one.cut) else NOTHING if over else story[at])
        if len({word for word in said if word is not None}) > 1:
            return at, said
    return None


def transcript_lines(
    transcripts: Sequence[Transcript], compared: TranscriptComparison, style: Style
) -> Iterator[str]:
    """Yield the comparison as text. Runs are called A, B, C and so on."""
    letters = [_letter(place) for place in range(len(transcripts))]
    head = {
        "agree": style.good("THEY AGREE"),
        "differ": style.bad("THEY DIFFER"),
        "unknown": style.doubtful("UNKNOWN"),
    }[compared.verdict]
    yield f"{head}  {compared.steps} steps of {compared.stories} stories compared"
    for letter, one in zip(letters, transcripts, strict=True):
        yield from style.fold(f"  {letter}  run {printable(one.run, 80)} on {guest_label(one.guest)}")
    for difference in compared.differences[:MOST_SHOWN]:
        yield ""
        yield style.strong(f"{printable(difference.story, 200)}: step {difference.step}")
        yield from _grouped(letters, difference.said, style)
    if len(compared.differences) > MOST_SHOWN:
        yield f"… and in {len(compared.differences) - MOST_SHOWN} more stories"
    devices = sorted(
        {name.rpartition(DEVICE)[2] for one in transcripts for name in one.stories if DEVICE in name}
    )
    absent = [", ".join([*sorted(one.unshown), *_without(one, devices)]) for one in transcripts]
    missing = ["; ".join(one.missing) for one in transcripts]
    for title, found in (("Cannot be shown, and so not compared:", absent), ("Not whole:", missing)):
        if any(found):
            yield ""
            yield title
            yield from _grouped(letters, [words or None for words in found], style)


def _without(one: Transcript, devices: list[str]) -> list[str]:
    """Return those of the devices that a guest does not have."""
    own = {name.rpartition(DEVICE)[2] for name in one.stories if DEVICE in name}
    return [f"the device {device}" for device in devices if device not in own]


def _grouped(letters: list[str], said: Sequence[str | None], style: Style) -> Iterator[str]:
    """Yield each thing that was said, once, after those who say it."""
    for words in dict.fromkeys(said):
        if words is not None:
            who = ", ".join(letter for letter, one in zip(letters, said, strict=True) if one == words)
            yield from style.fold(f"  {who}  {printable(words, 400)}")


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else f"#{place + 1}"
