# SPDX-License-Identifier: MIT
"""Every violation: a documented history, one step that breaks a rule, and the same beside one forged line."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from harness.history.driver import DriverRecord, Hello
from harness.history.record import Channel, Record
from tests.contract.reference.editing import changed, consistent, lines
from tests.contract.reference.scenario import HOLDS, UNKNOWN, VIOLATED, Story
from tests.contract.reference.view import HistoryView
from tests.contract.reference.violations_async import ASYNC
from tests.contract.reference.violations_counts import COUNTS
from tests.contract.reference.violations_devices import DEVICES
from tests.contract.reference.violations_failure import FAILURES
from tests.contract.reference.violations_host import HOST
from tests.contract.reference.violations_registration import REGISTRATION
from tests.contract.reference.violations_sync import SYNC
from tests.contract.reference.violations_withdrawal import WITHDRAWAL

Step = Callable[[HistoryView, random.Random], list[Record] | None]

STEPS: dict[str, tuple[str, Step]] = {
    f"{rule}/{step.__name__.replace('_', '-')}": (rule, step)
    for table in (SYNC, FAILURES, REGISTRATION, WITHDRAWAL, COUNTS, HOST, ASYNC, DEVICES)
    for rule, steps in table.items()
    for step in steps
}  # fmt: skip
"""Each step, and the rule that it breaks; several rules, joined by " or ", if it is one of them."""


def violation(story: Story, name: str, chance: random.Random) -> Story | None:
    """One step from a documented history; None if the history has nothing that the step could change."""
    rule, step = STEPS[name]
    rule = "" if rule == "?" else rule
    made = step(HistoryView(story.records), chance)
    if made is None:
        return None
    records = consistent(made)
    expected = frozenset({VIOLATED}) if rule else frozenset({VIOLATED, UNKNOWN})
    return Story(f"violation/{name}", records, expected, step.__doc__ or "", rule)


def forged(story: Story, chance: random.Random) -> Story:
    """The history with one forged line: a changed copy, a line of another boot, or one of an invented driver.

    Nothing that is violated may hold because of it.
    """
    places = [n for n, record in enumerate(story.records) if isinstance(record, DriverRecord)]
    place = chance.choice(places)
    like = story.records[place]
    assert isinstance(like, DriverRecord)
    what = chance.choice(["copy", "nonce", "hello", "driver"])
    nonce = f"{chance.getrandbits(64):016x}"
    if what == "copy":
        line: Record = _other(like, chance)
    elif what == "nonce":
        line = changed(like, boot=nonce)
    elif what == "hello":
        hellos = [one for one in story.records if isinstance(one, Hello)]
        line = changed(
            hellos[0], seq=1, boot=nonce, driver=chance.choice([like.driver, "forged"]), host_ns=like.host_ns
        )
    else:
        line = changed(like, driver="forged", seq=chance.choice([1, like.seq]))
    made = [*story.records[: place + 1], line, *story.records[place + 1 :]]
    if chance.random() < 0.5:
        made = [
            changed(one, records=one.records + 1)
            if isinstance(one, Channel) and one.name == like.channel
            else one
            for one in made
        ]
    expected = {VIOLATED, UNKNOWN} if VIOLATED in story.expected else {HOLDS, UNKNOWN}
    return Story(f"forged-{what}/{story.kind}", lines(made), frozenset(expected), story.why)


def _other(record: DriverRecord, chance: random.Random) -> Record:
    """The record with one other value."""
    fields = [
        name
        for name in record.__struct_fields__
        if name not in ("n", "host_ns", "channel", "boot", "driver", "seq")
    ]
    name = chance.choice(fields)
    value = getattr(record, name)
    if isinstance(value, str):
        known = {"event": "removal", "cls": "memory", "what": "dpc", "mode": "pnp", "call": "unload"}
        value = known.get(name, value + "x")
    else:
        value = value + 1
    return msgspec.structs.replace(record, **{name: value})
