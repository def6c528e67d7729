# SPDX-License-Identifier: MIT
"""A second channel that brings the same records, and what each of the two lost."""

from __future__ import annotations

import random

from harness.history.driver import DriverRecord
from harness.history.record import Boot, Channel, End, Mapped, Quiesced, Record
from tests.contract.reference.editing import changed, lines
from tests.contract.reference.scenario import HOLDS, UNKNOWN, Story


def two_channels(story: Story, chance: random.Random) -> Story:
    """Every record comes on two channels; each loses some that the other has, and its account says so.

    Or nothing is lost, and the second channel is read at the end.
    """
    late = chance.random() < 0.3 and sum(isinstance(record, Boot) for record in story.records) == 1
    waiting: list[Record] = []
    other = {"debugcon": "etw", "etw": "debugcon"}
    made: list[Record] = []
    present: dict[str, int] = {}
    lost: dict[str, int] = {}
    for record in story.records:
        if isinstance(record, Channel):
            continue
        if isinstance(record, End):
            made += waiting
            made += [
                Channel(name=name, records=present.get(name, 0), lost=lost.get(name, 0), closed=True, host_ns=record.host_ns)
                for name in sorted({*present, *lost})
            ]  # fmt: skip
        if not isinstance(record, DriverRecord):
            made.append(record)
            continue
        second = changed(record, channel=other[record.channel])
        missing = (
            ""
            if late
            else chance.choice(["", "", "", "", "", "", "", "", record.channel, other[record.channel]])
        )
        for copy in (record, second):
            assert isinstance(copy, DriverRecord)
            count = lost if copy.channel == missing else present
            count[copy.channel] = count.get(copy.channel, 0) + 1
            if copy.channel != missing:
                (waiting if late and copy is second else made).append(copy)
    return Story("two-channels", lines(made), story.expected, story.why)


def received_late(story: Story) -> Story:
    """Driver records are received as late as can be: by the next quiet moment, or at the end.

    What is received before a command happened before it; what is received late may have happened early.
    """
    made: list[Record] = []
    waiting: list[Record] = []
    for record in story.records:
        if isinstance(record, DriverRecord):
            waiting.append(record)
            continue
        if isinstance(record, Quiesced | Channel | Boot | Mapped):
            made += waiting
            waiting = []
        made.append(record)
    expected = story.expected if story.expected == {UNKNOWN} else frozenset({HOLDS, UNKNOWN})
    return Story("received-late", lines(made), expected, "records came late")
