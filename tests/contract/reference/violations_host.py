# SPDX-License-Identifier: MIT
"""One step to a history that contradicts what the host saw (R.7, R.8)."""

from __future__ import annotations

import random

from harness.history.driver import START, DriverRecord
from harness.history.record import Add, Agreement, Boot, End, Expectation, GuestEvent, Record
from tests.contract.reference.editing import changed
from tests.contract.reference.view import HistoryView, add_failed, samples

Mutated = list[Record] | None


def before_the_command(view: HistoryView, chance: random.Random) -> Mutated:
    """The first processor is announced before the host asked for any."""
    begins = [
        n
        for n, one in enumerate(view.records)
        if isinstance(one, Add) and one.what == "cpu" and one.phase == "begin"
    ]
    if not begins or not view.attempts:
        return None
    begin = begins[0]
    first = min((one for one in view.attempts), key=lambda one: one.calls[0].enter)
    start = first.of(START)[:1]
    if not start or start[0].enter < begin:
        return None
    name = view.records[begin].attempt
    lines = [
        n
        for n in range(begin, start[0].enter)
        if isinstance(view.records[n], Add) and view.records[n].attempt == name
    ]
    if len({one.attempt for one in view.records[begin : start[0].enter] if isinstance(one, Add)}) > 1:
        return None
    kept = [n for n in range(len(view.records)) if n not in lines]
    at = kept.index(start[0].leave) + 1
    moved = [view.records[n] for n in kept]
    return [*moved[:at], *(view.records[n] for n in lines), *moved[at:]]


def unexpected(view: HistoryView, chance: random.Random) -> Mutated:
    """An expectation of the plan is not met."""
    place = next(n for n, one in enumerate(view.records) if isinstance(one, End))
    said = Expectation(
        index=9, demanded="processors=9", seen="processors=2", met=False, host_ns=view.records[place].host_ns
    )
    return [*view.records[: place - 1], said, *view.records[place - 1 :]]


def grows_silently(view: HistoryView, chance: random.Random) -> Mutated:
    """From some quiet moment on there is one more processor, and nobody was told of it."""
    if any(isinstance(one, GuestEvent) and one.event == "boot-option" for one in view.records):
        return None
    agreed = [n for n, one in enumerate(view.records) if isinstance(one, Agreement)]
    boots = [n for n, one in enumerate(view.records) if isinstance(one, Boot)]
    if not agreed or agreed[-1] < boots[-1]:
        return None
    later = [n for n in samples(view) if n > agreed[-1]]
    if not later or any(one.enter > agreed[-1] for one in view.registrations):
        return None
    return [
        changed(one, active=one.active + 1, active_g0=one.active_g0 + 1, active_g0_ex=one.active_g0_ex + 1)
        if n in later and isinstance(one, DriverRecord) else one for n, one in enumerate(view.records)
    ]  # fmt: skip


def grows_with_memory(view: HistoryView, chance: random.Random) -> Mutated:
    """While only a DIMM is added, one more processor becomes active; no add had failed, none follows."""
    if any(isinstance(one, GuestEvent) and one.event == "boot-option" for one in view.records):
        return None
    accepted = [
        n
        for n, one in enumerate(view.records)
        if isinstance(one, Add) and (one.what, one.phase) == ("dimm", "accepted")
    ]
    found = []
    for begin in accepted:
        settled = next(
            (
                n
                for n in range(begin, len(view.records))
                if isinstance(one := view.records[n], Add) and one.phase == "settled"
            ),
            -1,
        )
        boot = next(
            (n for n in range(begin, len(view.records)) if isinstance(view.records[n], Boot)),
            len(view.records),
        )
        inside = [n for n in samples(view) if begin < n < settled]
        later = [call for tried in view.attempts for call in tried.calls if begin < call.enter < boot]
        registered = any(begin < one.enter < boot for one in view.registrations)
        commands = any(isinstance(one, Add) and one.what == "cpu" for one in view.records[begin:boot])
        if inside and not later and not registered and not add_failed(view) and not commands:
            last = view.records[inside[-1]]
            if isinstance(last, DriverRecord) and last.active < last.maximum:
                found.append((chance.choice(inside), boot))
    if not found:
        return None
    first, boot = chance.choice(found)
    return [
        changed(one, active=one.active + 1, active_g0=one.active_g0 + 1, active_g0_ex=one.active_g0_ex + 1)
        if first <= n < boot and isinstance(one, DriverRecord) else one for n, one in enumerate(view.records)
    ]  # fmt: skip


HOST = {
    "HOST-CAUSE": [before_the_command],
    "EXPECT": [unexpected],
    "MEM-CPU-SILENT": [grows_with_memory],
    "?": [grows_silently],
}
