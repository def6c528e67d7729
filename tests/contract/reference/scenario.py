# SPDX-License-Identifier: MIT
"""A made history while it grows: the system, its drivers, what is still to be told, and what may be concluded."""

from __future__ import annotations

import random
from dataclasses import dataclass

from harness.history.record import Record
from tests.contract.reference.driver import ModelDriver, ModelRegistration
from tests.contract.reference.system import Processor, WindowsSystem
from tests.contract.reference.tape import HistoryTape

HOLDS, UNKNOWN, VIOLATED = "holds", "unknown", "violated"


@dataclass(slots=True)
class DueArrival:
    """An arrival that Windows has still to tell a registration of."""

    registration: ModelRegistration
    cls: str
    link: str
    device: tuple[str, ...] = ()
    processor: Processor | None = None
    overdue: bool = False
    awaited: bool = False


@dataclass(frozen=True)
class Story:
    """A made history with the verdicts that are right for it, and why it need not hold."""

    kind: str
    records: list[Record]
    expected: frozenset[str]
    why: str = ""
    rule: str = ""


class Scenario:
    """Everything that the actions of a made history share."""

    def __init__(self, chance: random.Random, tape: HistoryTape, system: WindowsSystem) -> None:
        self.chance = chance
        self.tape = tape
        self.system = system
        self.drivers: list[ModelDriver] = []
        self.introduced: set[str] = set()
        self.due: list[DueArrival] = []
        self.memory: list[str] = []
        self.gone: set[tuple[str, str]] = set()
        self.told: set[str] = set()
        self.open: set[tuple[int, int]] = set()
        self.called = 0
        self.adds = 0
        self.operation = 0
        self.retry: Processor | None = None
        self.hidden = False
        self.interfaces = 1
        self.prompt = "prompt"
        self.opted_out = False
        self.plain = False
        self._softer: list[str] = []
        self._missing: list[str] = []

    # -- what may be concluded -------------------------------------------------------------------------------------

    def soft(self, why: str) -> None:
        """From here on the documents leave it open whether the run holds: unknown is right as well."""
        self._softer.append(why)

    def missing(self, why: str) -> None:
        """Something that is awaited never came, or was cut off: the run is unknown."""
        self._missing.append(why)

    def expected(self) -> tuple[frozenset[str], str]:
        """The right verdicts of the history, and why it need not hold."""
        if self._missing:
            return frozenset({UNKNOWN}), "; ".join(dict.fromkeys(self._missing))
        if self._softer or not self.called:
            why = "; ".join(dict.fromkeys(self._softer)) or "no callback of the contract came"
            return frozenset({HOLDS, UNKNOWN}), why
        return frozenset({HOLDS}), ""

    # -- what there is -----------------------------------------------------------------------------------------------

    def registrations(self, kind: str) -> list[ModelRegistration]:
        """All registrations of a kind that callbacks go to, in order."""
        return [one for driver in self.drivers if driver.loaded for one in driver.alive(kind)]

    def links(self, kind: str) -> list[str]:
        """The interfaces of a class that exist."""
        if kind == "memory":
            return list(self.memory)
        return [link for processor in self.system.processors for link in processor.links]

    # -- arrivals ----------------------------------------------------------------------------------------------------

    def arrive(self, cls: str, links: list[str], processor: Processor | None = None) -> None:
        """New interfaces: each registration for their class is to be told."""
        for one in self.registrations(cls):
            awaited = one.driver.habits.calls and one.quiets < self.tape.quiets
            self.due += [
                DueArrival(one, cls, link, tuple(links), processor, awaited=awaited) for link in links
            ]
        self.chance.shuffle(self.due)

    def deliver(self, share: float) -> None:
        """Tell some of what is due."""
        left: list[DueArrival] = []
        for item in self.due:
            if self.chance.random() < share:
                one = item.registration
                self.told.add(item.link)
                one.driver.arrival(one, item.cls, item.link, binds=item.processor)
            else:
                left.append(item)
        self.due = left

    def pace(self, share: float) -> None:
        """Tell some of what is due, in a history whose arrivals are not held back."""
        if self.prompt == "prompt" or (self.prompt == "late" and self.chance.random() < 0.15):
            self.deliver(share)

    def forget(self, one: ModelRegistration) -> None:
        """A registration goes: what it has not been told of yet, it never will be."""
        self.abandon(
            [item for item in self.due if item.registration is one], "its registration was withdrawn"
        )
        self.due = [item for item in self.due if item.registration is not one]

    def abandon(self, items: list[DueArrival], when: str) -> None:
        """Arrivals never come. That nobody was told of a device leaves the run unknown."""
        shown = [item for item in items if item.overdue and item.awaited]
        if any(not self.told & set(item.device) for item in shown):
            self.missing(f"an arrival that is awaited had not come when {when}")
        elif items:
            self.soft(f"a registration had not been told of an arrival when {when}")

    def left_open(self, driver: ModelDriver) -> bool:
        """Whether a registration of the driver had a Start that has not ended."""
        numbers = {id(one) for one in driver.alive("sync")}
        return any(number in numbers for number, _ in self.open)
