# SPDX-License-Identifier: MIT
"""One attempt to add a processor: Starts, then the processor runs and Completes follow, or Failures."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from harness.history.driver import COMPLETE, FAILURE, START
from tests.contract.reference.driver import ERRORS, ModelRegistration
from tests.contract.reference.scenario import Scenario
from tests.contract.reference.system import Processor

Started = list[ModelRegistration]


def attempt(
    scene: Scenario, processor: Processor, outcome: str, *, alone: bool = True
) -> Generator[None, None, None]:
    """Perform an attempt, callback by callback.

    ``outcome``: ``added``; ``veto`` by a driver that is logged; ``hidden``, a veto by one that is not; ``system``,
    a failure of the system's own.
    """
    chance = scene.chance
    order = scene.registrations("sync")
    if chance.random() < 0.5:
        chance.shuffle(order)
    if outcome == "added":
        if alone and chance.random() < 0.1:
            scene.system.counted_early.add(processor.nt)
        started = yield from _starts(scene, processor, order)
        while processor.nt != len(scene.system.processors):
            yield
        scene.system.activate(processor)
        scene.arrive("cpu", processor.links, processor)
        scene.pace(0.3)
        yield
        yield from _ends(scene, processor, COMPLETE, started)
    else:
        yield from _failing(scene, processor, order, outcome)
        scene.system.fail(processor)


def _odd(scene: Scenario) -> int:
    """Status where no page says what it is."""
    return 0x103 if scene.chance.random() < 0.05 else 0


def _starts(
    scene: Scenario, processor: Processor, order: list[ModelRegistration]
) -> Generator[None, None, Started]:
    """The Starts of an attempt that nobody vetoes: one after the other, or several under way at once."""
    overlap = scene.chance.random() < 0.3
    thread = scene.chance.randint(2, 9)
    open_: list[tuple[ModelRegistration, tuple[int, int], int]] = []
    started: Started = []
    for one in order:
        if not one.alive:
            continue
        scene.called += 1
        status = _odd(scene)
        thread += overlap
        entered = one.driver.enter(one, START, processor, status=status, thread=thread)
        one.driver.allocate(one, processor.nt, one.driver.per_start())
        open_.append((one, entered, status))
        started.append(one)
        scene.open.add((id(one), processor.nt))
        if overlap:
            yield
        else:
            _return(processor, open_)
            yield
    if scene.chance.random() < 0.5:
        scene.chance.shuffle(open_)
    while open_:
        _return(processor, open_)
        yield
    return started


def _return(processor: Processor, open_: list[tuple[ModelRegistration, tuple[int, int], int]]) -> None:
    one, entered, status = open_.pop(0)
    one.driver.leave(one, START, processor, entered, op=0, status=status)


def _ends(scene: Scenario, processor: Processor, state: int, started: Started, op: int = 0) -> Iterator[None]:
    """Tell each registration that got Start how the attempt ended, in any order."""
    told = list(started)
    if scene.chance.random() < 0.6:
        scene.chance.shuffle(told)
    for one in told:
        scene.open.discard((id(one), processor.nt))
        if not one.driver.loaded or (not one.alive and scene.chance.random() < 0.5):
            continue
        status = _odd(scene) if state == COMPLETE else scene.chance.choice(ERRORS)
        thread = scene.chance.randint(1, 9)
        entered = one.driver.enter(one, state, processor, op=op, status=status, thread=thread)
        if state == COMPLETE and one.alive:
            one.driver.bind(processor)
        elif state == FAILURE and one.driver.habits.objects != "upfront":
            one.driver.free(one, processor.nt)
        one.driver.leave(one, state, processor, entered, op=op, status=status)
        if state == COMPLETE:
            scene.pace(0.4)
        yield


def _failing(
    scene: Scenario, processor: Processor, order: list[ModelRegistration], outcome: str
) -> Iterator[None]:
    """Starts up to a veto, or all; after a veto some more or none; then Failures."""
    chance = scene.chance
    error = chance.choice(ERRORS)
    place = len(order) if outcome == "system" else chance.randint(0, len(order) - (outcome == "veto"))
    started: Started = []
    for one in order[:place]:
        _start(scene, processor, one, 0, 0)
        started.append(one)
        yield
    later = order[place:]
    vetoer: Started = []
    if outcome == "veto":
        _start(scene, processor, order[place], 0, error)
        vetoer, later = [order[place]], later[1:]
        yield
    shared = error if chance.random() < 0.8 else 0
    left = list(started)
    if chance.random() < 0.2 and len(left) > 1:
        early = [left.pop() for _ in range(chance.randint(1, len(left) - 1))]
        yield from _ends(scene, processor, FAILURE, early, shared)
    for one in later:
        if chance.random() < 0.5:
            _start(scene, processor, one, shared, shared)
            left.append(one)
            yield
    if chance.random() < 0.5:
        left += vetoer
    yield from _ends(scene, processor, FAILURE, left, shared)


def _start(scene: Scenario, processor: Processor, one: ModelRegistration, found: int, left: int) -> None:
    """One Start; a driver that vetoes frees what it allocated before it returns."""
    scene.called += 1
    driver = one.driver
    status, thread = _odd(scene), scene.chance.randint(1, 9)
    entered = driver.enter(one, START, processor, op=found, status=status, thread=thread)
    driver.allocate(one, processor.nt, driver.per_start())
    if left and not found and driver.habits.objects != "upfront":
        driver.free(one, processor.nt)
    if not left or found:
        scene.open.add((id(one), processor.nt))
    driver.leave(one, START, processor, entered, op=left, status=status)
