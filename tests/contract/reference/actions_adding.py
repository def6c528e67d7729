# SPDX-License-Identifier: MIT
"""What the host adds in a made history, and what the system tries again by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.contract.reference.adding import attempt
from tests.contract.reference.devices import rebalance
from tests.contract.reference.host import HostCommand, grow
from tests.contract.reference.scenario import Scenario
from tests.contract.reference.system import Processor


def _devices(scene: Scenario) -> None:
    """A rebalance that an added processor causes, unless the devices have opted out."""
    for driver in scene.drivers:
        if driver.loaded and driver.habits.devices and not scene.opted_out and scene.chance.random() < 0.7:
            for _ in rebalance(driver, scene.gone, scene.chance):
                scene.pace(0.2)


def announce(scene: Scenario) -> Processor:
    """A processor's device appears."""
    processor = scene.system.announce()
    scene.system.plug(processor, scene.chance.choice([1, scene.interfaces]))
    return processor


def _run(steps: Iterator[None], meanwhile: Callable[[], None] | None = None, at: int = 0) -> None:
    for place, _ in enumerate(steps):
        if meanwhile is not None and place == at:
            meanwhile()


def add(
    scene: Scenario, meanwhile: Callable[[], None] | None = None, at: int = 0, outcome: str = "added"
) -> None:
    """The host adds a processor, and the attempt ends in ``outcome``."""
    if not scene.system.room_left:
        return
    scene.retry = None
    expected = "added" if outcome == "added" else "vetoed"
    if outcome in ("hidden", "system"):
        scene.soft("a failure that no logged driver asked for")
        if scene.chance.random() < 0.3:
            expected = "added"
            scene.missing("the plan expected a processor that was not added")
    command = HostCommand(scene, "cpu", expected)
    processor = announce(scene)
    if scene.chance.random() < 0.3:
        _devices(scene)
    scene.pace(0.5)
    _run(attempt(scene, processor, outcome), meanwhile, at)
    if outcome == "added":
        _devices(scene)
        scene.pace(1.0)
    else:
        scene.retry = None if scene.plain else processor
        if scene.chance.random() < 0.2:
            scene.soft("an arrival for a processor that was not added (X4)")
            scene.arrive("cpu", processor.links)
            scene.deliver(1.0)
    command.settle(agreed=(expected == "added") == (outcome == "added"))


def fail(scene: Scenario) -> None:
    """An add that fails: a veto, logged or not, or the system's own reason."""
    outcome = scene.chance.choice(["veto", "veto", "veto", "hidden", "hidden", "system"])
    if outcome == "veto" and not scene.registrations("sync"):
        outcome = "hidden"
    add(scene, outcome=outcome)


def untouched(scene: Scenario) -> None:
    """An add that QEMU refuses, or that the guest ignores: no driver hears of it."""
    expected = scene.chance.choice(["refused", "ignored"])
    scene.retry = None
    if expected == "ignored":
        scene.soft("an add that the guest ignored")
    HostCommand(scene, "cpu", expected).settle(quiet=expected == "ignored")


def burst(scene: Scenario) -> None:
    """Several commands before the first settles: the attempts may overlap."""
    count = min(scene.chance.randint(2, 3), scene.system.room_left)
    if count < 2 or scene.system.pending:
        return
    scene.retry = None
    if scene.interfaces > 1:
        scene.soft("several interfaces a processor, several adds at once")
    commands = [HostCommand(scene, "cpu") for _ in range(count)]
    serial = scene.chance.random() < 0.4
    failing = not scene.plain and scene.chance.random() < 0.2
    outcomes = ["added"] * (count - 1) + ["system" if failing else "added"]
    if failing:
        scene.soft("one of several adds at once fails")
    if serial:
        scene.chance.shuffle(outcomes)
        for outcome in outcomes:
            _run(attempt(scene, announce(scene), outcome))
            scene.pace(0.5)
    else:
        turns = [attempt(scene, announce(scene), outcome, alone=False) for outcome in outcomes]
        while turns:
            turn = scene.chance.choice(turns)
            try:
                next(turn)
            except StopIteration:
                turns.remove(turn)
    _devices(scene)
    scene.pace(1.0)
    for place, command in enumerate(commands):
        command.settle(quiet=place == 0)


def again(scene: Scenario) -> None:
    """The system tries a failed add once more, without a command."""
    if scene.retry is None or not scene.system.room_left:
        return
    scene.soft("a failed add is tried again (U29)")
    processor = scene.system.announce()
    processor.links = scene.retry.links
    outcome = scene.chance.choice(["added", "added", "hidden", "system"])
    if scene.registrations("sync") and scene.chance.random() < 0.2:
        outcome = "veto"
    _run(attempt(scene, processor, outcome))
    if outcome == "added":
        scene.retry = None
        _devices(scene)
        scene.pace(1.0)


def mixed(scene: Scenario) -> None:
    """A processor and a DIMM are added at once."""
    if not scene.system.room_left:
        return
    scene.retry = None
    command = HostCommand(scene, "cpu")
    steps = attempt(scene, announce(scene), "added")
    for _ in range(scene.chance.randint(0, 3)):
        next(steps, None)
    dimm(scene, lambda: _run(steps))
    scene.pace(1.0)
    command.settle()


def dimm(scene: Scenario, meanwhile: Callable[[], None] | None = None) -> None:
    """The host adds a DIMM, which has one interface or several."""
    command = HostCommand(scene, "dimm")
    scene.pace(0.5)
    if meanwhile is not None:
        meanwhile()
    elif scene.chance.random() < 0.4:
        again(scene)
    scene.system.memory += 256 << 20
    base = len(scene.memory)
    count = scene.chance.choice([1, 1, 2, 3])
    links = [
        f"\\??\\ACPI#PNP0C80#{base + place}#{{3fd0f03d-92e0-45fb-b75c-5ed8ffb01021}}"
        for place in range(count)
    ]
    scene.memory += links
    scene.arrive("memory", links)
    scene.pace(1.0)
    grow(scene)
    command.settle()
